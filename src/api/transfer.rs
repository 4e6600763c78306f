//! Where the files of a server are landed.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which process lands the files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TransferMode {
    /// The operator's own pod.
    #[default]
    Operator,
    /// The pods of a Job, in the namespace that the operator's chart designates.
    Job,
}

/// Where the files of a server are landed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.mode == 'Job' || !(has(self.parallelism) || has(self.resources) || \
        has(self.serviceAccountName) || has(self.labels))")
        .message("parallelism, resources, serviceAccountName and labels are allowed only when mode is Job")
        .field_path(".mode")
        .reason(Reason::FieldValueInvalid)
)]
pub struct Transfer {
    /// Operator (the operator's own pod downloads and stores the files) or Job (the pods of a Job do, each a share of
    /// the files). Job needs a namespace that the operator's chart designates (`landingJobs.namespace`); until there is
    /// one, exports wait and say so.
    pub mode: TransferMode,
    /// How many pods land files at once; never more than there are files, or than `limits.maxParallelDownloads` allows
    /// downloads. Without that limit each pod downloads 8 files at once. Default: 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 64))]
    pub parallelism: Option<i32>,
    /// The computing resources of each pod. Default: requests of 100m CPU and 128Mi memory, and a limit of 512Mi memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<PodResources>,
    /// The ServiceAccount of the pods, in the namespace of the Jobs, for a workload identity of its own. Its token for
    /// the API server is not mounted. Only FhirServers of the namespaces in the chart's `ownIdentityNamespaces` may name
    /// one. Default: that namespace's `default`, without a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub service_account_name: Option<String>,
    /// Labels of the Job: only `kueue.x-k8s.io/queue-name`, to have Kueue queue it. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend(
        "maxProperties" = 8,
        "additionalProperties" = serde_json::json!({ "type": "string", "maxLength": 63 })
    ))]
    #[x_kube(
        validation = Rule::new("self.all(key, key == 'kueue.x-k8s.io/queue-name')")
            .message("the only label is kueue.x-k8s.io/queue-name")
            .reason(Reason::FieldValueInvalid)
    )]
    pub labels: Option<BTreeMap<String, String>>,
}

/// Computing resources of a pod, as quantities of Kubernetes such as `500m` or `1Gi`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodResources {
    /// What the scheduler reserves for each pod, by resource. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend(
        "maxProperties" = 8,
        "additionalProperties" = serde_json::json!({ "type": "string", "maxLength": 32 })
    ))]
    pub requests: Option<BTreeMap<String, String>>,
    /// The most that each pod may use, by resource. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend(
        "maxProperties" = 8,
        "additionalProperties" = serde_json::json!({ "type": "string", "maxLength": 32 })
    ))]
    pub limits: Option<BTreeMap<String, String>>,
}
