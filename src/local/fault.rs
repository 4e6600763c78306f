//! Something that is wrong with a manifest here although its definition permits it.

/// What is wrong with a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The path of the field, such as `spec.dialect`.
    pub field: String,
    /// What is wrong with it, and what to do.
    pub message: String,
}
