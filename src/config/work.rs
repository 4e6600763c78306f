//! The flags that say how the operator works, whether in a cluster or without one.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use url::Url;

use super::parse::{
    Networks, Words, authority, collector, namespaces, networks, plain, seconds, volume_grants,
};
use crate::core::tuning::Tuning;
use crate::core::volume::VolumeGrants;
use crate::storage::StorageHosts;

/// The flags of every command that runs exports: patience, limits and trust. Each can also be given as an environment
/// variable.
// --help shows these comments verbatim.
#[allow(clippy::doc_markdown)]
#[derive(Clone, Debug, Args)]
pub struct WorkArgs {
    /// How many objects of one kind to reconcile at once
    #[arg(
        long, env = "FHIR_EXPORT_CONCURRENCY", value_name = "N", default_value_t = 64,
        value_parser = clap::value_parser!(u16).range(1..)
    )]
    pub(super) concurrency: u16,
    /// How long to try a cancel before giving up
    #[arg(
        long, env = "FHIR_EXPORT_CANCEL_GRACE_SECONDS", value_name = "SECONDS", default_value = "300",
        value_parser = seconds
    )]
    pub(super) cancel_grace_seconds: Duration,
    /// How many times to try a cancel within --cancel-grace-seconds
    #[arg(
        long, env = "FHIR_EXPORT_CANCEL_TRIES", value_name = "N", default_value_t = 10,
        value_parser = clap::value_parser!(i32).range(1..=1000)
    )]
    pub(super) cancel_tries: i32,
    /// Shortest wait before a poll, whatever a server or FhirServer says
    #[arg(
        long, env = "FHIR_EXPORT_POLL_FLOOR_SECONDS", value_name = "SECONDS", default_value = "1",
        value_parser = seconds
    )]
    pub(super) poll_floor_seconds: Duration,
    /// Longest wait between polls or tries, whatever a FhirServer says
    #[arg(
        long, env = "FHIR_EXPORT_POLL_CEILING_SECONDS", value_name = "SECONDS", default_value = "7200",
        value_parser = seconds
    )]
    pub(super) poll_ceiling_seconds: Duration,
    /// How long to wait before searching for a job whose kick-off got no answer
    #[arg(
        long, env = "FHIR_EXPORT_ORPHAN_WAIT_SECONDS", value_name = "SECONDS", default_value = "120",
        value_parser = seconds
    )]
    pub(super) orphan_wait_seconds: Duration,
    /// Delay after the first failed attempt; it doubles with each further one
    #[arg(
        long, env = "FHIR_EXPORT_RETRY_BASE_SECONDS", value_name = "SECONDS", default_value = "30",
        value_parser = seconds
    )]
    pub(super) retry_base_seconds: Duration,
    /// Longest delay after a failed attempt
    #[arg(
        long, env = "FHIR_EXPORT_RETRY_MAX_SECONDS", value_name = "SECONDS", default_value = "600",
        value_parser = seconds
    )]
    pub(super) retry_max_seconds: Duration,
    /// How soon to look again for an object that is missing in the cluster
    #[arg(
        long, env = "FHIR_EXPORT_MISSING_RETRY_SECONDS", value_name = "SECONDS", default_value = "5",
        value_parser = seconds
    )]
    pub(super) missing_retry_seconds: Duration,
    /// How many files to download at once, over all servers
    #[arg(
        long, env = "FHIR_EXPORT_MAX_DOWNLOADS", value_name = "N", default_value_t = 16,
        value_parser = clap::value_parser!(u16).range(1..=1024)
    )]
    pub(super) max_downloads: u16,
    /// Longest time that one request to a FHIR server may take, whatever its FhirServer says
    #[arg(
        long, env = "FHIR_EXPORT_MAX_REQUEST_TIMEOUT_SECONDS", value_name = "SECONDS", default_value_t = 3600,
        value_parser = clap::value_parser!(u16).range(30..=3600)
    )]
    pub(super) max_request_timeout_seconds: u16,
    /// Deadline of exports if neither they nor their server name one
    #[arg(
        long, env = "FHIR_EXPORT_DEFAULT_DEADLINE_SECONDS", value_name = "SECONDS",
        default_value = "604800", value_parser = seconds
    )]
    pub(super) default_deadline_seconds: Duration,
    /// PEM file with additional certificate authorities to trust for Entra, FHIR servers and storage
    #[arg(long, env = "FHIR_EXPORT_EXTRA_CA", value_name = "FILE")]
    pub(super) extra_ca: Option<PathBuf>,
    /// URL of the OpenTelemetry collector that gets a trace of each export, by OTLP over HTTP, such as
    /// http://collector:4318; default: no traces
    #[arg(long, env = "FHIR_EXPORT_OTLP_ENDPOINT", value_name = "URL", value_parser = collector)]
    pub(super) otlp_endpoint: Option<Url>,
    /// https URL of the Entra authority for all FhirServers, in place of the one of their cloud
    #[arg(long, env = "FHIR_EXPORT_ENTRA_AUTHORITY_HOST", value_name = "URL", value_parser = authority)]
    pub(super) entra_authority_host: Option<Url>,
    /// Audiences that FhirServers may request tokens for besides their own url, separated by commas
    #[arg(
        long, env = "FHIR_EXPORT_ENTRA_AUDIENCES", value_name = "AUDIENCES", default_value = "",
        value_parser = plain
    )]
    pub(super) entra_audiences: Words,
    /// Hosts that may receive tokens besides those of the clouds, as host or host:port, separated by commas: blob
    /// endpoints those of Entra, security token services for S3 those of ServiceAccounts
    #[arg(
        long, env = "FHIR_EXPORT_STORAGE_HOSTS", value_name = "HOSTS", default_value = "",
        value_parser = StorageHosts::parse
    )]
    pub(super) storage_hosts: StorageHosts,
    /// Directory in which volumes are mounted, each in a directory with the name of its PersistentVolumeClaim
    #[arg(
        long,
        env = "FHIR_EXPORT_VOLUMES",
        value_name = "DIR",
        default_value = "/var/lib/fhir-export/volumes"
    )]
    pub(super) volumes: PathBuf,
    /// Folders of volumes that FhirServers of a namespace may use, as NAMESPACE=CLAIM or NAMESPACE=CLAIM/PATH,
    /// separated by commas; default: none
    #[arg(
        long, env = "FHIR_EXPORT_VOLUME_GRANTS", value_name = "GRANTS", default_value = "",
        value_parser = volume_grants
    )]
    pub(super) volume_grants: VolumeGrants,
    /// Networks to refuse connections to when a FhirServer names a host there, such as 127.0.0.0/8, separated
    /// by commas
    #[arg(
        long, env = "FHIR_EXPORT_REFUSED_NETWORKS", value_name = "NETWORKS", default_value = "",
        value_parser = networks
    )]
    pub(super) refused_networks: Networks,
    /// Namespaces whose FhirServers may use the operator's own identity, separated by commas; default: none
    #[arg(
        long, env = "FHIR_EXPORT_OWN_IDENTITY_NAMESPACES", value_name = "NAMES", default_value = "",
        value_parser = namespaces
    )]
    pub(super) own_identity_namespaces: Words,
}

