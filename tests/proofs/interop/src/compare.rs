//! Compares the landed lines with the resources that the server's search finds, and with the server's files.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;

use crate::Result;
use crate::patients::name;

/// The result of a comparison.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparison {
    /// The number of resources that the server's search finds.
    pub on_server: usize,
    /// The number of lines in the container.
    pub landed: usize,
    /// Resources that the search finds or the server's files hold, but that are absent from the container or differ
    /// there.
    pub missing: Vec<Missing>,
    /// The number of lines that landed more often than the server served them.
    pub doubled: usize,
    /// The number of lines in the server's files about a resource that an earlier line holds already.
    pub repeats: usize,
}

/// A resource that did not land.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The type and id of the resource.
    pub name: String,
    /// Whether the server's own files hold the resource.
    pub served: bool,
}

/// Compares the resources that the search finds, by type and id, the lines of the server's files, and the lines of the
/// container.
pub fn compare(found: &BTreeMap<String, Value>, served: &[String], landed: &[String]) -> Result<Comparison> {
    let times_served = times(served);
    let times_landed = times(landed);
    // Most lines are in both, and parsing them is most of the work, so each is parsed once.
    let mut read = HashMap::new();
    for line in times_served.keys().chain(times_landed.keys()) {
        if !read.contains_key(line) {
            let resource: Value = serde_json::from_str(line)?;
            read.insert(*line, (name(&resource), resource));
        }
    }
    let served_resources = by_name(&times_served, &read);
    let landed_resources = by_name(&times_landed, &read);
    let landed_so = |name: &str, resource: &Value| {
        landed_resources.get(name).is_some_and(|versions| versions.contains(&resource))
    };
    let missing: BTreeSet<&str> = found
        .iter()
        .filter(|(name, resource)| !landed_so(name, resource))
        .map(|(name, _)| name.as_str())
        .chain(served_resources.keys().copied().filter(|name| !landed_resources.contains_key(name)))
        .collect();
    let missing = missing
        .into_iter()
        .map(|name| Missing { name: name.to_owned(), served: served_resources.contains_key(name) });
    let more = |(line, times): (&&str, &usize)| {
        times.saturating_sub(times_served.get(line).copied().unwrap_or_default())
    };
    Ok(Comparison {
        on_server: found.len(),
        landed: landed.len(),
        missing: missing.collect(),
        doubled: times_landed.iter().map(more).sum(),
        repeats: served.len() - served_resources.len(),
    })
}

fn times(lines: &[String]) -> HashMap<&str, usize> {
    let mut times = HashMap::new();
    for line in lines {
        *times.entry(line.as_str()).or_default() += 1;
    }
    times
}

fn by_name<'a>(
    lines: &HashMap<&'a str, usize>,
    read: &'a HashMap<&str, (String, Value)>,
) -> HashMap<&'a str, Vec<&'a Value>> {
    let mut resources: HashMap<&str, Vec<&Value>> = HashMap::new();
    for (name, resource) in lines.keys().filter_map(|line| read.get(line)) {
        resources.entry(name).or_default().push(resource);
    }
    resources
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test fails by panicking
mod tests {
    use super::*;

    fn line(id: u8) -> String {
        format!(r#"{{"resourceType":"Patient","id":"{id}","meta":{{"versionId":"1"}}}}"#)
    }

    fn found(ids: &[u8]) -> BTreeMap<String, Value> {
        ids.iter().map(|id| (format!("Patient/{id}"), serde_json::from_str(&line(*id)).unwrap())).collect()
    }

    fn lines(ids: &[u8]) -> Vec<String> {
        ids.iter().map(|id| line(*id)).collect()
    }

    fn names(comparison: &Comparison) -> Vec<(&str, bool)> {
        comparison.missing.iter().map(|missing| (missing.name.as_str(), missing.served)).collect()
    }

    #[test]
    fn all_landed_once() {
        let comparison = compare(&found(&[1, 2]), &lines(&[2, 1]), &lines(&[1, 2])).unwrap();
        assert_eq!(comparison, Comparison { on_server: 2, landed: 2, ..Comparison::default() });
    }

    #[test]
    fn what_did_not_land_is_missing_whoever_left_it_out() {
        let comparison = compare(&found(&[1, 2]), &lines(&[1, 3]), &lines(&[])).unwrap();
        assert_eq!(names(&comparison), [("Patient/1", true), ("Patient/2", false), ("Patient/3", true)]);
    }

    #[test]
    fn what_landed_otherwise_is_missing_and_doubled() {
        let other = line(1).replace(r#""1"}}"#, r#""2"}}"#);
        let comparison = compare(&found(&[1]), &lines(&[1]), &[other]).unwrap();
        assert_eq!((names(&comparison), comparison.doubled), (vec![("Patient/1", true)], 1));
    }

    #[test]
    fn a_repeat_of_the_servers_own_is_not_ours() {
        let comparison = compare(&found(&[1, 2]), &lines(&[1, 1, 2]), &lines(&[1, 1, 2])).unwrap();
        assert_eq!((comparison.repeats, comparison.doubled, comparison.landed), (1, 0, 3));
        let comparison = compare(&found(&[1, 2]), &lines(&[1, 1, 2]), &lines(&[1, 1, 1, 2, 2])).unwrap();
        assert_eq!((comparison.repeats, comparison.doubled), (1, 2));
    }

    #[test]
    fn a_line_that_is_no_json_is_told() {
        assert!(compare(&found(&[]), &[], &["{".to_owned()]).is_err());
    }
}
