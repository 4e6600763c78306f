//! Identities: what Secrets and ServiceAccounts give, and the tokens that come of them.
//!
//! A credential is read through [`CredentialSource`], always in the namespace of the `FhirServer` that names
//! it, and only if it carries the label [`CREDENTIAL_LABEL`](crate::api::CREDENTIAL_LABEL). [`CachedSource`]
//! remembers it for a minute; [`Identities`] makes Entra tokens of it. Nothing here prints a secret.

mod cached;
pub mod cause;
mod flow;
mod identities;
mod identity;
mod settings;
mod source;
mod token_problem;
pub mod transport;

pub use cached::{CachedSource, Memory};
pub use identities::Identities;
pub use identity::EntraIdentity;
pub use settings::EntraSettings;
pub use source::{CredentialProblem, CredentialSource};
pub use token_problem::token_problem;
