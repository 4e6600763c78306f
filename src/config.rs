//! The operator's configuration, read once from flags and environment variables.
//!
//! Uses: cluster, core, serve, storage.

mod parse;
mod work;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use url::Url;

use crate::cluster::NAME;
use crate::core::reach::Network;
use crate::core::tuning::Tuning;
use crate::core::volume::VolumeGrants;
use crate::serve::logs::LogFormat;
use crate::storage::StorageHosts;
pub use parse::LeaseName;
use parse::{Words, directives, lease, listener, namespaces, seconds};
pub use work::WorkArgs;

/// The flags of `run`. Each can also be given as an environment variable.
// --help shows these comments verbatim.
#[allow(clippy::doc_markdown)]
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// Namespaces to watch, separated by commas; default: all
    #[arg(
        long, env = "FHIR_EXPORT_WATCH_NAMESPACES", value_name = "NAMES", default_value = "",
        value_parser = namespaces
    )]
    watch_namespaces: Words,
    /// Address that serves /metrics
    #[arg(
        long, env = "FHIR_EXPORT_METRICS_ADDR", value_name = "ADDR", default_value = "0.0.0.0:8080",
        value_parser = listener
    )]
    metrics_addr: SocketAddr,
    /// Address that serves /livez and /readyz
    #[arg(
        long, env = "FHIR_EXPORT_HEALTH_ADDR", value_name = "ADDR", default_value = "0.0.0.0:8081",
        value_parser = listener
    )]
    health_addr: SocketAddr,
    /// Work without the Lease. Danger: if a second operator serves the same namespaces, exports are kicked off
    /// twice
    #[arg(
        long, env = "FHIR_EXPORT_NO_LEADER_ELECT", default_missing_value = "true", num_args = 0..=1,
        require_equals = true, default_value_t = false
    )]
    no_leader_elect: bool,
    /// Lease that the operator holds while it works, as name or namespace/name; without a namespace, that of
    /// the pod or kubeconfig
    #[arg(long, env = "FHIR_EXPORT_LEASE", value_name = "NAME", default_value = NAME, value_parser = lease)]
    lease: LeaseName,
    /// Format of log lines; default: text if stderr is a terminal, else json
    #[arg(long, env = "FHIR_EXPORT_LOG_FORMAT", value_name = "FORMAT")]
    log_format: Option<LogFormat>,
    /// What to log, such as `info` or `info,fhir_export_operator=debug`
    #[arg(
        long, env = "FHIR_EXPORT_LOG_FILTER", value_name = "FILTER", default_value = "info",
        value_parser = directives
    )]
    log_filter: String,
    /// How often to look at the container for the progress of an export
    #[arg(
        long, env = "FHIR_EXPORT_PROGRESS_INTERVAL_SECONDS", value_name = "SECONDS", default_value = "300",
        value_parser = seconds
    )]
    progress_interval_seconds: Duration,
    /// Namespace for the Jobs of FhirServers whose transfer.mode is Job; default: none
    #[arg(
        long, env = "FHIR_EXPORT_LANDING_JOBS_NAMESPACE", value_name = "NAME", default_value = "",
        value_parser = namespaces
    )]
    landing_jobs_namespace: Words,
    /// Image of the pods of these Jobs: the operator's own
    #[arg(long, env = "FHIR_EXPORT_LANDING_JOBS_IMAGE", value_name = "IMAGE")]
    landing_jobs_image: Option<String>,
    #[command(flatten)]
    work: WorkArgs,
}

/// Where the Jobs are made that land files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LandingJobs {
    /// The namespace of the Jobs.
    pub namespace: String,
    /// The image of their pods.
    pub image: String,
    /// The flags of their pods.
    pub flags: Vec<String>,
}

/// The validated configuration of the operator.
#[derive(Clone, Debug)]
pub struct Config {
    /// The namespaces to watch; an empty set stands for all.
    pub watch_namespaces: BTreeSet<String>,
    /// The address that serves `/metrics`.
    pub metrics_addr: SocketAddr,
    /// The address that serves `/livez` and `/readyz`.
    pub health_addr: SocketAddr,
    /// Whether to work only while this replica holds the Lease.
    pub leader_elect: bool,
    /// The Lease for leader election.
    pub lease: LeaseName,
    /// The format of log lines; `None`: text if stderr is a terminal, else JSON.
    pub log_format: Option<LogFormat>,
    /// The log filter, in the syntax of `tracing_subscriber::EnvFilter`.
    pub log_filter: String,
    /// How many objects of one kind are reconciled at once.
    pub concurrency: u16,
    /// How many files are downloaded at once, over all servers.
    pub max_downloads: usize,
    /// The longest time that one request to a FHIR server may take, whatever its `FhirServer` says.
    pub max_request_timeout: Duration,
    /// Time limits, intervals and delays.
    pub tuning: Tuning,
    /// A PEM file with additional certificate authorities.
    pub extra_ca: Option<PathBuf>,
    /// The URL of the OTLP collector that gets traces; `None` for no traces.
    pub otlp_endpoint: Option<Url>,
    /// The https URL of the Entra authority that replaces those of the clouds.
    pub entra_authority_host: Option<Url>,
    /// Audiences that a `FhirServer` may request besides its own `url`.
    pub entra_audiences: BTreeSet<String>,
    /// Hosts that may receive tokens besides those of the clouds: blob endpoints, and token services for S3.
    pub storage_hosts: StorageHosts,
    /// The directory in which volumes are mounted, each in a directory with the name of its claim.
    pub volumes: PathBuf,
    /// Which namespace may use which folders of the volumes.
    pub volume_grants: VolumeGrants,
    /// Where Jobs land files; `None` if no namespace is designated.
    pub landing_jobs: Option<LandingJobs>,
    /// Networks that hosts named by a `FhirServer` must not be in.
    pub refused_networks: Vec<Network>,
    /// Namespaces whose `FhirServer`s may use the operator's own identity.
    pub own_identity_namespaces: BTreeSet<String>,
}

