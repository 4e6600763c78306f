//! Whether another release of the operator already works in the cluster.

use std::time::Duration;

use jiff::Timestamp;

/// The greatest age of `renewTime` at which the holder of a Lease counts as working, by the clocks of two
/// nodes.
const FRESH: Duration = Duration::from_mins(1);

/// The Lease of a release of the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// The namespace of the Lease.
    pub namespace: String,
    /// The name of the Lease.
    pub name: String,
    /// `creationTimestamp`.
    pub created: Option<Timestamp>,
    /// `holderIdentity`; absent or empty if nobody holds the Lease.
    pub holder: Option<String>,
    /// `renewTime`, by the holder's clock.
    pub renewed: Option<Timestamp>,
}

impl Neighbour {
    fn works(&self, now: Timestamp) -> bool {
        let held = self.holder.as_deref().is_some_and(|holder| !holder.is_empty());
        held && self.renewed.is_some_and(|renewed| now.duration_since(renewed).unsigned_abs() <= FRESH)
    }

    fn is(&self, (namespace, name): (&str, &str)) -> bool {
        self.namespace == namespace && self.name == name
    }

    fn age(&self) -> (Timestamp, &str, &str) {
        (self.created.unwrap_or(Timestamp::MAX), &self.namespace, &self.name)
    }
}

/// The working release whose Lease is older than this release's own, which is at `own`. Of two releases exactly one
/// gives way, even if they start at the same time, and a Lease that is created later stops no release.
pub fn elder<'a>(leases: &'a [Neighbour], own: (&str, &str), now: Timestamp) -> Option<&'a Neighbour> {
    let ours = leases.iter().find(|lease| lease.is(own));
    let mut others = leases.iter().filter(|lease| !lease.is(own) && lease.works(now));
    others.find(|lease| ours.is_none_or(|ours| lease.age() < ours.age()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn lease(namespace: &str, created: i64, holder: &str, renewed: i64) -> Neighbour {
        Neighbour {
            namespace: namespace.into(),
            name: "operator".into(),
            created: Some(at(created)),
            holder: Some(holder.into()),
            renewed: Some(at(renewed)),
        }
    }

    fn elder_of<'a>(leases: &'a [Neighbour], own: &str) -> Option<&'a str> {
        elder(leases, (own, "operator"), at(NOW)).map(|lease| lease.namespace.as_str())
    }

    #[test]
    fn the_younger_of_two_gives_way() {
        let both = [lease("a", NOW - 50, "x", NOW - 1), lease("b", NOW - 9, "y", NOW - 1)];
        assert_eq!(elder_of(&both, "b"), Some("a"));
        assert_eq!(elder_of(&both, "a"), None);
        let at_once = [lease("a", NOW, "x", NOW), lease("b", NOW, "y", NOW)];
        assert_eq!((elder_of(&at_once, "a"), elder_of(&at_once, "b")), (None, Some("a")));
        assert_eq!(elder_of(&both[..1], "b"), Some("a"));
    }

    #[test]
    fn who_does_not_work_stops_nobody() {
        for idle in [
            lease("a", NOW - 50, "", NOW - 1),
            lease("a", NOW - 500, "x", NOW - 61),
            lease("a", NOW - 500, "x", NOW + 61),
            Neighbour { renewed: None, ..lease("a", NOW - 50, "x", NOW) },
            Neighbour { holder: None, ..lease("a", NOW - 50, "x", NOW) },
        ] {
            assert_eq!(elder_of(&[idle, lease("b", NOW - 9, "y", NOW)], "b"), None);
        }
    }
}
