//! A file while it is downloaded, and the sums of files that are there.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::Path;

use super::local::existing;
use crate::core::landing::{Sum, Tally};
use crate::plugin::files::Sink;
use crate::plugin::verify::Counted;

/// How many bytes of a local file are read at once.
const PIECE: usize = 256 << 10;

/// A file that is being written. The first failure is kept, and nothing is written after it.
pub struct Part<'b> {
    /// The file, or why it cannot be written.
    pub file: io::Result<File>,
    /// Whether reading goes on after the bytes that an earlier call has written, instead of at the beginning.
    pub goes_on: bool,
    /// The bar that shows how much is read.
    pub bar: Counted<'b>,
}

impl Sink for Part<'_> {
    fn begin(&mut self) -> Tally {
        let goes_on = self.goes_on;
        let stand = |file: &mut File| -> io::Result<Tally> {
            file.rewind()?;
            if goes_on {
                return tally(file);
            }
            file.set_len(0)?;
            Ok(Tally::default())
        };
        let stood = match &mut self.file {
            Ok(file) => tokio::task::block_in_place(|| stand(file)),
            // It is told once the file is read.
            Err(_) => return Tally::default(),
        };
        let tally = stood.unwrap_or_else(|error| {
            self.file = Err(error);
            Tally::default()
        });
        self.bar.stands_at(tally.bytes());
        tally
    }

    fn take(&mut self, piece: &[u8]) {
        self.bar.take(piece);
        if let Ok(file) = &mut self.file
            && let Err(error) = file.write_all(piece)
        {
            self.file = Err(error);
        }
    }
}

/// The sums of a local file; `None` if it does not exist.
pub fn summed(path: &Path) -> io::Result<Option<Sum>> {
    let mut file = match existing(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    tally(&mut file).map(|tally| Some(tally.finish()))
}

/// The running sums of a local file, from where it stands to its end.
fn tally(file: &mut File) -> io::Result<Tally> {
    let (mut tally, mut piece) = (Tally::default(), vec![0; PIECE]);
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(tally),
            read => tally.feed(piece.get(..read).unwrap_or_default()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use indicatif::ProgressBar;

    use super::*;
    use crate::plugin::download::local::{begun, part_of};

    #[test]
    fn what_is_written_is_its_owner_s_alone_and_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("Bundle-1.ndjson");
        let part = part_of(&target);
        let bar = ProgressBar::hidden();
        let written = |goes_on: bool| {
            let mut sink = Part { file: begun(&part), goes_on, bar: Counted { bar: &bar, taken: 0 } };
            let there = sink.begin().bytes();
            sink.take(b"whole");
            sink.file.unwrap().sync_all().unwrap();
            (there, fs::read(&part).unwrap())
        };
        assert_eq!(written(true), (0, b"whole".to_vec()));
        assert_eq!(written(true), (5, b"wholewhole".to_vec()), "it goes on");
        assert_eq!(written(false), (0, b"whole".to_vec()), "it begins anew");
        assert_eq!(fs::metadata(&part).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(summed(&part).unwrap().unwrap().bytes, 5);
        assert_eq!(summed(&target).unwrap(), None);
    }
}