impl WorkArgs {
    /// Validates the flags together. The error is one sentence. The configuration is that of an operator which works
    /// alone: without a Lease, and with its listeners on free ports of the loopback interface.
    pub fn resolve(self) -> Result<Config, String> {
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Ok(Config {
            tuning: self.tuning()?,
            watch_namespaces: BTreeSet::new(),
            metrics_addr: any_port,
            health_addr: any_port,
            leader_elect: false,
            lease: LeaseName { namespace: None, name: NAME.into() },
            log_format: None,
            log_filter: "info".into(),
            concurrency: self.concurrency,
            max_downloads: usize::from(self.max_downloads),
            max_request_timeout: Duration::from_secs(self.max_request_timeout_seconds.into()),
            extra_ca: self.extra_ca,
            otlp_endpoint: self.otlp_endpoint,
            entra_authority_host: self.entra_authority_host,
            entra_audiences: self.entra_audiences,
            storage_hosts: self.storage_hosts,
            volumes: self.volumes,
            volume_grants: self.volume_grants,
            landing_jobs: None,
            refused_networks: self.refused_networks,
            own_identity_namespaces: self.own_identity_namespaces,
        })
    }
}

impl RunArgs {
    fn landing_jobs(&self) -> Result<Option<LandingJobs>, String> {
        let mut namespaces = self.landing_jobs_namespace.iter();
        match (namespaces.next(), namespaces.next(), &self.landing_jobs_image) {
            (None, _, _) => Ok(None),
            (Some(_), Some(_), _) => Err("--landing-jobs-namespace is one namespace.".into()),
            (Some(_), None, None) => Err("--landing-jobs-namespace needs --landing-jobs-image.".into()),
            (Some(namespace), None, Some(image)) => Ok(Some(LandingJobs {
                namespace: namespace.clone(),
                image: image.clone(),
                flags: self.work.flags_of_pods(),
            })),
        }
    }

    /// Validates the flags together. The error is one sentence.
    pub fn resolve(self) -> Result<Config, String> {
        let landing_jobs = self.landing_jobs()?;
        let mut config = self.work.resolve()?;
        config.landing_jobs = landing_jobs;
        config.watch_namespaces = self.watch_namespaces;
        config.metrics_addr = self.metrics_addr;
        config.health_addr = self.health_addr;
        config.leader_elect = !self.no_leader_elect;
        config.lease = self.lease;
        config.log_format = self.log_format;
        config.log_filter = self.log_filter;
        config.tuning.progress_interval = self.progress_interval_seconds;
        Ok(config)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::core::volume::VolumeFolder;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: RunArgs,
    }

    fn config(line: &str) -> Result<Config, String> {
        let words = std::iter::once("run").chain(line.split_whitespace());
        Line::try_parse_from(words).map_err(|e| e.to_string())?.args.resolve()
    }

    #[test]
    fn the_defaults_are_those_of_the_core() {
        let config = config("").unwrap();
        assert_eq!(config.tuning, Tuning::default());
        assert_eq!(config.concurrency, 64);
        assert!(config.watch_namespaces.is_empty());
        assert!(config.leader_elect);
        assert_eq!(config.lease, LeaseName { namespace: None, name: "fhir-export-operator".into() });
        assert_eq!(config.metrics_addr.port(), 8080);
        assert_eq!(config.health_addr.port(), 8081);
        assert_eq!(config.max_request_timeout, Duration::from_hours(1));
    }

    #[test]
    fn every_flag_has_its_variable() {
        use clap::CommandFactory;
        for argument in Line::command().get_arguments().filter(|a| a.get_id() != "help") {
            let flag = argument.get_long().unwrap();
            let expected = format!("FHIR_EXPORT_{}", flag.to_uppercase().replace('-', "_"));
            assert_eq!(argument.get_env().unwrap().to_str(), Some(expected.as_str()));
        }
    }

