//! The Job whose pods land the files of one run, and what its status says.

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::Job;
use serde_json::{Value, json};

use super::Exit;
use crate::api::{PodResources, Transfer};
use crate::core::manifest::sha256_hex;

/// The label of a Job and its Secret: the uid of the `FhirExport` whose files land.
pub const RUN_LABEL: &str = "fhirexport.dev/landing-of";
/// The label of a Job and its Secret: which operator made them.
const OPERATOR_LABEL: &str = "fhirexport.dev/operator";
/// The annotation of a Job: the digest of what its pods land. A Job with another one is made anew.
pub const ASSIGNMENT_ANNOTATION: &str = "fhirexport.dev/assignment";
/// The directory in which a pod finds its Secret.
pub const SECRET_DIRECTORY: &str = "/etc/fhir-export/landing";

/// How often the pod of one share may fail before the share is given up.
const RETRIES: i32 = 4;
/// The group of the files on volumes, as the operator's chart sets it.
const VOLUME_GROUP: i64 = 65532;
/// How long a Job stays after its end if no operator deletes it, in seconds.
const KEPT: i32 = 3600;

/// What all Jobs of an operator have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodTemplate {
    /// The namespace of the Jobs.
    pub namespace: String,
    /// The image of the pods: the operator's own.
    pub image: String,
    /// The flags that the pods work with: those of the operator.
    pub flags: Vec<String>,
    /// The directory in which a pod finds its volumes, each under the name of its claim.
    pub volumes: String,
    /// Which operator makes the Jobs, as the value of a label.
    pub operator: String,
}

impl PodTemplate {
    /// The selector of all Jobs and Secrets that this operator made.
    pub fn selector(&self) -> String {
        format!("{OPERATOR_LABEL}={},{RUN_LABEL}", self.operator)
    }

    /// The digest of what the pods land and how they work: a Job with another one is made anew, also when the operator's
    /// owner narrows what pods may reach.
    pub fn digest(&self, landing: &str) -> String {
        let Self { image, flags, volumes, .. } = self;
        sha256_hex(json!([landing, image, flags, volumes]).to_string().as_bytes())
    }

    /// The labels of the Job and the Secret for the run with this uid.
    pub fn labels(&self, uid: &str) -> BTreeMap<String, String> {
        [
            ("app.kubernetes.io/managed-by", "fhir-export-operator"),
            (OPERATOR_LABEL, self.operator.as_str()),
            (RUN_LABEL, uid),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
    }
}

/// One Job to make.
#[derive(Clone, Debug, PartialEq)]
pub struct JobOrder {
    /// The uid of the `FhirExport`.
    pub uid: String,
    /// The number of pods.
    pub pods: usize,
    /// The digest of what they land.
    pub digest: String,
    /// How the server's owner wants the pods.
    pub transfer: Transfer,
    /// The `PersistentVolumeClaim` that the files land on, if the storage is a volume.
    pub claim: Option<String>,
}

/// The name of the Job, and of its Secret, for the run with this uid. Each run has at most one, so making it twice is
/// harmless.
pub fn job_name(uid: &str) -> String {
    format!("landing-{uid}")
}

/// The Job of an order; `None` if the order cannot be a Job.
pub fn job(template: &PodTemplate, order: &JobOrder) -> Option<Job> {
    let name = job_name(&order.uid);
    let of_run = template.labels(&order.uid);
    let mut labels = order.transfer.labels.clone().unwrap_or_default();
    labels.extend(of_run.clone());
    let job = json!({
        "metadata": {
            "name": name, "namespace": template.namespace, "labels": labels,
            "annotations": { ASSIGNMENT_ANNOTATION: order.digest },
        },
        "spec": {
            "completionMode": "Indexed",
            "completions": order.pods,
            "parallelism": order.pods,
            "backoffLimitPerIndex": RETRIES,
            // A share that fails does not end the others.
            "maxFailedIndexes": order.pods,
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": { "rules": [
                { "action": "Ignore", "onPodConditions": [{ "type": "DisruptionTarget", "status": "True" }] },
                { "action": "FailIndex", "onExitCodes":
                    { "containerName": "land", "operator": "In", "values": [2, Exit::Lasting.code()] } },
            ] },
            "ttlSecondsAfterFinished": KEPT,
            "template": { "metadata": { "labels": of_run }, "spec": pod(template, order, &name) },
        },
    });
    serde_json::from_value(job).ok()
}

