//! Counts the lines of NDJSON.

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Counts non-blank lines. A line ends in LF or CRLF, the last one possibly in neither; a byte order mark at
/// the start is skipped. The file may arrive in pieces of any size.
#[derive(Clone, Debug, Default)]
pub struct LineCounter {
    lines: u64,
    /// Whether the current line has non-blank characters.
    begun: bool,
    /// How many bytes of the byte order mark were seen; all of them once the start has passed.
    marked: usize,
}

impl LineCounter {
    /// Processes the next piece of the file.
    pub fn feed(&mut self, bytes: &[u8]) {
        let mut rest = self.skip_mark(bytes);
        while let Some((line, after)) =
            memchr::memchr(b'\n', rest).and_then(|end| Some((rest.get(..end)?, rest.get(end + 1..)?)))
        {
            self.lines += u64::from(self.begun || holds_more_than_blanks(line));
            self.begun = false;
            rest = after;
        }
        self.begun = self.begun || holds_more_than_blanks(rest);
    }

    /// The state of the count: the lines so far, and whether a line has begun. `None` within the first three
    /// bytes, which may still be a byte order mark.
    #[must_use]
    pub fn stand(&self) -> Option<(u64, bool)> {
        (self.marked == BYTE_ORDER_MARK.len()).then_some((self.lines, self.begun))
    }

    /// Continues a count from the state that [`Self::stand`] returned.
    #[must_use]
    pub fn standing(lines: u64, begun: bool) -> Self {
        Self { lines, begun, marked: BYTE_ORDER_MARK.len() }
    }

    /// The number of lines, once the file has ended.
    #[must_use]
    pub fn finish(self) -> u64 {
        let part_of_mark = self.marked > 0 && self.marked < BYTE_ORDER_MARK.len();
        self.lines + u64::from(self.begun || part_of_mark)
    }

    fn skip_mark<'b>(&mut self, mut bytes: &'b [u8]) -> &'b [u8] {
        while let Some(expected) = BYTE_ORDER_MARK.get(self.marked) {
            match bytes.split_first() {
                None => break,
                Some((first, rest)) if first == expected => {
                    self.marked += 1;
                    bytes = rest;
                }
                Some(_) => {
                    self.begun = self.marked > 0;
                    self.marked = BYTE_ORDER_MARK.len();
                }
            }
        }
        bytes
    }
}

fn holds_more_than_blanks(line: &[u8]) -> bool {
    line.iter().any(|byte| !byte.is_ascii_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn naive(bytes: &[u8]) -> u64 {
        let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
        let lines = bytes.split(|byte| *byte == b'\n');
        lines.filter(|line| !line.trim_ascii().is_empty()).count() as u64
    }

    fn count(pieces: &[&[u8]]) -> u64 {
        let mut counter = LineCounter::default();
        for piece in pieces {
            counter.feed(piece);
        }
        counter.finish()
    }

    #[test]
    fn table() {
        let table: [(&[u8], u64); 12] = [
            (b"", 0),
            (b"\n\r\n \t\n", 0),
            (b"{}", 1),
            (b"{}\n", 1),
            (b"{}\r\n{}\r\n", 2),
            (b"{}\n\n{}", 2),
            (b"\n{}", 1),
            (b"\xEF\xBB\xBF", 0),
            (b"\xEF\xBB\xBF\n{}", 1),
            (b"\xEF\xBB\xBF{}\n{}\n", 2),
            (b"\xEF\xBB", 1),
            (b"\xEF{}\n", 1),
        ];
        for (bytes, lines) in table {
            assert_eq!(count(&[bytes]), lines, "{bytes:?}");
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(count(&single), lines, "{bytes:?} byte by byte");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_a_naive_count_however_it_is_cut(
            bytes in proptest::collection::vec(
                proptest::sample::select(b"\n\n\r {\xEF\xBB\xBF".to_vec()), 0..200),
            size in 1_usize..50,
        ) {
            let pieces: Vec<&[u8]> = bytes.chunks(size).collect();
            prop_assert_eq!(count(&pieces), naive(&bytes));
        }
    }
}
