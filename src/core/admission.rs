//! Who may start: the places of one `FhirServer`, first come first served.

use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;

/// An export that holds a place or wants one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its uid.
    pub uid: String,
    /// When it was created.
    pub created: Timestamp,
    /// Its group, at level Group.
    pub group: Option<String>,
    /// It holds a place already: it left the queue and has not ended.
    pub holds: bool,
}

/// The uids that hold a place or get one now. Those who hold keep it, whatever the limits became.
pub fn admitted(limit: usize, per_group: usize, candidates: &[Candidate]) -> BTreeSet<String> {
    let mut places = 0_usize;
    let mut groups: HashMap<&str, usize> = HashMap::new();
    let mut inside = BTreeSet::new();
    for holder in candidates.iter().filter(|c| c.holds) {
        places += 1;
        if let Some(group) = &holder.group {
            *groups.entry(group).or_default() += 1;
        }
        inside.insert(holder.uid.clone());
    }
    let mut queue: Vec<&Candidate> = candidates.iter().filter(|c| !c.holds).collect();
    queue.sort_by(|a, b| (a.created, &a.uid).cmp(&(b.created, &b.uid)));
    for next in queue {
        if places >= limit {
            break;
        }
        // One whose group is full lets others of other groups pass: their turn is not its loss.
        if let Some(group) = &next.group {
            let taken = groups.entry(group).or_default();
            if *taken >= per_group {
                continue;
            }
            *taken += 1;
        }
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
        let inside = admitted(3, 1, &all);
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
        assert_eq!(admitted(4, 1, &all).into_iter().collect::<Vec<_>>(), ["h", "y"]);
    }

    proptest! {
        #[test]
        fn never_more_than_the_limits(
            limit in 1_usize..6, per_group in 1_usize..3,
            rows in proptest::collection::vec((0_i64..5, proptest::option::of(0_u8..3)), 0..20),
        ) {
            let all: Vec<Candidate> = rows.iter().enumerate()
                .map(|(n, (created, group))| candidate(&n.to_string(), *created, group.map(|g| g.to_string()).as_deref(), false))
                .collect();
            let inside = admitted(limit, per_group, &all);
            prop_assert!(inside.len() <= limit);
            for g in 0..3_u8 {
                let g = g.to_string();
                let of_group = all.iter().filter(|c| inside.contains(&c.uid) && c.group.as_deref() == Some(&g)).count();
                prop_assert!(of_group <= per_group);
            }
            // No place is left empty while somebody could have it.
            let groups_full = |c: &Candidate| c.group.as_ref().is_some_and(|g| {
                all.iter().filter(|o| inside.contains(&o.uid) && o.group.as_ref() == Some(g)).count() >= per_group
            });
            if inside.len() < limit {
                prop_assert!(all.iter().filter(|c| !inside.contains(&c.uid)).all(groups_full));
            }
        }
    }
}
