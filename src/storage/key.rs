//! Keys of objects, which may hold a name that a FHIR server chose.

/// The components of a key: folders, then the name of the object. `None` if the key could mean another place
/// than it says: with an empty component, `.`, `..`, a control character or a backslash.
pub(super) fn components(key: &str) -> Option<(Vec<&str>, &str)> {
    let mut components: Vec<&str> = key.split('/').collect();
    let plain = |part: &&str| {
        !matches!(*part, "" | "." | "..") && !part.contains(|c: char| c == '\\' || c.is_control())
    };
    let all = components.iter().all(plain);
    components.pop().filter(|_| all).map(|name| (components, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_could_mean_another_place_are_none() {
        for key in [
            "",
            "/",
            "/etc/passwd",
            "../x",
            "a/../b",
            "a/..",
            "a/./b",
            "a//b",
            "a/",
            "a\0b",
            "a\nb",
            "a\\..\\b",
        ] {
            assert_eq!(components(key), None, "{key:?}");
        }
        assert_eq!(components("f/a b+c%.json"), Some((vec!["f"], "a b+c%.json")));
        assert_eq!(components("list.txt"), Some((vec![], "list.txt")));
        assert_eq!(components("a/.b/c"), Some((vec!["a", ".b"], "c")));
    }
}
