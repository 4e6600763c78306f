//! What is landed: how many files, and how long each of them is.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::str::FromStr;

use aws_lc_rs::digest::{Context, SHA256};

/// The length of each line in bytes, with its end.
pub const LINE: u64 = 1 << 10;

/// A number of files and the range of their lengths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    name: String,
    /// The number of files.
    pub files: u64,
    /// The lengths of the shortest and of the longest file, in lines.
    lines: (u64, u64),
}

impl FromStr for Shape {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let (files, bytes) = match name {
            "large" => (8, (128 << 20, 128 << 20)),
            "typical" => (300, (1_000_000, 4_000_000)),
            "tiny" => (5_000, (11 << 10, 11 << 10)),
            other => {
                let (files, bytes) =
                    other.split_once('x').ok_or("write large, typical, tiny or FILESxBYTES")?;
                let number = |text: &str| text.parse::<u64>().map_err(|error| format!("{text}: {error}"));
                (number(files)?, (number(bytes)?, number(bytes)?))
            }
        };
        let lines = |bytes: u64| (bytes / LINE).max(1);
        Ok(Self { name: name.to_owned(), files, lines: (lines(bytes.0), lines(bytes.1)) })
    }
}

impl Shape {
    /// The name, as it was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The number of lines of file `n`. The lengths are spread evenly, and long and short files come in turn.
    pub fn lines(&self, n: u64) -> u64 {
        let (least, most) = self.lines;
        // 7919 is a prime, so each length comes once.
        least + (most - least) * (n * 7919 % self.files) / self.files.max(2)
    }

    /// The length of file `n` in bytes.
    pub fn bytes(&self, n: u64) -> u64 {
        self.lines(n) * LINE
    }

    /// The length of the longest file in bytes.
    pub fn longest(&self) -> u64 {
        self.lines.1 * LINE
    }

    /// The length of all files in bytes.
    pub fn total(&self) -> u64 {
        (0..self.files).map(|n| self.bytes(n)).sum()
    }

    /// How many files have each length and SHA-256, read from the bytes that all files are the beginning of.
    pub fn sums(&self, made: &Path) -> io::Result<BTreeMap<(u64, String), u64>> {
        let mut files: BTreeMap<u64, u64> = BTreeMap::new();
        for n in 0..self.files {
            *files.entry(self.bytes(n)).or_default() += 1;
        }
        let (mut made, mut hash, mut at, mut sums) =
            (File::open(made)?, Context::new(&SHA256), 0, BTreeMap::new());
        for (length, count) in files {
            at += io::copy(&mut io::Read::take(&mut made, length - at), &mut Hashed(&mut hash))?;
            sums.insert((length, hex(hash.clone().finish().as_ref())), count);
        }
        Ok(sums)
    }
}

struct Hashed<'h>(&'h mut Context);

impl Write for Hashed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Writes `length` bytes of made observations, which are the same each time.
pub fn make(to: &Path, length: u64) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(to)?);
    let mut chance = 0x9E37_79B9_7F4A_7C15_u64;
    for line in 0..length.div_ceil(LINE) {
        let mut random = || {
            chance ^= chance << 13;
            chance ^= chance >> 7;
            chance ^= chance << 17;
            chance
        };
        let (one, other, value) = (random(), random(), random() % 2000);
        let mut text = format!(
            "{{\"resourceType\":\"Observation\",\"id\":\"{line:010}\",\"status\":\"final\",\"category\":[{{\"coding\":[{{\
             \"system\":\"http://terminology.hl7.org/CodeSystem/observation-category\",\"code\":\"vital-signs\"}}]}}],\
             \"code\":{{\"coding\":[{{\"system\":\"http://loinc.org\",\"code\":\"{}\"}}]}},\"subject\":{{\"reference\":\
             \"Patient/{one:016x}\"}},\"encounter\":{{\"reference\":\"Encounter/{other:016x}\"}},\"valueQuantity\":\
             {{\"value\":{}.{},\"unit\":\"kg\",\"system\":\"http://unitsofmeasure.org\",\"code\":\"kg\"}},\"note\":[",
            one % 90_000,
            value / 10,
            value % 10
        );
        let mut first = true;
        while text.len() < 920 {
            text.push_str(if std::mem::take(&mut first) { "" } else { "," });
            let (first, second) = (random() % 4096, random() % 64);
            let _ = write!(text, "{{\"text\":\"measured at {first} and again at {second}\"}}");
        }
        text.push_str("],\"x\":\"");
        let filling = usize::try_from(LINE).unwrap_or_default().saturating_sub(text.len() + 3);
        file.write_all(text.as_bytes())?;
        file.write_all(" ".repeat(filling).as_bytes())?;
        file.write_all(b"\"}\n")?;
    }
    file.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_the_beginning_of_one_and_their_sums_are_theirs() {
        let folder = stage::Folder::new("shape").unwrap();
        let made = folder.path().join("made");
        make(&made, 64 << 10).unwrap();
        let text = std::fs::read(&made).unwrap();
        assert_eq!(text.len(), 64 << 10);
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            assert_eq!(line.len() as u64, LINE);
            let read: serde_json::Value = serde_json::from_slice(line).unwrap();
            assert_eq!(read["resourceType"], "Observation");
        }
        let shape: Shape = "3x20000".parse().unwrap();
        let sum = hex(aws_lc_rs::digest::digest(&SHA256, &text[..19 << 10]).as_ref());
        assert_eq!(shape.sums(&made).unwrap(), BTreeMap::from([((19 << 10, sum), 3)]));
        let typical: Shape = "typical".parse().unwrap();
        let mut lengths: Vec<u64> = (0..typical.files).map(|n| typical.bytes(n)).collect();
        lengths.sort_unstable();
        lengths.dedup();
        assert_eq!(lengths.len(), 300);
        assert!(*lengths.first().unwrap() < 1_000_000 && *lengths.last().unwrap() > 3_980_000);
    }
}
