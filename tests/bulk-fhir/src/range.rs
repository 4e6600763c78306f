//! `Range`, `If-Range` and what they are compared with.

use crate::file_script::Validator;
use crate::routes::Caller;

/// Which part of a file is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Whole,
    /// From the first byte to the one after the last.
    Bytes(u64, u64),
    /// 416.
    Beyond,
}

/// Headers that tell one version of a file from another.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tags {
    pub(crate) etag: Option<String>,
    pub(crate) last_modified: Option<String>,
}

impl Tags {
    /// `variant` is what is odd about this answer: that it is compressed, or a number for a changing tag.
    pub(crate) fn new(validator: Validator, tag: &str, variant: &str) -> Self {
        // When the files were made is nobody's business; that it stays the same is.
        let last_modified = Some("Thu, 01 Jan 2026 00:00:00 GMT".to_owned());
        match validator {
            Validator::None => Self::default(),
            Validator::LastModified => Self { etag: None, last_modified },
            Validator::Strong | Validator::Changing => {
                Self { etag: Some(format!("\"{tag}{variant}\"")), last_modified }
            }
            Validator::Weak => Self { etag: Some(format!("W/\"{tag}{variant}\"")), last_modified: None },
        }
    }

    /// Whether `If-Range` still holds; a weak tag never does.
    fn holds(&self, if_range: &str) -> bool {
        if if_range.starts_with('"') {
            self.etag.as_deref() == Some(if_range)
        } else {
            self.last_modified.as_deref() == Some(if_range)
        }
    }
}

/// What `Range` asks for of `length` bytes; several ranges are none.
pub(crate) fn part(caller: &Caller, tags: &Tags, length: u64) -> Part {
    let Some(range) = caller.header("range").and_then(|range| range.strip_prefix("bytes=")) else {
        return Part::Whole;
    };
    if caller.header("if-range").is_some_and(|if_range| !tags.holds(if_range)) {
        return Part::Whole;
    }
    let Some((first, last)) = range.trim().split_once('-') else { return Part::Whole };
    match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), _) if first >= length => Part::Beyond,
        (Ok(first), Ok(last)) if last >= first => Part::Bytes(first, length.min(last.saturating_add(1))),
        (Ok(first), Err(_)) if last.is_empty() => Part::Bytes(first, length),
        (Err(_), Ok(0)) if first.is_empty() => Part::Beyond,
        (Err(_), Ok(many)) if first.is_empty() => Part::Bytes(length.saturating_sub(many), length),
        _ => Part::Whole,
    }
}
