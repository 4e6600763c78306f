//! What a run needs to know about its server, with the defaults filled in.

use std::time::Duration;

use kube::ResourceExt;
use url::Url;

use crate::api::{
    BlobAuthType, Compression, ConditionStatus, ConditionType, Dialect, ExportRequest, FhirExportSpec,
    FhirServer, FhirServerSpec, Reason,
};
use crate::core::bulk::Deviations;
use crate::core::condition;
use crate::core::poll::Bounds;
use crate::core::store_name::store_name;
use crate::core::tuning::Tuning;

/// The longest id of a job that a status can keep, in bytes.
const MAX_ID: usize = 128;
/// The longest status URL that a status can keep, in bytes.
const MAX_URL: usize = 2048;

/// Exports of Epic take days to weeks.
const EPIC_DEADLINE: Duration = Duration::from_secs(30 * 24 * 3600);

/// A `FhirServer`, read with its defaults.
#[derive(Clone, Copy, Debug)]
pub struct ServerView<'a> {
    server: &'a FhirServer,
}

impl<'a> ServerView<'a> {
    /// A view of this FhirServer.
    pub fn new(server: &'a FhirServer) -> Self {
        Self { server }
    }

    /// The spec of the FhirServer, without defaults.
    pub fn spec(&self) -> &'a FhirServerSpec {
        &self.server.spec
    }

    /// The FhirServer itself.
    pub fn object(&self) -> &'a FhirServer {
        self.server
    }

    /// Whether the server was probed since its spec last changed.
    pub fn probed(&self) -> bool {
        let seen = self.server.status.as_ref().and_then(|status| status.observed_generation);
        seen.is_some_and(|seen| seen >= self.server.metadata.generation.unwrap_or(0))
    }

    /// A problem that the last probe found and that this export cannot avoid: the server speaks the other
    /// dialect, or the operator would have to land the files in storage that it may not use.
    pub fn known_problem(&self, request: &ExportRequest) -> Option<(Reason, &'a str)> {
        let status = self.server.status.as_ref().filter(|_| self.probed())?;
        let no =
            |type_| condition::find(&status.conditions, type_).filter(|c| c.status == ConditionStatus::False);
        if let Some(wrong) = no(ConditionType::Ready).filter(|c| c.because(Reason::WrongDialect)) {
            return Some((Reason::WrongDialect, &wrong.message));
        }
        let lands = self.spec().dialect == Dialect::BulkData;
        let storage = no(ConditionType::StorageAccessible).filter(|_| lands)?;
        // An identity that may use one container need not be allowed to list all containers, or to use another one.
        let by_key = self.blob_auth() == Some(BlobAuthType::AccountKey);
        let asked = self.spec().default_container.as_ref();
        let same =
            asked.is_some() && request.container.as_ref().is_none_or(|container| Some(container) == asked);
        let certain = !storage.because(Reason::NoStorageAccess) || by_key || same;
        certain.then_some((Reason::NoStorageAccess, &storage.message))
    }

    /// How the server deviates from the specification, if it is a Bulk Data server.
    pub fn deviations(&self) -> Deviations {
        Deviations::of(self.server)
    }

    /// The name of the FhirServer in messages: `namespace/name`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.server.namespace().unwrap_or_default(), self.server.name_any())
    }

    /// The uid of the FhirServer; empty if the object has none.
    pub fn uid(&self) -> String {
        self.server.metadata.uid.clone().unwrap_or_default()
    }

    /// Whether the FhirServer is being deleted.
    pub fn deleting(&self) -> bool {
        self.server.metadata.deletion_timestamp.is_some()
    }

    /// The name of the store, if the FhirServer has storage.
    pub fn store_name(&self) -> Option<String> {
        store_name(self.spec().storage.as_ref()?)
    }

    /// The blob endpoint, if the FhirServer has a storage account.
    pub fn blob_endpoint(&self) -> Option<&'a str> {
        let storage = self.spec().storage.as_ref()?;
        Some(storage.azure_blob.as_ref()?.endpoint.as_str())
    }

    /// How files that the operator lands are stored.
    pub fn compression(&self) -> Compression {
        self.spec().storage.as_ref().and_then(|storage| storage.compression).unwrap_or(Compression::None)
    }

    fn blob_auth(&self) -> Option<BlobAuthType> {
        Some(self.spec().storage.as_ref()?.azure_blob.as_ref()?.auth.type_)
    }

    /// How many bytes of one export may be read back to verify it; 1 GiB by default.
    pub fn verify_max_bytes(&self) -> u64 {
        const GIB: u64 = 1 << 30;
        let set = self.spec().storage.as_ref().and_then(|s| s.verify_max_bytes);
        set.map_or(GIB, |bytes| u64::try_from(bytes).unwrap_or(0))
    }

    /// How many exports may run at once; 4 by default.
    pub fn max_concurrent(&self) -> usize {
        let set = self.spec().limits.as_ref().and_then(|l| l.max_concurrent_exports);
        usize::try_from(set.unwrap_or(4)).unwrap_or(1).max(1)
    }

    /// How many exports of one group may run at once; 1 by default.
    pub fn max_concurrent_per_group(&self) -> usize {
        let set = self.spec().limits.as_ref().and_then(|l| l.max_concurrent_per_group);
        usize::try_from(set.unwrap_or(1)).unwrap_or(1).max(1)
    }

    /// The bounds of waits, within those of the operator.
    pub fn bounds(&self, tuning: &Tuning) -> Bounds {
        let limits = self.spec().limits.clone().unwrap_or_default();
        let seconds = |set: Option<i32>, default: u64| {
            Duration::from_secs(set.and_then(|s| u64::try_from(s).ok()).unwrap_or(default))
        };
        let ceiling = tuning.poll_ceiling.max(tuning.poll_floor);
        // A spec that sets only the longest wait, below 10 s, lowers the shortest one with it.
        let shortest = limits.min_poll_seconds.or_else(|| limits.max_poll_seconds.map(|max| max.min(10)));
        let min = seconds(shortest, 10).clamp(tuning.poll_floor, ceiling);
        let max = seconds(limits.max_poll_seconds, 300).clamp(min, ceiling.max(min));
        let max_retry_after = seconds(limits.max_retry_after_seconds, 7200).clamp(tuning.poll_floor, ceiling);
        Bounds { min, max, max_retry_after }
    }

    /// Whether a job may be polled soon after its kick-off: `minPollSeconds` is not set, and jobs of such
    /// servers are not known to take long.
    pub fn polls_early(&self) -> bool {
        let set = self.spec().limits.as_ref().and_then(|limits| limits.min_poll_seconds);
        set.is_none() && !(self.spec().dialect == Dialect::BulkData && self.deviations().jobs_are_slow())
    }

    /// How long a run may take if its own spec does not say so.
    pub fn deadline(&self, tuning: &Tuning) -> Duration {
        let set = self.spec().defaults.as_ref().and_then(|d| d.active_deadline_seconds);
        let slow = self.spec().dialect == Dialect::BulkData && self.deviations().jobs_are_slow();
        let default = if slow { tuning.default_deadline.max(EPIC_DEADLINE) } else { tuning.default_deadline };
        set.and_then(|s| u64::try_from(s).ok()).map_or(default, Duration::from_secs)
    }

    /// The status URL to use for a `Content-Location`, and the job's id.
    pub fn status_url(&self, content_location: &str) -> Option<(String, Option<String>)> {
        let spec = self.spec();
        let trusted = spec.trusted_origins.as_deref().unwrap_or_default();
        status_url(&spec.url, spec.dialect, trusted, content_location)
    }

    /// Whether `url` is the URL of a job on this server as Azure forms it. On Azure, only such a
    /// URL may receive a `DELETE`.
    pub fn is_job(&self, url: &str) -> bool {
        let known = status_url(&self.spec().url, Dialect::Azure, &[], url);
        known.is_some_and(|(known, id)| id.is_some() && known == url)
    }

    /// The status URL of a job that was found by its id.
    pub fn job_url(&self, id: &str) -> Option<String> {
        job_url(&self.spec().url, id)
    }
}

