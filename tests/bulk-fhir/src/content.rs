//! The bytes of a file: read at any place, and made on the way where there are gigabytes of them.

use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};

/// Digits of the number of a file and of a line in the id of a made resource.
const FILE_DIGITS: usize = 6;
const LINE_DIGITS: usize = 10;

/// How much is read at once.
pub(crate) const CHUNK: usize = 256 * 1024;

/// What a file holds.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// Bytes in memory.
    Bytes(Arc<[u8]>),
    /// One line again and again, with a number of its own in each.
    Made(Made),
}

/// The lines of one made file.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    /// A block of lines that still lack their numbers, so that most of the work is one copy; files share it.
    block: Arc<[u8]>,
    line: usize,
    /// Where in a line the digits of the file's number begin, and those of its own.
    digits_at: (usize, usize),
    lines: u64,
    file: u64,
}

impl Made {
    /// As many whole lines of `line_bytes` as fit into `file_bytes`, but one at least.
    pub(crate) fn new(kind: &str, file_bytes: u64, line_bytes: usize, crlf: bool) -> Self {
        let start = format!("{{\"resourceType\":\"{kind}\",\"id\":\"f{:0FILE_DIGITS$}-", 0);
        let digits_at = (start.len() - FILE_DIGITS - 1, start.len());
        let required = match kind {
            "Observation" => {
                ",\"status\":\"final\",\"code\":{\"text\":\"Body weight\"},\"subject\":{\"reference\":\"Patient/1\"}"
            }
            "Condition" => ",\"subject\":{\"reference\":\"Patient/1\"}",
            _ => "",
        };
        let middle = format!(
            "\",\"meta\":{{\"lastUpdated\":\"2026-01-01T00:00:00Z\"}}{required},\"text\":{{\"status\":\"generated\",\
             \"div\":\"<div xmlns=\\\"http://www.w3.org/1999/xhtml\\\">"
        );
        let end = if crlf { "</div>\"}}\r\n" } else { "</div>\"}}\n" };
        let fixed = start.len() + LINE_DIGITS + middle.len() + end.len();
        let filler: String =
            "A synthetic resource. ".chars().cycle().take(line_bytes.saturating_sub(fixed)).collect();
        let text = format!("{start}{:0LINE_DIGITS$}{middle}{filler}{end}", 0);
        let line = text.len();
        let lines = (file_bytes / to_u64(line)).max(1);
        let repeated = (CHUNK / line).clamp(1, usize::try_from(lines).unwrap_or(usize::MAX));
        Self { block: text.repeat(repeated).into_bytes().into(), line, digits_at, lines, file: 0 }
    }

    /// The file of this number.
    pub(crate) fn numbered(&self, file: u64) -> Self {
        Self { file, ..self.clone() }
    }

    pub(crate) fn lines(&self) -> u64 {
        self.lines
    }

    fn len(&self) -> u64 {
        self.lines * to_u64(self.line)
    }

    /// Whole lines from the one that holds `at`, and where in them `at` is.
    fn read(&self, at: u64) -> (Vec<u8>, usize) {
        let first = at / to_u64(self.line);
        let mut bytes = self.block.to_vec();
        let left = usize::try_from(self.lines.saturating_sub(first)).unwrap_or(usize::MAX);
        bytes.truncate(left.saturating_mul(self.line));
        for (number, line) in (first..).zip(bytes.chunks_exact_mut(self.line)) {
            let (of_file, of_line) = self.digits_at;
            if let Some(digits) = line.get_mut(of_file..of_file + FILE_DIGITS) {
                write_digits(digits, self.file);
            }
            if let Some(digits) = line.get_mut(of_line..of_line + LINE_DIGITS) {
                write_digits(digits, number);
            }
        }
        let offset = usize::try_from(at % to_u64(self.line)).unwrap_or(0);
        (bytes, offset)
    }
}

fn write_digits(digits: &mut [u8], mut number: u64) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
        if number == 0 {
            break;
        }
    }
}

