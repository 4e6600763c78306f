use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

/// When an export of each namespace last left the queue of a server.
type Served = BTreeMap<String, Timestamp>;

/// The uids of the exports that hold a place or get one now, according to an [`Admission`] that knows all of them.
fn admitted(places: usize, per_group: usize, candidates: &[Candidate], served: &Served) -> BTreeSet<String> {
    let mut admission = Admission::default();
    for (namespace, at) in served {
        admission.serve(namespace, *at);
    }
    for candidate in candidates {
        admission.set(candidate.clone());
    }
    let next = admission.next(Limits { places, per_group }).map(|next| next.uid.clone());
    candidates.iter().filter(|c| c.holds).map(|c| c.uid.clone()).chain(next).collect()
}

/// The result that [`admitted`] should have, found by a look at each candidate.
fn scanned(limit: usize, per_group: usize, candidates: &[Candidate], served: &Served) -> BTreeSet<String> {
    #[derive(Default)]
    struct Row<'c> {
        inside: usize,
        served: Option<Timestamp>,
        waiting: VecDeque<&'c Candidate>,
    }
    let mut groups: HashMap<&str, usize> = HashMap::new();
    let mut rows: BTreeMap<&str, Row<'_>> = BTreeMap::new();
    let mut inside = BTreeSet::new();
    for holder in candidates.iter().filter(|c| c.holds) {
        if let Some(group) = &holder.group {
            *groups.entry(group).or_default() += 1;
        }
        rows.entry(&holder.namespace).or_default().inside += 1;
        inside.insert(holder.uid.clone());
    }
    let mut queue: Vec<&Candidate> = candidates.iter().filter(|c| !c.holds).collect();
    queue.sort_by_key(|c| (c.created, &c.uid));
    for next in queue {
        let row = rows.entry(&next.namespace).or_default();
        row.served = served.get(&next.namespace).copied();
        row.waiting.push_back(next);
    }
    while inside.len() < limit {
        let turn = |row: &&mut Row<'_>| {
            row.waiting.front().map(|c| (row.inside, row.served, c.created, c.uid.clone()))
        };
        let rows = rows.values_mut().filter(|row| !row.waiting.is_empty());
        let Some(row) = rows.min_by_key(turn) else { break };
        let next = row.waiting.pop_front().unwrap();
        if let Some(group) = &next.group {
            let taken = groups.entry(group).or_default();
            if *taken >= per_group {
                continue;
            }
            *taken += 1;
        }
        row.inside += 1;
        inside.insert(next.uid.clone());
    }
    inside
}

fn candidate(uid: &str, created: i64, group: Option<&str>, holds: bool) -> Candidate {
    Candidate {
        uid: uid.into(),
        namespace: "ns".into(),
        created: Timestamp::from_second(created).unwrap(),
        group: group.map(Into::into),
        holds,
    }
}

#[test]
fn first_come_first_served() {
    let all = [
        candidate("c", 3, None, false),
        candidate("b", 1, None, false),
        candidate("a", 1, None, false),
        candidate("h", 9, None, true),
    ];
    let inside = admitted(3, 1, &all, &Served::new());
    assert_eq!(inside.into_iter().collect::<Vec<_>>(), ["a", "b", "h"]);
}

#[test]
fn a_full_group_blocks_nobody_else() {
    let all = [
        candidate("h", 1, Some("g"), true),
        candidate("x", 2, Some("g"), false),
        candidate("y", 3, Some("k"), false),
        candidate("z", 4, Some("k"), false),
    ];
    assert_eq!(admitted(4, 1, &all, &Served::new()).into_iter().collect::<Vec<_>>(), ["h", "y"]);
}

fn of(namespace: &str, n: i64, holds: bool) -> Candidate {
    Candidate { namespace: namespace.into(), ..candidate(&format!("{namespace}-{n:04}"), n, None, holds) }
}

#[test]
fn a_thousand_exports_of_one_namespace_hold_up_nobody_else() {
    let mut all: Vec<Candidate> = (0..1000).map(|n| of("many", n, n < 4)).collect();
    all.extend([of("few", 5000, false), of("few", 5001, false), of("one", 6000, false)]);
    let holders = ["many-0000", "many-0001", "many-0002", "many-0003"];
    assert_eq!(
        admitted(4, 1, &all, &Served::new()).into_iter().collect::<Vec<_>>(),
        holders,
        "who holds keeps"
    );
    // Places become free one at a time.
    for (ended, next) in [
        ("many-0000", "few-5000"),
        ("many-0001", "one-6000"),
        // Both namespaces have one place, so the oldest export is next.
        ("many-0002", "many-0004"),
        ("few-5000", "few-5001"),
        ("one-6000", "many-0005"),
    ] {
        all.retain(|c| c.uid != ended);
        let inside = admitted(4, 1, &all, &Served::new());
        assert!(inside.contains(next) && inside.len() == 4, "{next}: {inside:?}");
        all.iter_mut().find(|c| c.uid == next).unwrap().holds = true;
    }
}

#[test]
fn one_place_goes_round() {
    let mut all: Vec<Candidate> = (0..1000).map(|n| of("many", n, false)).collect();
    all.extend([of("few", 5000, false), of("few", 5001, false), of("one", 6000, false)]);
    let mut served = Served::new();
    let mut order = Vec::new();
    for second in 0..6 {
        let next = admitted(1, 1, &all, &served).pop_first().unwrap();
        let at = all.iter().position(|c| c.uid == next).unwrap();
        served.insert(all.remove(at).namespace, Timestamp::from_second(second).unwrap());
        order.push(next);
    }
    assert_eq!(order, ["many-0000", "few-5000", "one-6000", "many-0001", "few-5001", "many-0002"]);
}

