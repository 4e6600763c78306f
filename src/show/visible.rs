//! Texts that others wrote, made fit for a terminal.

/// Replaces each control character by U+FFFD. Otherwise whoever wrote the text could move the cursor, or overwrite what
/// a terminal shows.
pub fn visible(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_escape_sequence_stays() {
        for (given, wanted) in [
            ("\u{1b}[2Jgone", "\u{fffd}[2Jgone"),
            ("a\r\nb\u{9b}31m\u{7f}", "a\u{fffd}\u{fffd}b\u{fffd}31m\u{fffd}"),
            ("längster Name…", "längster Name…"),
        ] {
            assert_eq!(visible(given), wanted, "{given:?}");
        }
    }
}
