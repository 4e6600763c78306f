//! Logs failures once per cause, not a thousand times when one cause stops everything.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use tracing::{info, warn};

use crate::cluster::stores::Key;
use crate::metrics::Kind;

/// The most failing objects that the log names at once. Further ones are only counted.
const NAMED: usize = 10;

/// The objects of one kind whose last reconcile failed.
pub(super) struct Complaints {
    kind: Kind,
    failing: Mutex<Failing>,
}

#[derive(Default)]
struct Failing {
    texts: HashMap<Key, String>,
    named: HashSet<Key>,
    more: bool,
}

impl Complaints {
    pub(super) fn new(kind: Kind) -> Self {
        Self { kind, failing: Mutex::default() }
    }

    /// Records a failed reconcile, and logs it unless the object's last failure had the same text.
    pub(super) fn failed(&self, object: Key, text: &str) {
        let kind = self.kind.as_str();
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        if failing.texts.get(&object).map(String::as_str) == Some(text) {
            return;
        }
        if failing.named.len() < NAMED || failing.named.contains(&object) {
            warn!(kind, namespace = object.0, name = object.1, "{text}");
            failing.named.insert(object.clone());
        } else if !failing.more {
            warn!(
                kind,
                "further objects fail and are not named here; see the metric fhir_export_reconciles_total"
            );
            failing.more = true;
        }
        failing.texts.insert(object, text.to_string());
    }

    /// Records that a reconcile succeeded.
    pub(super) fn went_well(&self, object: &Key) {
        self.settle(object, true);
    }

    /// Records that an object was deleted.
    pub(super) fn gone(&self, object: &Key) {
        self.settle(object, false);
    }

    fn settle(&self, object: &Key, well: bool) {
        let kind = self.kind.as_str();
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        if failing.texts.remove(object).is_none() {
            return;
        }
        if failing.named.remove(object) && well {
            info!(kind, namespace = object.0, name = object.1, "it works again");
        }
        if failing.texts.is_empty() && std::mem::take(&mut failing.more) {
            info!(kind, "all objects work again");
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn key(number: usize) -> Key {
        ("ns".into(), number.to_string())
    }

    fn counts(complaints: &Complaints) -> (usize, usize, bool) {
        let failing = complaints.failing.lock().unwrap();
        (failing.texts.len(), failing.named.len(), failing.more)
    }

    #[test]
    fn an_outage_names_a_few_and_ends() {
        let complaints = Complaints::new(Kind::FhirExport);
        for round in ["refused", "refused", "timed out"] {
            (0..1000).for_each(|number| complaints.failed(key(number), round));
            assert_eq!(counts(&complaints), (1000, NAMED, true));
        }
        (0..999).for_each(|number| complaints.went_well(&key(number)));
        assert_eq!(counts(&complaints), (1, 0, true));
        complaints.gone(&key(999));
        assert_eq!(counts(&complaints), (0, 0, false));
    }
}
