//! Identities: what Secrets and ServiceAccounts give, and the tokens that come of them.
//!
//! A credential is read through [`CredentialSource`], always in the namespace of the `FhirServer` that names
//! it, and only if it carries the label [`CREDENTIAL_LABEL`](crate::api::CREDENTIAL_LABEL). [`Identities`]
//! makes Entra tokens of it. Nothing here prints a secret.

mod identities;
mod settings;
mod source;

pub use identities::Identities;
pub use settings::EntraSettings;
pub use source::{CredentialProblem, CredentialSource};