pub(crate) fn to_u64(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}

/// A file's bytes with what is odd about them.
#[derive(Debug, Clone)]
pub(crate) struct Content {
    source: Source,
    mark: bool,
    /// Bytes that are missing at the end.
    missing: u64,
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

impl Content {
    pub(crate) fn new(source: Source, mark: bool, missing: u64) -> Self {
        Self { source, mark, missing }
    }

    pub(crate) fn text(text: String) -> Self {
        Self::new(Source::Bytes(text.into_bytes().into()), false, 0)
    }

    /// What the `ETag` is made of, so that it is the same in another run.
    pub(crate) fn tag(&self) -> String {
        let number = match &self.source {
            Source::Bytes(bytes) => {
                bytes.iter().fold(5381_u64, |hash, &byte| hash.wrapping_mul(33).wrapping_add(u64::from(byte)))
            }
            Source::Made(made) => made.file,
        };
        format!("{number:x}-{:x}", self.len())
    }

    pub(crate) fn len(&self) -> u64 {
        let whole = match &self.source {
            Source::Bytes(bytes) => to_u64(bytes.len()),
            Source::Made(made) => made.len(),
        };
        let whole = whole.saturating_sub(self.missing);
        if self.mark { whole + to_u64(BYTE_ORDER_MARK.len()) } else { whole }
    }

    pub(crate) fn lines(&self) -> u64 {
        match &self.source {
            Source::Bytes(bytes) => {
                to_u64(bytes.split(|&b| b == b'\n').filter(|line| !line.is_empty()).count())
            }
            Source::Made(made) => made.lines(),
        }
    }

    /// Some bytes from `at` on; none at the end only.
    pub(crate) fn read(&self, at: u64) -> Vec<u8> {
        let end = self.len();
        let mark = if self.mark { to_u64(BYTE_ORDER_MARK.len()) } else { 0 };
        let mut bytes = if at < mark {
            BYTE_ORDER_MARK.get(usize::try_from(at).unwrap_or(0)..).unwrap_or_default().to_vec()
        } else {
            let at = at - mark;
            match &self.source {
                Source::Bytes(bytes) => {
                    let rest = usize::try_from(at).ok().and_then(|at| bytes.get(at..)).unwrap_or_default();
                    rest.iter().copied().take(CHUNK).collect()
                }
                Source::Made(made) => {
                    let (mut bytes, offset) = made.read(at);
                    if offset > 0 {
                        bytes.drain(..offset);
                    }
                    bytes
                }
            }
        };
        bytes.truncate(usize::try_from(end.saturating_sub(at)).unwrap_or(usize::MAX));
        bytes
    }

    /// Where the first line has a letter whose change leaves it JSON.
    pub(crate) fn changeable(&self) -> u64 {
        let mark = if self.mark { to_u64(BYTE_ORDER_MARK.len()) } else { 0 };
        let start = self.read(mark);
        let line = start.split(|&b| b == b'\n').next().unwrap_or_default();
        let pairs = line.windows(2).enumerate().rev();
        let found = pairs.into_iter().find(|(_, pair)| match pair {
            [letter, quote] => letter.is_ascii_alphabetic() && *quote == b'"',
            _ => false,
        });
        mark + found.map_or(0, |(at, _)| to_u64(at))
    }

    /// All bytes, for small files.
    pub(crate) fn all(&self) -> Vec<u8> {
        let mut all = Vec::new();
        self.each(|bytes| all.extend_from_slice(bytes));
        all
    }

    /// SHA-256 in hexadecimal.
    pub(crate) fn sha256(&self) -> String {
        let mut context = Context::new(&SHA256);
        self.each(|bytes| context.update(bytes));
        hex(context.finish().as_ref())
    }

    fn each(&self, mut take: impl FnMut(&[u8])) {
        let mut at = 0;
        while at < self.len() {
            let bytes = self.read(at);
            if bytes.is_empty() {
                break;
            }
            take(&bytes);
            at += to_u64(bytes.len());
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a text cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