    #[test]
    fn values_are_read() {
        let config = config(
            "--watch-namespaces a,b,a --poll-floor-seconds 0.2 --cancel-tries 3 --no-leader-elect --lease ops/fhir \
             --entra-authority-host https://login.example.org --entra-audiences https://x.example.org,api://y \
             --storage-hosts blobs.example.org,127.0.0.1:10000 --refused-networks 127.0.0.0/8,::1 --volumes /volumes \
             --volume-grants clinic=lake,research=shared/research",
        )
        .unwrap();
        assert_eq!(config.volumes, PathBuf::from("/volumes"));
        let grants = [("clinic", "lake"), ("research", "shared/research")]
            .map(|(to, folder)| (to.to_owned(), VolumeFolder::parse(folder).unwrap()));
        assert_eq!(config.volume_grants, VolumeGrants::new(grants).unwrap());
        assert_eq!(config.watch_namespaces, BTreeSet::from(["a".into(), "b".into()]));
        assert_eq!(config.tuning.poll_floor, Duration::from_millis(200));
        assert_eq!(config.tuning.cancel_tries, 3);
        assert!(!config.leader_elect);
        assert_eq!(config.lease, LeaseName { namespace: Some("ops".into()), name: "fhir".into() });
        assert_eq!(config.entra_audiences.len(), 2);
        assert_eq!(
            config.storage_hosts,
            StorageHosts::parse("127.0.0.1:10000,blobs.example.org:443").unwrap()
        );
        let networks: Vec<String> = config.refused_networks.iter().map(ToString::to_string).collect();
        assert_eq!(networks, ["127.0.0.0/8", "::1/128"]);
    }

    #[test]
    fn pods_reach_what_the_operator_reaches() {
        let line = "--landing-jobs-namespace landings --landing-jobs-image x --max-downloads 3 \
            --storage-hosts 127.0.0.1:10000,[::1]:7,blobs.example.org --volume-grants clinic=lake/a,research=lake/b \
            --refused-networks 127.0.0.0/8,::1/128 --entra-audiences api://one,api://two \
            --own-identity-namespaces ops --entra-authority-host https://login.example.org";
        let operator = config(line).unwrap();
        let jobs = operator.landing_jobs.clone().unwrap();
        assert_eq!((jobs.namespace.as_str(), jobs.image.as_str()), ("landings", "x"));
        let pod = config(&jobs.flags.join(" ")).unwrap();
        assert_eq!(pod.max_downloads, 3);
        assert_eq!(pod.storage_hosts, operator.storage_hosts);
        assert_eq!(pod.volume_grants, operator.volume_grants);
        assert_eq!(pod.refused_networks, operator.refused_networks);
        assert_eq!(pod.entra_audiences, operator.entra_audiences);
        assert_eq!(pod.entra_authority_host, operator.entra_authority_host);
        assert_eq!(pod.own_identity_namespaces, operator.own_identity_namespaces);
        assert_eq!(pod.landing_jobs, None);
        assert_eq!(config("").unwrap().landing_jobs, None);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (line, said) in [
            ("--watch-namespaces Clinic_1", "Clinic_1"),
            ("--lease Ops/fhir", "Ops is not the name of a namespace"),
            ("--landing-jobs-namespace a", "needs --landing-jobs-image"),
            ("--landing-jobs-namespace a,b --landing-jobs-image x", "is one namespace"),
            ("--lease ops/", "name or namespace/name"),
            ("--lease a/b/c", "name or namespace/name"),
            ("--otlp-endpoint collector:4318", "use an http or https URL"),
            ("--otlp-endpoint https://me:hush@collector", "with host and path only"),
            ("--volume-grants lake", "as NAMESPACE=CLAIM"),
            ("--volume-grants Clinic=lake", "Clinic is not the name of a namespace"),
            ("--volume-grants clinic=lake/../x", "cannot be the path of a folder"),
            ("--volume-grants clinic=lake,research=lake/x", "overlap"),
            ("--poll-floor-seconds 0", "greater than 0"),
            ("--poll-floor-seconds=-1", "greater than 0"),
            ("--poll-floor-seconds NaN", "greater than 0"),
            ("--poll-floor-seconds 1e300", "greater than 0"),
            ("--poll-floor-seconds soon", "number of seconds"),
            ("--poll-floor-seconds 10 --poll-ceiling-seconds 5", "--poll-ceiling-seconds"),
            ("--retry-base-seconds 10 --retry-max-seconds 5", "--retry-max-seconds"),
            ("--entra-authority-host http://login.example.org", "https"),
            ("--storage-hosts https://blobs.example.org", "host:port"),
            ("--refused-networks 127.0.0.1/8", "10.0.0.0/8"),
            ("--metrics-addr 8080", "0.0.0.0:8080"),
            ("--concurrency 0", "0 is not in 1.."),
            ("--max-request-timeout-seconds 3601", "3601 is not in 30..=3600"),
            ("--log-filter info,=,", "log filter"),
        ] {
            let error = config(line).unwrap_err();
            assert!(error.contains(said), "{line}: {error}");
        }
    }
}
