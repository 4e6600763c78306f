//! What was found of a FhirServer, in lines for people.

use kube::ResourceExt as _;

use super::look::{Metadata, Seen};
use crate::api::{Condition, ConditionStatus, ConditionType, Dialect, FhirServer, Reason};
use crate::credentials::cause::Cause;
use crate::plugin::paint::{Paint, Tone};
use crate::show::{Line, Page};

/// The width of the names of findings, in characters.
const NAMES: usize = 18;

/// What a finding means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// It is as it should be.
    Good,
    /// It may be as it should be, or is not known.
    Note,
    /// Exports do not work before it is mended.
    Wrong,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    mark: Mark,
    name: String,
    told: String,
}

impl Finding {
    fn new(mark: Mark, name: impl Into<String>, told: impl Into<String>) -> Self {
        Self { mark, name: name.into(), told: told.into() }
    }
}

/// Whether nothing is wrong.
pub fn in_order(findings: &[Finding]) -> bool {
    findings.iter().all(|finding| finding.mark != Mark::Wrong)
}

/// What the conditions of a FhirServer say.
pub fn of_operator(server: &FhirServer) -> Vec<Finding> {
    let status = server.status.as_ref();
    let conditions = status.map(|status| status.conditions.as_slice()).unwrap_or_default();
    if conditions.is_empty() {
        let namespace = server.namespace().unwrap_or_default();
        let told = format!(
            "no operator has looked at it: check that fhir-export-operator runs and watches namespace {namespace}"
        );
        return vec![Finding::new(Mark::Wrong, "Ready", told)];
    }
    let mut findings: Vec<Finding> = conditions.iter().map(of_condition).collect();
    if server.spec.suspend == Some(true) {
        let told = "spec.suspend pauses all exports: kubectl fhirexport resume server/NAME lets them go on";
        findings.push(Finding::new(Mark::Note, "Suspended", told.replace("NAME", &server.name_any())));
    }
    findings
}

fn of_condition(condition: &Condition) -> Finding {
    // Stalled is the one condition that is good if it is False.
    let good =
        if condition.is(ConditionType::Stalled) { ConditionStatus::False } else { ConditionStatus::True };
    let mark = match condition.status {
        status if status == good => Mark::Good,
        ConditionStatus::Unknown => Mark::Note,
        ConditionStatus::True | ConditionStatus::False => Mark::Wrong,
    };
    let reason = Reason::ALL.iter().find(|reason| condition.because(**reason));
    let advice =
        reason.map(|reason| reason.advice()).filter(|advice| mark == Mark::Wrong && !advice.is_empty());
    let advice =
        advice.map(|advice| format!(" To do: {}", advice.split_whitespace().collect::<Vec<_>>().join(" ")));
    let told = match condition.message.trim_end_matches('.') {
        "" => condition.reason.clone(),
        message => format!("{message}."),
    };
    Finding::new(mark, condition.type_.clone(), format!("{told}{}", advice.unwrap_or_default()))
}

/// What was seen from this machine. None of it is `Wrong`, since the operator may reach the server from elsewhere.
pub fn seen_from_here(server: &FhirServer, seen: &Seen) -> Vec<Finding> {
    let name = match &seen.addresses {
        Ok(addresses) => {
            let shown: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            Finding::new(Mark::Good, "Name", format!("the host has the address {}", shown.join(", ")))
        }
        Err(why) => Finding::new(Mark::Note, "Name", why.clone()),
    };
    let mut findings = vec![name];
    let encrypted = server.spec.url.starts_with("https://");
    let connected = |findings: &mut Vec<Finding>| {
        let told =
            if encrypted { "the certificate is trusted" } else { "not used: the url begins with http" };
        findings.push(Finding::new(if encrypted { Mark::Good } else { Mark::Note }, "TLS", told));
    };
    match &seen.metadata {
        Metadata::Unanswered(cause) => findings.push(of_cause(server, cause)),
        Metadata::Other(status @ (401 | 403)) => {
            connected(&mut findings);
            let told = format!("the server wants credentials for it ({status}), which only the operator has");
            findings.push(Finding::new(Mark::Note, "Metadata", told));
        }
        Metadata::Other(status) => {
            connected(&mut findings);
            let told = format!(
                "the server answers {status} without a CapabilityStatement: check url and any proxies"
            );
            findings.push(Finding::new(Mark::Note, "Metadata", told));
        }
        Metadata::Read(offered) => {
            connected(&mut findings);
            let version = offered.fhir_version.as_deref().unwrap_or("of an unknown version");
            findings.push(Finding::new(
                Mark::Good,
                "Metadata",
                format!("{}, FHIR {version}", offered.software),
            ));
            findings.push(of_exports(server, &offered.exports));
        }
    }
    findings
}

