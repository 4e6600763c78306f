//! Objects on standard output: as a table, or whole for programs.

use clap::ValueEnum;
use serde_json::Value;

use crate::api::GROUP;
use crate::show::{Key, Line, Page};
use crate::stop::Stop;

/// The form of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ListForm {
    /// A table with more columns.
    Wide,
    /// One JSON document.
    Json,
    /// YAML documents.
    Yaml,
    /// Only the names, as kubectl takes them.
    Name,
}

/// The form of one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// One JSON document.
    Json,
    /// One YAML document.
    Yaml,
    /// Only the name, as kubectl takes it.
    Name,
}

/// The name of an object as kubectl takes it, such as `fhirexport.fhirexport.dev/cohort-42`.
pub fn named(key: &Key) -> String {
    format!("{}.{GROUP}/{}", key.kind.as_str().to_lowercase(), key.name)
}

/// The names of objects, one a line.
pub fn names(objects: &[Value]) -> Page {
    objects.iter().filter_map(Key::of).map(|key| Line::of(&named(&key))).collect()
}

/// One object in this form.
pub fn object(form: Form, object: &Value) -> Result<Page, Stop> {
    match form {
        Form::Json => Page::json(object),
        Form::Yaml => Page::yaml(object),
        Form::Name => Ok(names(std::slice::from_ref(object))),
    }
}
