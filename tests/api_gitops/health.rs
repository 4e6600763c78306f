//! The health checks for Argo CD and Flux, run on objects with each condition and reason that the operator sets in each
//! phase.

use std::sync::LazyLock;

use fhir_export_operator::api::{ConditionStatus, ConditionType, Reason};
use fhir_export_operator::core::export::PhaseName;
use fhir_export_operator::core::export::states::SHOWN;
use mlua::{Lua, LuaSerdeExt};
use serde_json::{Value, json};

/// What a tool may make of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Progressing,
    Suspended,
    Healthy,
    Degraded,
}

type Condition = (ConditionType, ConditionStatus, Reason);

static ARGO: LazyLock<Value> = LazyLock::new(|| super::objects("argocd/argocd-cm.yaml").remove(0));
static FLUX: LazyLock<Value> = LazyLock::new(|| {
    let objects = super::objects("flux/kustomizations.yaml");
    objects.into_iter().find(|object| object["spec"].get("healthCheckExprs").is_some()).unwrap()
});

fn object(conditions: &[Condition]) -> Value {
    let listed: Vec<Value> = conditions
        .iter()
        .map(|(type_, status, reason)| {
            json!({"type": type_.to_string(), "status": status, "reason": reason.to_string(), "message": "why"})
        })
        .collect();
    json!({"status": {"conditions": listed}})
}

/// Every condition and reason of each phase, alone and beside each other condition of that phase.
fn exports() -> Vec<Vec<Condition>> {
    let rows = SHOWN.iter().flat_map(|shown| {
        let failure = shown.or_of_a_failure.then_some(Reason::ConnectionFailed);
        let reasons = shown.reasons.iter().copied().chain(failure);
        reasons.map(move |reason| (shown.phase, (shown.condition, shown.status, reason)))
    });
    let rows: Vec<(PhaseName, Condition)> = rows.collect();
    let mut all = Vec::new();
    for (phase, one) in &rows {
        let ends = [ConditionType::Complete, ConditionType::Failed];
        let end = |c: &Condition| ends.contains(&c.0);
        all.push(vec![*one]);
        // A run has one end, and its Stalled is that of its failure.
        let beside = |other: &Condition| {
            other.0 != one.0
                && !(end(one) && end(other))
                && (other.0 != ConditionType::Stalled || !end(one))
                && (one.0 != ConditionType::Stalled || !end(other))
        };
        let others = rows.iter().filter(|(p, other)| p == phase && beside(other));
        all.extend(others.map(|(_, other)| vec![*one, *other]));
    }
    all
}

fn expected(conditions: &[Condition]) -> Health {
    let holds = |type_| {
        let found = conditions.iter().find(|(t, status, _)| *t == type_ && *status == ConditionStatus::True);
        found.map(|(_, _, reason)| *reason)
    };
    match (holds(ConditionType::Complete), holds(ConditionType::Failed), holds(ConditionType::Stalled)) {
        (Some(_), _, _) | (None, Some(Reason::Cancelled), _) => Health::Healthy,
        (None, Some(_), _) | (None, None, Some(_)) => Health::Degraded,
        (None, None, None) if holds(ConditionType::Suspended).is_some() => Health::Suspended,
        (None, None, None) => Health::Progressing,
    }
}

fn argo(kind: &str, object: &Value) -> Health {
    let script = ARGO["data"][format!("resource.customizations.health.fhirexport.dev_{kind}")]
        .as_str()
        .unwrap()
        .to_owned();
    let lua = Lua::new();
    lua.globals().set("obj", lua.to_value(object).unwrap()).unwrap();
    let said: Value = lua.from_value(lua.load(script).eval().unwrap()).unwrap();
    assert!(said["message"].as_str().is_some_and(|message| !message.is_empty()), "{said}");
    match said["status"].as_str().unwrap() {
        "Progressing" => Health::Progressing,
        "Suspended" => Health::Suspended,
        "Healthy" => Health::Healthy,
        "Degraded" => Health::Degraded,
        other => panic!("{other}"),
    }
}

/// What Flux makes of an object, which must be one thing.
fn flux(kind: &str, object: &Value) -> Health {
    let check = FLUX["spec"]["healthCheckExprs"]
        .as_array()
        .unwrap()
        .iter()
        .find(|check| check["kind"] == kind)
        .unwrap();
    let holds = |name: &str| {
        let program = cel::Program::compile(check[name].as_str().unwrap()).unwrap();
        let mut context = cel::Context::default();
        context.add_variable("status", &object["status"]).unwrap();
        match program.execute(&context).unwrap() {
            cel::Value::Bool(holds) => holds,
            other => panic!("{name} of {kind}: {other:?}"),
        }
    };
    match (holds("inProgress"), holds("failed"), holds("current")) {
        (true, false, false) => Health::Progressing,
        (false, true, false) => Health::Degraded,
        (false, false, true) => Health::Healthy,
        other => panic!("{kind} is {other:?} at once: {object}"),
    }
}

#[test]
fn an_export_is_judged_rightly_in_each_phase() {
    let exports = exports();
    assert!(exports.len() > 500, "{} objects", exports.len());
    for conditions in exports {
        let (object, expected) = (object(&conditions), expected(&conditions));
        assert_eq!(argo("FhirExport", &object), expected, "{object}");
        let waits = if expected == Health::Suspended { Health::Progressing } else { expected };
        assert_eq!(flux("FhirExport", &object), waits, "{object}");
    }
}

#[test]
fn an_intended_cancel_is_healthy() {
    let object = object(&[
        (ConditionType::Failed, ConditionStatus::True, Reason::Cancelled),
        (ConditionType::Reconciling, ConditionStatus::False, Reason::Finished),
    ]);
    assert_eq!(
        (argo("FhirExport", &object), flux("FhirExport", &object)),
        (Health::Healthy, Health::Healthy)
    );
}

#[test]
fn servers_and_schedules_are_waited_for_until_only_a_change_helps() {
    use ConditionStatus::{False, True, Unknown};
    use ConditionType::{Ready, Stalled};
    let reason = Reason::Forbidden;
    for kind in ["FhirServer", "FhirExportSchedule"] {
        for (conditions, health) in [
            (vec![], Health::Progressing),
            (vec![(Ready, Unknown, reason)], Health::Progressing),
            (vec![(Ready, False, reason)], Health::Progressing),
            (vec![(Ready, False, reason), (Stalled, False, reason)], Health::Progressing),
            (vec![(Ready, False, reason), (Stalled, True, reason)], Health::Degraded),
            (vec![(Ready, True, reason)], Health::Healthy),
        ] {
            let object = object(&conditions);
            assert_eq!((argo(kind, &object), flux(kind, &object)), (health, health), "{kind}: {object}");
        }
    }
}

#[test]
fn an_object_that_nobody_has_seen_is_in_progress() {
    for kind in ["FhirExport", "FhirServer", "FhirExportSchedule"] {
        assert_eq!(argo(kind, &json!({})), Health::Progressing);
        assert_eq!(flux(kind, &json!({"status": {}})), Health::Progressing);
    }
}
