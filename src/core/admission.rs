//! Which exports may run on a `FhirServer`. Namespaces take turns, and within a namespace exports start in
//! order of creation, so a namespace that creates a thousand exports delays only its own.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use jiff::Timestamp;

/// An export that holds a place or waits for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The uid of the export.
    pub uid: String,
    /// The namespace of the export.
    pub namespace: String,
    /// When the export was created.
    pub created: Timestamp,
    /// The id of the Group that the export is for; `None` at other levels.
    pub group: Option<String>,
    /// Whether the export already holds a place: it has left the queue and has not ended.
    pub holds: bool,
}

/// When an export of each namespace last left the queue of a server.
pub type Served = BTreeMap<String, Timestamp>;

/// The exports of one namespace: how many hold or get a place, when the namespace last had its turn, and the
/// queue.
#[derive(Default)]
struct Line<'c> {
    inside: usize,
    served: Option<Timestamp>,
    waiting: VecDeque<&'c Candidate>,
}

/// The uids of the exports that hold a place or get one now. An export that holds a place keeps it, even if
/// the limits were lowered. A free place goes to the namespace with the fewest places; among equals, to the
/// one whose last turn is longest ago.
pub fn admitted(
    limit: usize,
    per_group: usize,
    candidates: &[Candidate],
    served: &Served,
) -> BTreeSet<String> {
    let mut groups: HashMap<&str, usize> = HashMap::new();
    let mut lines: BTreeMap<&str, Line<'_>> = BTreeMap::new();
    let mut inside = BTreeSet::new();
    let mut queue: Vec<&Candidate> = Vec::new();
    for candidate in candidates {
        if candidate.holds {
            if let Some(group) = &candidate.group {
                *groups.entry(group).or_default() += 1;
            }
            lines.entry(&candidate.namespace).or_default().inside += 1;
            inside.insert(candidate.uid.clone());
        } else {
            queue.push(candidate);
        }
    }
    let mut places = inside.len();
    queue.sort_by(|a, b| (a.created, &a.uid).cmp(&(b.created, &b.uid)));
    for next in queue {
        let line = lines.entry(&next.namespace).or_default();
        line.served = served.get(&next.namespace).copied();
        line.waiting.push_back(next);
    }
    while places < limit {
        let turn = |line: &&mut Line<'_>| {
            line.waiting.front().map(|c| (line.inside, line.served, c.created, c.uid.clone()))
        };
        let lines = lines.values_mut().filter(|line| !line.waiting.is_empty());
        let Some(line) = lines.min_by_key(turn) else { break };
        let Some(next) = line.waiting.pop_front() else { break };
        // An export whose group is full is passed over, and its namespace keeps its turn.
        if let Some(group) = &next.group {
            let taken = groups.entry(group).or_default();
            if *taken >= per_group {
                continue;
            }
            *taken += 1;
        }
        line.inside += 1;
        places += 1;
        inside.insert(next.uid.clone());
    }
    inside
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
            // Both namespaces have one place: the oldest export is next.
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
    }
}
