//! The listings of group members that run beside the reconciles, so that a storage account that does not answer
//! holds up no other schedule.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::lock::locked;
use crate::api::MemberList;
use crate::core::ledger::{StorageFailure, StorageFailureKind};
use crate::core::schedule::Listing;
use crate::ports::EndTask;

/// The most listings that hold ids in memory at once. A group of 400,000 members takes some 100 MB while it
/// is compared.
const AT_ONCE: usize = 2;
/// The most listings of one namespace that hold ids in memory at once.
const OF_NAMESPACE: usize = 1;

/// The listings that were started and whose result was not taken yet.
pub struct Listings {
    /// The tasks, by the uid of the export whose files they read.
    tasks: Mutex<HashMap<String, Task>>,
    places: Arc<Places>,
}

struct Task {
    /// The list that members are compared with. A result for another list is not used.
    before: Option<MemberList>,
    state: Arc<Mutex<Listing>>,
    end: EndTask,
}

impl Default for Listings {
    fn default() -> Self {
        let all = Arc::new(Semaphore::new(AT_ONCE));
        let places = Places { all, of_namespaces: Mutex::default() };
        Self { tasks: Mutex::default(), places: Arc::new(places) }
    }
}

impl Listings {
    /// Returns the state of the listing that compares an export's members with `before`, if there is one. A
    /// result is returned only once. A listing that compares with another list is ended.
    pub(super) fn look(&self, export: &str, before: Option<&MemberList>) -> Option<Listing> {
        let mut tasks = locked(&self.tasks);
        let task = tasks.remove(export)?;
        if task.before.as_ref() != before {
            (task.end)();
            return None;
        }
        let state = locked(&task.state).clone();
        if state == Listing::Running {
            tasks.insert(export.to_owned(), task);
        }
        Some(state)
    }

    /// Records a listing that was started, and ends an earlier one of the same export.
    pub(super) fn started(
        &self,
        export: &str,
        before: Option<&MemberList>,
        outcome: &ListingResult,
        end: EndTask,
    ) {
        let task = Task { before: before.cloned(), state: outcome.0.clone(), end };
        if let Some(earlier) = locked(&self.tasks).insert(export.to_owned(), task) {
            (earlier.end)();
        }
    }

    /// The places for listings.
    pub(super) fn places(&self) -> Arc<Places> {
        self.places.clone()
    }

    /// Ends and drops the listings of exports that no longer exist.
    pub(super) fn retain(&self, alive: impl Fn(&str) -> bool) {
        let gone: Vec<Task> = {
            let mut tasks = locked(&self.tasks);
            let uids: Vec<String> = tasks.keys().filter(|uid| !alive(uid)).cloned().collect();
            uids.iter().filter_map(|uid| tasks.remove(uid)).collect()
        };
        for task in gone {
            (task.end)();
        }
    }
}

/// The places for listings: [`AT_ONCE`] in all, [`OF_NAMESPACE`] for each namespace.
pub(super) struct Places {
    all: Arc<Semaphore>,
    of_namespaces: Mutex<HashMap<String, Weak<Semaphore>>>,
}

/// A place for a listing. Dropping this value gives the place back.
pub(super) struct ListingPlace {
    _of_namespace: Option<OwnedSemaphorePermit>,
    _of_all: Option<OwnedSemaphorePermit>,
}

impl Places {
    /// Waits for a place. A listing takes the place of its namespace first, so that it holds no other one
    /// while it waits for that.
    pub(super) async fn enter(&self, namespace: &str) -> ListingPlace {
        let of_namespace = self.of(namespace).acquire_owned().await.ok();
        let of_all = self.all.clone().acquire_owned().await.ok();
        ListingPlace { _of_namespace: of_namespace, _of_all: of_all }
    }

    fn of(&self, namespace: &str) -> Arc<Semaphore> {
        let mut all = locked(&self.of_namespaces);
        if let Some(known) = all.get(namespace).and_then(Weak::upgrade) {
            return known;
        }
        all.retain(|_, known| known.strong_count() > 0);
        let places = Arc::new(Semaphore::new(OF_NAMESPACE));
        all.insert(namespace.to_owned(), Arc::downgrade(&places));
        places
    }
}

/// The result of a listing, which its task sets.
#[derive(Clone)]
pub(super) struct ListingResult(Arc<Mutex<Listing>>);

impl ListingResult {
    /// Creates the outcome of a listing that runs.
    pub(super) fn running() -> Self {
        Self(Arc::new(Mutex::new(Listing::Running)))
    }

    /// Returns the handle with which the task reports its result. If the task drops it without a result, for
    /// example in a panic, the listing counts as failed and is tried again.
    pub(super) fn teller(&self) -> Teller {
        Teller(self.0.clone())
    }
}

/// The handle with which the task of a listing reports its result.
pub(super) struct Teller(Arc<Mutex<Listing>>);

impl Teller {
    /// Reports the result of the listing to the reconciles.
    pub(super) fn tell(self, listing: Listing) {
        *locked(&self.0) = listing;
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        let mut state = locked(&self.0);
        if *state == Listing::Running {
            let kind = StorageFailureKind::Transient { retry_after: None };
            let message = "the task that lists them ended by itself".to_owned();
            *state = Listing::Failed(StorageFailure { kind, message });
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::FutureExt;

    use super::*;
    use crate::core::schedule::{Listed, Newcomers};

    fn done() -> Listing {
        Listing::Done(Listed { members: None, newcomers: Newcomers::None })
    }

    fn list(sha256: &str) -> MemberList {
        MemberList { path: None, sha256: sha256.into() }
    }

    #[test]
    fn a_result_is_given_out_once_and_only_for_the_list_it_was_compared_with() {
        let (listings, ended) = (Listings::default(), Arc::new(AtomicUsize::new(0)));
        let start = |before: Option<&MemberList>| {
            let (outcome, ended) = (ListingResult::running(), ended.clone());
            let end = Box::new(move || {
                ended.fetch_add(1, Ordering::Relaxed);
            });
            listings.started("u", before, &outcome, end);
            outcome.teller()
        };
        assert_eq!(listings.look("u", None), None);
        let teller = start(None);
        for _ in 0..2 {
            assert_eq!(listings.look("u", None), Some(Listing::Running));
        }
        teller.tell(done());
        assert_eq!(listings.look("u", None), Some(done()));
        assert_eq!(listings.look("u", None), None, "taken");
        start(None).tell(done());
        assert_eq!(listings.look("u", Some(&list("a"))), None, "the answer to another question");
        assert_eq!(ended.load(Ordering::Relaxed), 1);
        drop(start(Some(&list("a"))));
        let failed = listings.look("u", Some(&list("a")));
        assert!(matches!(failed, Some(Listing::Failed(_))), "a task that panics is tried again");
        let _teller = start(None);
        listings.retain(|uid| uid != "u");
        assert_eq!((listings.look("u", None), ended.load(Ordering::Relaxed)), (None, 2));
    }

    #[test]
    fn a_namespace_whose_storage_hangs_holds_up_no_other() {
        let places = Listings::default().places();
        let hangs = places.enter("slow").now_or_never().unwrap();
        for _ in 0..3 {
            assert!(places.enter("slow").now_or_never().is_none(), "one for each namespace");
        }
        let healthy = places.enter("healthy").now_or_never().unwrap();
        assert!(places.enter("third").now_or_never().is_none(), "the lists need memory");
        drop(healthy);
        assert!(places.enter("third").now_or_never().is_some());
        drop(hangs);
        assert!(places.enter("slow").now_or_never().is_some());
    }
}