/// How long a run may take from its start, over all attempts.
pub fn deadline(spec: &FhirExportSpec, server: Option<&FhirServer>, tuning: &Tuning) -> Duration {
    let own = spec.active_deadline_seconds.and_then(|s| u64::try_from(s).ok());
    let of_server = || server.map_or(tuning.default_deadline, |s| ServerView::new(s).deadline(tuning));
    own.map_or_else(of_server, Duration::from_secs)
}

/// The status URL to use for a `Content-Location`, and the job's id. A relative one is joined to `base`. On
/// Azure, one with another scheme or host (such as the internal name behind a proxy) keeps its id and is
/// rebuilt on `base`, so that no token goes elsewhere. `None` if it names no job, carries a password, is too
/// long for the status, or lies on an origin that is not trusted.
pub(super) fn status_url(
    base: &str,
    dialect: Dialect,
    trusted_origins: &[String],
    content_location: &str,
) -> Option<(String, Option<String>)> {
    let root = Url::parse(&format!("{}/", base.trim_end_matches('/'))).ok()?;
    let mut url = root.join(content_location.trim()).ok()?;
    url.set_fragment(None);
    let id = url
        .path()
        .rsplit_once("/_operations/export/")
        .map(|(_, id)| id.trim_end_matches('/').to_owned())
        .filter(|id| id.len() <= MAX_ID && is_id(id));
    let id = if dialect == Dialect::BulkData { id.or_else(|| bulk_id(&url)) } else { id };
    let plain = url.username().is_empty() && url.password().is_none();
    let own = plain && url.origin() == root.origin();
    let trusts = |origin: &String| Url::parse(origin).is_ok_and(|o| o.origin() == url.origin());
    let trusted = own || plain && trusted_origins.iter().any(trusts);
    match (dialect, id) {
        (Dialect::Azure, Some(id)) if !own => Some((job_url(base, &id)?, Some(id))),
        (_, id) if trusted && url.path() != root.path() && url.as_str().len() <= MAX_URL => {
            Some((url.to_string(), id))
        }
        _ => None,
    }
}

/// The name of a Bulk Data job, taken from its status URL: a query parameter, or the end of the path.
fn bulk_id(url: &Url) -> Option<String> {
    let parameter = url
        .query_pairs()
        .find(|(name, _)| name.eq_ignore_ascii_case("_jobid"))
        .map(|(_, id)| id.into_owned());
    let id = parameter.or_else(|| url.path_segments()?.next_back().map(str::to_owned))?;
    (id.len() <= 64 && is_id(&id)).then_some(id)
}

/// Whether `id` is safe to become part of paths and names of containers.
fn is_id(id: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !id.is_empty() && id.chars().all(plain) && id.contains(|c: char| c.is_ascii_alphanumeric())
}

fn job_url(base: &str, id: &str) -> Option<String> {
    let plain = (1..=MAX_ID).contains(&id.len()) && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    plain.then(|| format!("{}/_operations/export/{id}", base.trim_end_matches('/')))
}

#[cfg(test)]
#[path = "server_view_tests.rs"]
mod tests;
