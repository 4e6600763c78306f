//! Changes to make on a server, one after the other, as chance has it.

use std::collections::BTreeSet;

use serde_json::{Value, json};

/// One change.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// A resource is made, made again, or changed.
    Put(Value),
    /// A resource is deleted.
    Delete {
        /// Its type.
        kind: String,
        /// Its id.
        id: String,
    },
}

/// Makes up changes of resources of its own, without end and the same for the same seed: half of them change what is
/// there, the others make something new, delete something, or make anew what was deleted.
#[derive(Debug, Clone)]
pub struct Changes {
    chance: u64,
    number: u64,
    deletes: bool,
    living: BTreeSet<(String, String)>,
    deleted: BTreeSet<(String, String)>,
}

impl Changes {
    /// Changes of this seed; with or without deletions.
    pub fn new(seed: u64, deletes: bool) -> Self {
        Self { chance: seed, number: 0, deletes, living: BTreeSet::new(), deleted: BTreeSet::new() }
    }

    /// From now on nothing is deleted.
    pub fn delete_no_more(&mut self) {
        self.deletes = false;
    }

    /// A number below this.
    fn below(&mut self, bound: usize) -> usize {
        // SplitMix64.
        self.chance = self.chance.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = (self.chance ^ (self.chance >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) % u64::try_from(bound.max(1)).unwrap_or(1)).unwrap_or(0)
    }

    fn one_of(&mut self, names: &BTreeSet<(String, String)>) -> Option<(String, String)> {
        let place = self.below(names.len());
        names.iter().nth(place).cloned()
    }

    fn put(&mut self, (kind, id): (String, String)) -> Change {
        let text = format!("change {}", self.number);
        let resource = match kind.as_str() {
            "Observation" => {
                json!({"resourceType": kind, "id": id, "status": "final", "code": {"text": text}})
            }
            _ => json!({"resourceType": kind, "id": id, "name": [{"text": text}]}),
        };
        self.deleted.remove(&(kind.clone(), id.clone()));
        self.living.insert((kind, id));
        Change::Put(resource)
    }
}

impl Iterator for Changes {
    type Item = Change;

    fn next(&mut self) -> Option<Change> {
        self.number += 1;
        let (living, deleted) = (self.living.clone(), self.deleted.clone());
        match self.below(10) {
            0..5 if !living.is_empty() => self.one_of(&living).map(|name| self.put(name)),
            5..7 if self.deletes && !living.is_empty() => {
                let (kind, id) = self.one_of(&living)?;
                self.living.remove(&(kind.clone(), id.clone()));
                self.deleted.insert((kind.clone(), id.clone()));
                Some(Change::Delete { kind, id })
            }
            7 if !deleted.is_empty() => self.one_of(&deleted).map(|name| self.put(name)),
            _ => {
                let kind = if self.below(2) == 0 { "Patient" } else { "Observation" };
                let id = format!("changing-{}", self.number);
                Some(self.put((kind.to_owned(), id)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_sorts_of_changes_come_and_the_same_for_a_seed() {
        let some: Vec<Change> = Changes::new(7, true).take(500).collect();
        assert_eq!(some, Changes::new(7, true).take(500).collect::<Vec<_>>());
        assert_ne!(some, Changes::new(8, true).take(500).collect::<Vec<_>>());
        let mut living = BTreeSet::new();
        let mut ever = BTreeSet::new();
        let (mut made, mut changed, mut deleted, mut revived) = (0, 0, 0, 0);
        for change in some {
            match change {
                Change::Put(resource) => {
                    let name = crate::run::identity(&resource).unwrap_or_default();
                    match (living.insert(name.clone()), ever.insert(name)) {
                        (true, true) => made += 1,
                        (true, false) => revived += 1,
                        _ => changed += 1,
                    }
                }
                Change::Delete { kind, id } => {
                    assert!(living.remove(&format!("{kind}/{id}")), "only what is there");
                    deleted += 1;
                }
            }
        }
        assert!(
            made > 50 && changed > 100 && deleted > 50 && revived > 10,
            "{made} {changed} {deleted} {revived}"
        );
        assert!(Changes::new(7, false).take(500).all(|change| matches!(change, Change::Put(_))));
    }
}
