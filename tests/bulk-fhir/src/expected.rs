//! What a client must have got.

use crate::content::Content;
use crate::job::{JobFile, List};

/// A file as the server has it, right whatever quirk its downloads have.
#[derive(Debug, Clone)]
pub struct Expected {
    /// Which list it is in.
    pub list: List,
    /// Its place in the list, over all pages.
    pub index: usize,
    /// Resource type; `None` where output is organized.
    pub kind: Option<String>,
    /// The path of its URL.
    pub path: String,
    /// Its size.
    pub size: u64,
    /// Its lines.
    pub lines: u64,
    content: Content,
}

impl Expected {
    pub(crate) fn of(file: &JobFile, job: &str) -> Self {
        Self {
            list: file.list,
            index: file.index,
            kind: file.kind.clone(),
            path: file.path(job),
            size: file.content.len(),
            lines: file.lines,
            content: file.content.clone(),
        }
    }

    /// SHA-256 in hexadecimal; takes a second for each gigabyte or so.
    pub fn sha256(&self) -> String {
        self.content.sha256()
    }

    /// The bytes, all in memory.
    pub fn bytes(&self) -> Vec<u8> {
        self.content.all()
    }
}