fn pod(template: &PodTemplate, order: &JobOrder, secret: &str) -> Value {
    let mut args = vec![
        "land".to_owned(),
        format!("--assignment={SECRET_DIRECTORY}"),
        format!("--volumes={}", template.volumes),
    ];
    args.extend(template.flags.iter().cloned());
    let mut volumes = vec![json!({ "name": "landing", "secret": { "secretName": secret } })];
    let mut mounts = vec![json!({ "name": "landing", "mountPath": SECRET_DIRECTORY, "readOnly": true })];
    if let Some(claim) = &order.claim {
        volumes.push(json!({ "name": "storage", "persistentVolumeClaim": { "claimName": claim } }));
        mounts.push(json!({ "name": "storage", "mountPath": format!("{}/{claim}", template.volumes) }));
    }
    let mut pod = json!({
        "restartPolicy": "Never",
        // The pods ask the API server for nothing.
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "securityContext": { "runAsNonRoot": true, "seccompProfile": { "type": "RuntimeDefault" } },
        "containers": [{
            "name": "land",
            "image": template.image,
            "args": args,
            "resources": resources(order.transfer.resources.as_ref()),
            "securityContext": {
                "allowPrivilegeEscalation": false,
                "readOnlyRootFilesystem": true,
                "capabilities": { "drop": ["ALL"] },
            },
            "volumeMounts": mounts,
        }],
        "volumes": volumes,
    });
    if let (Some(_), Some(Value::Object(context))) = (&order.claim, pod.get_mut("securityContext")) {
        // Files on volumes belong to the group of the operator's pod.
        context.insert("fsGroup".into(), json!(VOLUME_GROUP));
    }
    if let (Some(account), Some(pod)) = (&order.transfer.service_account_name, pod.as_object_mut()) {
        pod.insert("serviceAccountName".into(), json!(account));
    }
    pod
}

fn resources(wanted: Option<&PodResources>) -> Value {
    match wanted {
        Some(PodResources { requests, limits }) => json!({
            "requests": requests.clone().unwrap_or_default(), "limits": limits.clone().unwrap_or_default(),
        }),
        None => json!({ "requests": { "cpu": "100m", "memory": "128Mi" }, "limits": { "memory": "512Mi" } }),
    }
}

/// How a Job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobStands {
    /// Its pods run, wait or are retried.
    Running,
    /// It has ended: each share has landed or was given up.
    Ended,
    /// It is being deleted, or lands something else and has to be.
    Outdated,
}