fn of_exports(server: &FhirServer, exports: &[String]) -> Finding {
    if exports.is_empty() {
        let told = match server.spec.dialect {
            Dialect::Azure => {
                "the CapabilityStatement names no export: check that export is configured in the service"
            }
            Dialect::BulkData => {
                "the CapabilityStatement names no export; servers that have it may not say so"
            }
        };
        return Finding::new(Mark::Note, "Export", told);
    }
    Finding::new(Mark::Good, "Export", format!("offered: {}", exports.join(", ")))
}

fn of_cause(server: &FhirServer, cause: &Cause) -> Finding {
    let private = server.spec.tls.as_ref().is_some_and(|tls| tls.ca_bundle_ref.is_some());
    let (name, told) = match cause {
        Cause::Name(host) => ("Connection", format!("the host name {host} does not resolve on this machine")),
        Cause::Address(refused) => ("Connection", refused.to_string()),
        Cause::Connect(why) => ("Connection", format!("the host {why}")),
        Cause::ConnectTimeout => {
            ("Connection", "no connection in time: check firewalls and proxies".to_owned())
        }
        Cause::Tls(why) if private => (
            "TLS",
            format!(
                "{why}; the operator trusts the authority in tls.caBundleRef: name its file with --extra-ca"
            ),
        ),
        Cause::Tls(why) => {
            ("TLS", format!("{why}; set tls.caBundleRef if the server has a private authority"))
        }
        Cause::Timeout => ("Metadata", "no answer in time".to_owned()),
        Cause::Broken => ("Metadata", "the connection broke before the answer was complete".to_owned()),
    };
    Finding::new(Mark::Note, name, told)
}

/// The findings in lines. The server chooses some of the words.
pub fn page(server: &FhirServer, operator: &[Finding], here: &[Finding], paint: Paint) -> Page {
    let heading = |text: &str| paint.tint(Tone::Heading, text);
    let FhirServer { spec, .. } = server;
    let name = format!("{}/{}", server.namespace().unwrap_or_default(), server.name_any());
    let mut head = heading(&format!("FhirServer {name}"));
    head.push(&Line::of(&format!(" ({}, dialect {:?})", spec.url, spec.dialect)));
    let mut page = Page::from_iter([head, heading("What the operator found")]);
    page.extend(operator.iter().map(|finding| line(finding, paint)));
    if !here.is_empty() {
        page.push(&heading("Seen from this machine, without credentials"));
        page.extend(here.iter().map(|finding| line(finding, paint)));
    }
    page
}

