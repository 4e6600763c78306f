//! What a run needs to know of its server, with the defaults filled in.

use std::time::Duration;

use kube::ResourceExt;
use url::Url;

use crate::api::{Dialect, FhirServer, FhirServerSpec};
use crate::core::poll::Bounds;
use crate::core::tuning::Tuning;

/// A `FhirServer`, read with its defaults.
#[derive(Clone, Copy, Debug)]
pub struct ServerView<'a> {
    server: &'a FhirServer,
}

impl<'a> ServerView<'a> {
    /// Looks at a server.
    pub fn new(server: &'a FhirServer) -> Self {
        Self { server }
    }

    /// Its spec.
    pub fn spec(&self) -> &'a FhirServerSpec {
        &self.server.spec
    }

    /// `namespace/name`, for messages.
    pub fn name(&self) -> String {
        format!("{}/{}", self.server.namespace().unwrap_or_default(), self.server.name_any())
    }

    /// Its uid.
    pub fn uid(&self) -> String {
        self.server.metadata.uid.clone().unwrap_or_default()
    }

    /// Whether it is being deleted.
    pub fn deleting(&self) -> bool {
        self.server.metadata.deletion_timestamp.is_some()
    }

    /// The blob endpoint, if storage is set.
    pub fn blob_endpoint(&self) -> Option<&'a str> {
        let storage = self.spec().storage.as_ref()?;
        Some(storage.azure_blob.as_ref()?.endpoint.as_str())
    }

    /// How many bytes of one export may be read back.
    pub fn verify_max_bytes(&self) -> u64 {
        const GIB: u64 = 1 << 30;
        let set = self.spec().storage.as_ref().and_then(|s| s.verify_max_bytes);
        set.map_or(GIB, |bytes| u64::try_from(bytes).unwrap_or(0))
    }

    /// How many exports may run at once.
    pub fn max_concurrent(&self) -> usize {
        let set = self.spec().limits.as_ref().and_then(|l| l.max_concurrent_exports);
        usize::try_from(set.unwrap_or(4)).unwrap_or(1).max(1)
    }

    /// How many exports of one group may run at once.
    pub fn max_concurrent_per_group(&self) -> usize {
        let set = self.spec().limits.as_ref().and_then(|l| l.max_concurrent_per_group);
        usize::try_from(set.unwrap_or(1)).unwrap_or(1).max(1)
    }

    /// The bounds of waiting, within the operator's own.
    pub fn bounds(&self, tuning: &Tuning) -> Bounds {
        let limits = self.spec().limits.clone().unwrap_or_default();
        let seconds = |set: Option<i32>, default: u64| {
            Duration::from_secs(set.and_then(|s| u64::try_from(s).ok()).unwrap_or(default))
        };
        let ceiling = tuning.poll_ceiling.max(tuning.poll_floor);
        let min = seconds(limits.min_poll_seconds, 10).clamp(tuning.poll_floor, ceiling);
        let max = seconds(limits.max_poll_seconds, 300).clamp(min, ceiling.max(min));
        let max_retry_after = seconds(limits.max_retry_after_seconds, 7200);
        Bounds { min, max, max_retry_after: max_retry_after.max(tuning.poll_floor) }
    }

    /// How long a run may take that does not say so itself.
    pub fn deadline(&self, tuning: &Tuning) -> Duration {
        let set = self.spec().defaults.as_ref().and_then(|d| d.active_deadline_seconds);
        set.and_then(|s| u64::try_from(s).ok()).map_or(tuning.default_deadline, Duration::from_secs)
    }

    /// The status URL to use for a `Content-Location`, and the job's id. Relative ones are joined; on Azure one
    /// with another scheme or host (a proxy's inside) keeps its id and is rebuilt on `url`, so that no token
    /// ever goes elsewhere. `None` if it names no job, or lies on an origin that is not trusted.
    pub fn status_url(&self, content_location: &str) -> Option<(String, Option<String>)> {
        let spec = self.spec();
        let base = format!("{}/", spec.url.trim_end_matches('/'));
        let base = Url::parse(&base).ok()?;
        let url = base.join(content_location.trim()).ok()?;
        let id = url
            .path()
            .rsplit_once("/_operations/export/")
            .map(|(_, id)| id.trim_end_matches('/').to_owned())
            .filter(|id| !id.is_empty() && !id.contains('/'));
        let trusted = url.origin() == base.origin()
            || spec
                .trusted_origins
                .iter()
                .flatten()
                .any(|o| Url::parse(o).is_ok_and(|o| o.origin() == url.origin()));
        match (spec.dialect, id) {
            (Dialect::Azure, Some(id)) if url.origin() != base.origin() => {
                Some((self.job_url(&id)?, Some(id)))
            }
            (_, id) if trusted && url.path() != base.path() => Some((url.to_string(), id)),
            _ => None,
        }
    }

    /// The status URL of a job that was found by its id.
    pub fn job_url(&self, id: &str) -> Option<String> {
        let plain = !id.is_empty() && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        plain.then(|| format!("{}/_operations/export/{id}", self.spec().url.trim_end_matches('/')))
    }
}