impl WorkArgs {
    /// The flags that a pod needs to reach what this operator reaches, and nothing that it may not.
    pub(super) fn flags_of_pods(&self) -> Vec<String> {
        let mut flags = vec![
            format!("--max-downloads={}", self.max_downloads),
            format!("--max-request-timeout-seconds={}", self.max_request_timeout_seconds),
        ];
        let lists = [
            (
                "entra-authority-host",
                self.entra_authority_host.as_ref().map(Url::to_string).unwrap_or_default(),
            ),
            ("entra-audiences", joined(&self.entra_audiences)),
            ("storage-hosts", self.storage_hosts.to_string()),
            ("volume-grants", self.volume_grants.to_string()),
            ("refused-networks", joined(&self.refused_networks)),
            ("own-identity-namespaces", joined(&self.own_identity_namespaces)),
        ];
        let named = lists.into_iter().filter(|(_, value)| !value.is_empty());
        flags.extend(named.map(|(name, value)| format!("--{name}={value}")));
        flags
    }

    /// The time limits and delays, validated together. The error is one sentence.
    pub(super) fn tuning(&self) -> Result<Tuning, String> {
        let tuning = Tuning {
            poll_floor: self.poll_floor_seconds,
            poll_ceiling: self.poll_ceiling_seconds,
            cancel_grace: self.cancel_grace_seconds,
            cancel_tries: self.cancel_tries,
            orphan_wait: self.orphan_wait_seconds,
            retry_base: self.retry_base_seconds,
            retry_max: self.retry_max_seconds,
            missing_retry: self.missing_retry_seconds,
            default_deadline: self.default_deadline_seconds,
            progress_interval: Tuning::default().progress_interval,
        };
        if tuning.poll_floor > tuning.poll_ceiling {
            return Err("--poll-floor-seconds is greater than --poll-ceiling-seconds.".into());
        }
        if tuning.retry_base > tuning.retry_max {
            return Err("--retry-base-seconds is greater than --retry-max-seconds.".into());
        }
        Ok(tuning)
    }
}

/// The items of a list, separated by commas.
fn joined<'a, T: ToString + 'a>(items: impl IntoIterator<Item = &'a T>) -> String {
    items.into_iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}