fn line(Finding { mark, name, told }: &Finding, paint: Paint) -> Line {
    let (word, tone) = match mark {
        Mark::Good => ("ok   ", Tone::Good),
        Mark::Note => ("note ", Tone::Held),
        Mark::Wrong => ("wrong", Tone::Bad),
    };
    let mut line = Line::of("  ");
    line.push(&paint.tint(tone, word));
    line.push(&Line::of(&format!("  {name:<NAMES$} {told}")));
    line
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::core::capability::Offered;

    fn server(spec: &Value, conditions: &Value) -> FhirServer {
        let mut whole = json!({ "url": "https://clinic.example.org/fhir", "dialect": "BulkData", "auth": { "type": "None" } });
        whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        serde_json::from_value(json!({ "apiVersion": "fhirexport.dev/v1alpha1", "kind": "FhirServer", "spec": whole,
            "metadata": { "name": "clinic", "namespace": "research" }, "status": { "conditions": conditions } }))
        .unwrap()
    }

    fn condition(type_: &str, status: &str, reason: &str) -> Value {
        json!({ "type": type_, "status": status, "reason": reason, "message": "what is so",
            "lastTransitionTime": "2026-01-01T00:00:00Z" })
    }

    fn seen(metadata: Metadata) -> Seen {
        Seen { addresses: Ok(vec!["192.0.2.1".parse().unwrap()]), metadata }
    }

    #[test]
    fn what_the_operator_found_decides() {
        let server = server(
            &json!({ "suspend": true }),
            &json!([
                condition("Ready", "False", "NoStorageAccess"),
                condition("Authenticated", "Unknown", "Probing"),
                condition("Stalled", "False", "ProbeSucceeded")
            ]),
        );
        let findings = of_operator(&server);
        assert!(!in_order(&findings));
        let told = page(&server, &findings, &[], Paint::Plain);
        let told = told.as_str();
        let lines: Vec<&str> = told.lines().collect();
        let [head, _, ready, authenticated, stalled, suspended] = lines.as_slice() else { panic!("{told}") };
        assert_eq!(*head, "FhirServer research/clinic (https://clinic.example.org/fhir, dialect BulkData)");
        assert!(
            ready.starts_with("  wrong  Ready              what is so. To do: Set storage on the"),
            "{ready}"
        );
        assert_eq!(*authenticated, "  note   Authenticated      what is so.");
        assert!(stalled.starts_with("  ok     Stalled"), "{stalled}");
        assert!(suspended.contains("kubectl fhirexport resume server/clinic"), "{suspended}");
        assert!(in_order(&of_operator(&self::server(
            &json!({}),
            &json!([condition("Ready", "True", "ProbeSucceeded")])
        ))));
        assert!(!in_order(&of_operator(&self::server(&json!({}), &json!([])))), "nobody looked");
    }

    #[test]
    fn what_is_seen_from_here_is_told_and_is_not_wrong() {
        let offered = Offered {
            software: "HAPI 8".to_owned(),
            fhir_version: Some("4.0.1".to_owned()),
            exports: vec!["export".to_owned()],
        };
        let bundle =
            json!({ "tls": { "caBundleRef": { "kind": "ConfigMap", "name": "ca", "key": "ca.crt" } } });
        let none = Offered { exports: Vec::new(), ..offered.clone() };
        for (spec, metadata, wanted) in [
            (json!({}), Metadata::Read(offered), "  ok     Export             offered: export\n"),
            (json!({}), Metadata::Read(none), "names no export; servers that have it may not say so\n"),
            (json!({}), Metadata::Other(401), "the server wants credentials for it (401)"),
            (json!({}), Metadata::Other(502), "answers 502 without a CapabilityStatement"),
            (json!({}), Metadata::Unanswered(Cause::Tls("it is not trusted")), "set tls.caBundleRef if"),
            (bundle, Metadata::Unanswered(Cause::Tls("it is not trusted")), "name its file with --extra-ca"),
            (
                json!({}),
                Metadata::Unanswered(Cause::Connect("refused the connection")),
                "the host refused the connection",
            ),
        ] {
            let server = server(&spec, &json!([]));
            let findings = seen_from_here(&server, &seen(metadata));
            assert!(in_order(&findings));
            let told = page(&server, &[], &findings, Paint::Plain);
            let told = told.as_str();
            assert!(told.contains(wanted) && told.contains("the host has the address 192.0.2.1"), "{told}");
        }
    }

    #[test]
    fn a_server_writes_no_escape_sequence() {
        let offered = Offered { software: "\u{1b}[2J".to_owned(), fhir_version: None, exports: Vec::new() };
        let server = server(&json!({}), &json!([]));
        let findings = seen_from_here(&server, &seen(Metadata::Read(offered)));
        let told = page(&server, &[], &findings, Paint::Plain);
        let told = told.as_str();
        assert!(told.contains(" \u{fffd}[2J, FHIR of") && !told.contains('\u{1b}'), "{told:?}");
    }
}