proptest! {
    #[test]
    fn no_namespace_is_ahead_of_one_that_waits(
        limit in 1_usize..8, rows in proptest::collection::vec((0_u8..4, 0_i64..50), 0..60),
    ) {
        let all: Vec<Candidate> = rows.iter().enumerate()
            .map(|(n, (namespace, created))| Candidate {
                uid: n.to_string(),
                ..of(&namespace.to_string(), *created, false)
            })
            .collect();
        let inside = admitted(limit, 1, &all, &Served::new());
        let has = |namespace: &str| {
            all.iter().filter(|c| c.namespace == namespace && inside.contains(&c.uid)).count()
        };
        for waiting in all.iter().filter(|c| !inside.contains(&c.uid)) {
            for other in &all {
                prop_assert!(has(&other.namespace) <= has(&waiting.namespace) + 1);
            }
            // Within a namespace, exports start in order of creation.
            let earlier = |c: &&Candidate| {
                c.namespace == waiting.namespace && (c.created, &c.uid) < (waiting.created, &waiting.uid)
            };
            prop_assert!(all.iter().filter(earlier).count() >= has(&waiting.namespace));
        }
        prop_assert_eq!(inside.len(), limit.min(all.len()));
    }

    #[test]
    fn never_more_than_the_limits(
        limit in 1_usize..6, per_group in 1_usize..3,
        rows in proptest::collection::vec((0_i64..5, proptest::option::of(0_u8..3)), 0..20),
    ) {
        let all: Vec<Candidate> = rows.iter().enumerate()
            .map(|(n, (created, group))| {
                candidate(&n.to_string(), *created, group.map(|g| g.to_string()).as_deref(), false)
            })
            .collect();
        let inside = admitted(limit, per_group, &all, &Served::new());
        prop_assert!(inside.len() <= limit);
        for g in 0..3_u8 {
            let g = g.to_string();
            let of_group = all.iter().filter(|c| inside.contains(&c.uid) && c.group.as_deref() == Some(&g)).count();
            prop_assert!(of_group <= per_group);
        }
        // No place stays free while an export could have it.
        let groups_full = |c: &Candidate| c.group.as_ref().is_some_and(|g| {
            all.iter().filter(|o| inside.contains(&o.uid) && o.group.as_ref() == Some(g)).count() >= per_group
        });
        if inside.len() < limit {
            prop_assert!(all.iter().filter(|c| !inside.contains(&c.uid)).all(groups_full));
        }
    }

    /// After any sequence of changes, the order that is kept agrees with a look at each export.
    #[test]
    fn what_is_kept_says_what_a_scan_says(
        changes in proptest::collection::vec(change(), 1..80), limit in 0_usize..6, per_group in 1_usize..3,
    ) {
        let mut admission = Admission::default();
        let mut known: BTreeMap<String, Candidate> = BTreeMap::new();
        let mut served = Served::new();
        let limits = Limits { places: limit, per_group };
        for (name, state, turn) in changes {
            let uid = name.to_string();
            let candidate = state.map(|(namespace, created, group, holds)| Candidate {
                namespace: namespace.to_string(),
                ..candidate(&uid, created, group.map(|g| g.to_string()).as_deref(), holds)
            });
            if let Some(candidate) = candidate.clone() {
                admission.set(candidate.clone());
                known.insert(uid.clone(), candidate);
            } else {
                prop_assert_eq!(admission.remove(&uid), known.remove(&uid));
            }
            if let Some((namespace, at)) = turn {
                let (namespace, at) = (namespace.to_string(), Timestamp::from_second(at).unwrap());
                admission.serve(&namespace, at);
                let last = served.entry(namespace).or_insert(at);
                *last = at.max(*last);
            }
            let all: Vec<Candidate> = known.values().cloned().collect();
            let expected = scanned(limit, per_group, &all, &served);
            let next: Vec<String> = admission.next(limits).map(|next| next.uid.clone()).collect();
            let holders = all.iter().filter(|c| c.holds).map(|c| c.uid.clone());
            prop_assert_eq!(holders.chain(next).collect::<BTreeSet<String>>(), expected);
            // An export that asks counts as waiting, and asking changes nothing.
            let asking = Candidate { holds: false, ..candidate.unwrap_or_else(|| of("0", 25, false)) };
            let mut with = all.clone();
            with.retain(|c| c.uid != asking.uid || c.holds);
            if !with.iter().any(|c| c.uid == asking.uid) {
                with.push(asking.clone());
            }
            let admits = scanned(limit, per_group, &with, &served).contains(&asking.uid);
            prop_assert_eq!(admission.admits(limits, asking), admits);
            prop_assert_eq!(admission.candidates.len(), known.len());
        }
        for uid in known.keys() {
            admission.remove(uid);
        }
        prop_assert!(admission.is_empty() && admission.turns.is_empty() && admission.groups.is_empty());
        prop_assert_eq!((admission.holding, admission.lines.len()), (0, served.len()));
    }
}

type Change = (u8, Option<(u8, i64, Option<u8>, bool)>, Option<(u8, i64)>);

/// A change of one of twelve exports, and perhaps a turn of a namespace.
fn change() -> impl Strategy<Value = Change> {
    let state = (0_u8..4, 0_i64..30, proptest::option::of(0_u8..3), proptest::bool::weighted(0.3));
    (0_u8..12, proptest::option::weighted(0.8, state), proptest::option::weighted(0.2, (0_u8..4, 0_i64..50)))
}
