//! The files beside objects: the marks of an object, and the parts and the checkpoint of an upload. Marks lie beside
//! their object, uploads in a directory `.uploads` there. All their names begin with a dot, so no listing shows them.

use std::fs::File;
use std::io::{self, Read, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::place::Place;
use crate::core::landing::{Checkpoint, FileForm, Issues, Marks, Sum};

/// The largest size of a side file, in bytes.
const LONGEST: u64 = 64 << 10;
/// The directory of uploads, beside the objects that they are to become.
pub(super) const UPLOADS: &str = ".uploads";
const PART: &str = ".part";
const CHECKPOINT: &str = ".checkpoint";

/// The names of the files of one upload of the object `name`.
#[derive(Clone, Debug)]
pub(super) struct Names {
    /// The id that tells this upload of the object from others: random, in hexadecimal.
    pub(super) id: String,
    /// The name of the file with the parts so far.
    pub(super) part: String,
    /// The name of the file with the checkpoint after the last part.
    pub(super) checkpoint: String,
    /// The name of a file that is being written and is renamed when it is complete.
    pub(super) draft: String,
}

impl Names {
    /// A new upload of the object `name`.
    pub(super) fn fresh(name: &str) -> Self {
        Self::of(name, &format!("{:016x}", rand::random::<u64>()))
    }

    pub(super) fn of(name: &str, id: &str) -> Self {
        Self {
            id: id.to_owned(),
            part: format!(".{name}.{id}{PART}"),
            checkpoint: format!(".{name}.{id}{CHECKPOINT}"),
            draft: format!(".{name}.{id}.draft"),
        }
    }
}

/// The name of the file that holds the marks of the object `name`.
pub(super) fn marks_of(name: &str) -> String {
    format!(".{name}.marks")
}

/// The object whose upload a file belongs to, if it holds parts.
pub(super) fn object_of_part(file: &str) -> Option<&str> {
    object_and_id(file, PART).map(|(object, _)| object)
}

/// The object whose marks a file holds.
pub(super) fn object_of_marks(file: &str) -> Option<&str> {
    file.strip_prefix('.')?.strip_suffix(".marks").filter(|object| !object.is_empty())
}

/// The id of an upload of the object `name`, if `file` holds its parts.
pub(super) fn id_of_part<'f>(name: &str, file: &'f str) -> Option<&'f str> {
    object_and_id(file, PART).filter(|(object, _)| *object == name).map(|(_, id)| id)
}

fn object_and_id<'f>(file: &'f str, ending: &str) -> Option<(&'f str, &'f str)> {
    let (object, id) = file.strip_prefix('.')?.strip_suffix(ending)?.rsplit_once('.')?;
    (id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some((object, id))
}

/// The content of the checkpoint file of an upload.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Progress {
    /// How many bytes of the part file, after compression, the checkpoint covers.
    pub(super) stored: u64,
    /// See [`Checkpoint::encode`].
    checkpoint: Vec<u8>,
}

impl Progress {
    pub(super) fn new(stored: u64, checkpoint: &Checkpoint) -> Self {
        Self { stored, checkpoint: checkpoint.encode() }
    }

    pub(super) fn checkpoint(&self) -> Option<Checkpoint> {
        Checkpoint::decode(&self.checkpoint)
    }
}

/// The content of the marks file of an object. It names the upload that is or becomes the object, so that any
/// process that finds it can complete a commit that was broken off.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Record {
    /// The id of the upload.
    pub(super) upload: String,
    /// The size of the object in bytes, after compression.
    pub(super) stored: u64,
    source: String,
    sha256: String,
    lines: u64,
    bytes: u64,
    /// The numbers of errors, warnings and informational issues.
    issues: [u64; 3],
    /// See [`FileForm::as_str`]; absent in what older releases wrote.
    #[serde(default)]
    form: Option<String>,
}

impl Record {
    pub(super) fn new(upload: &str, stored: u64, marks: &Marks) -> Self {
        let Issues { errors, warnings, information } = marks.issues;
        Self {
            upload: upload.to_owned(),
            stored,
            source: marks.source.clone(),
            sha256: marks.sum.sha256.clone(),
            lines: marks.sum.lines,
            bytes: marks.sum.bytes,
            issues: [errors, warnings, information],
            form: Some(marks.form.as_str().to_owned()),
        }
    }

    pub(super) fn marks(self) -> Marks {
        let [errors, warnings, information] = self.issues;
        Marks {
            source: self.source,
            sum: Sum { bytes: self.bytes, lines: self.lines, sha256: self.sha256 },
            form: FileForm::from_word(self.form.as_deref()),
            issues: Issues { errors, warnings, information },
        }
    }
}

/// Reads a side file; `None` if it does not exist or holds something else.
pub(super) fn read<T: DeserializeOwned>(place: &Place, name: &str) -> io::Result<Option<T>> {
    let file = match place.read(name) {
        Ok(file) => file,
        Err(error) if super::failure::is_missing(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut text = Vec::new();
    file.take(LONGEST).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text).ok())
}

/// Writes a draft and makes its content durable. Removes first what an interrupted write left there.
pub(super) fn draft(place: &Place, name: &str, body: &[u8]) -> io::Result<()> {
    place.remove(name)?;
    let mut file: File = place.make(name)?;
    file.write_all(body)?;
    file.sync_data()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_their_object() {
        let names = Names::fresh("Patient-1.ndjson.gz");
        assert_eq!(object_of_marks(&marks_of("Patient-1.ndjson.gz")), Some("Patient-1.ndjson.gz"));
        assert_eq!(object_of_part(&names.part), Some("Patient-1.ndjson.gz"));
        assert_eq!(id_of_part("Patient-1.ndjson.gz", &names.part), Some(names.id.as_str()));
        assert_eq!(id_of_part("Patient-1.ndjson", &names.part), None);
        for file in ["Patient-1.ndjson", ".x", ".x.part", ".x.0123.part", ".x.zzzzzzzzzzzzzzzz.part"] {
            assert_eq!((object_of_part(file), object_of_marks(file)), (None, None), "{file}");
        }
    }
}