/// How a Job stands that should land what `digest` says.
pub fn stands(job: &Job, digest: &str) -> JobStands {
    let annotations = job.metadata.annotations.as_ref();
    let of_digest = annotations.and_then(|all| all.get(ASSIGNMENT_ANNOTATION)).is_some_and(|it| it == digest);
    if job.metadata.deletion_timestamp.is_some() || !of_digest {
        return JobStands::Outdated;
    }
    let conditions = job.status.as_ref().and_then(|status| status.conditions.as_ref());
    let ended = conditions.is_some_and(|all| {
        all.iter().any(|it| matches!(it.type_.as_str(), "Complete" | "Failed") && it.status == "True")
    });
    if ended { JobStands::Ended } else { JobStands::Running }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn template() -> PodTemplate {
        PodTemplate {
            namespace: "landings".into(),
            image: "registry.example.org/operator:1".into(),
            flags: vec!["--storage-hosts=blobs.example.org".into()],
            volumes: "/volumes".into(),
            operator: "0123".into(),
        }
    }

    fn order() -> JobOrder {
        JobOrder {
            uid: "0b3f".into(),
            pods: 3,
            digest: "d".into(),
            transfer: Transfer::default(),
            claim: None,
        }
    }

    fn json_of(order: &JobOrder) -> Value {
        serde_json::to_value(job(&template(), order).unwrap()).unwrap()
    }

    #[test]
    fn a_pod_has_no_token_and_no_rights() {
        let job = json_of(&order());
        let pod = job.pointer("/spec/template/spec").unwrap();
        assert_eq!(pod["automountServiceAccountToken"], json!(false));
        assert_eq!(pod.get("serviceAccountName"), None);
        let container = pod.pointer("/containers/0").unwrap();
        assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], json!(true));
        assert_eq!(container["securityContext"]["capabilities"], json!({ "drop": ["ALL"] }));
        assert_eq!(
            container["args"],
            json!([
                "land",
                "--assignment=/etc/fhir-export/landing",
                "--volumes=/volumes",
                "--storage-hosts=blobs.example.org"
            ])
        );
        assert_eq!(
            pod["volumes"],
            json!([{ "name": "landing", "secret": { "secretName": "landing-0b3f" } }])
        );
    }

    #[test]
    fn another_image_or_narrower_flags_make_another_job() {
        let digest = template().digest("d");
        assert_eq!(digest, template().digest("d"));
        assert_ne!(digest, template().digest("e"));
        assert_ne!(digest, PodTemplate { flags: Vec::new(), ..template() }.digest("d"));
        assert_ne!(digest, PodTemplate { image: "other".into(), ..template() }.digest("d"));
    }

    #[test]
    fn shares_fail_alone_and_evictions_do_not_count() {
        let job = json_of(&order());
        let spec = &job["spec"];
        assert_eq!((&spec["completions"], &spec["parallelism"]), (&json!(3), &json!(3)));
        assert_eq!(spec["completionMode"], json!("Indexed"));
        assert_eq!(spec["maxFailedIndexes"], json!(3));
        let rules = spec.pointer("/podFailurePolicy/rules").unwrap();
        assert_eq!(rules[0]["action"], json!("Ignore"));
        assert_eq!(rules[1]["action"], json!("FailIndex"));
        let codes = rules[1].pointer("/onExitCodes/values").unwrap();
        assert_eq!(codes, &json!([2, 3]));
    }

    #[test]
    fn labels_for_a_queue_are_the_jobs_only_and_replace_none_of_ours() {
        let labels = BTreeMap::from([
            ("kueue.x-k8s.io/queue-name".to_owned(), "night".to_owned()),
            (RUN_LABEL.to_owned(), "another".to_owned()),
        ]);
        let transfer = Transfer {
            labels: Some(labels),
            service_account_name: Some("lander".into()),
            ..Transfer::default()
        };
        let job = json_of(&JobOrder { transfer, claim: Some("lake".into()), ..order() });
        assert_eq!(job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"], json!("night"));
        assert_eq!(job["metadata"]["labels"][RUN_LABEL], json!("0b3f"));
        let pod = &job["spec"]["template"];
        assert_eq!(pod["metadata"]["labels"].get("kueue.x-k8s.io/queue-name"), None);
        assert_eq!(pod["spec"]["serviceAccountName"], json!("lander"));
        assert_eq!(pod["spec"]["volumes"][1]["persistentVolumeClaim"]["claimName"], json!("lake"));
        assert_eq!(pod.pointer("/spec/containers/0/volumeMounts/1/mountPath").unwrap(), "/volumes/lake");
    }

    #[test]
    fn a_job_ends_and_is_replaced() {
        let with = |change: Value| {
            let mut job = json_of(&order());
            job.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            serde_json::from_value::<Job>(job).unwrap()
        };
        let condition = |type_: &str, status: &str| {
            with(json!({ "status": { "conditions": [{ "type": type_, "status": status }] } }))
        };
        let table = vec![
            (with(json!({})), "d", JobStands::Running),
            (condition("Complete", "True"), "d", JobStands::Ended),
            (condition("Failed", "True"), "d", JobStands::Ended),
            (condition("Failed", "False"), "d", JobStands::Running),
            // The pods of a failing Job may still run.
            (condition("FailureTarget", "True"), "d", JobStands::Running),
            (condition("Complete", "True"), "e", JobStands::Outdated),
            (
                with(json!({ "metadata": { "deletionTimestamp": "2026-01-01T00:00:00Z",
                    "annotations": { ASSIGNMENT_ANNOTATION: "d" } } })),
                "d",
                JobStands::Outdated,
            ),
        ];
        for (job, digest, expected) in table {
            assert_eq!(stands(&job, digest), expected, "{job:?}");
        }
    }
}
