//! Identities: the credentials in Secrets and ServiceAccounts, and the tokens obtained with them.
//!
//! A credential is read through [`CredentialSource`], always in the namespace of the `FhirServer` that names
//! it, and only if it carries the label [`CREDENTIAL_LABEL`](crate::api::CREDENTIAL_LABEL). [`CachedSource`]
//! caches it for a minute; [`Identities`] obtains tokens with it. Nothing here prints a secret.
//!
//! Uses: api, core.

mod assumed_role;
mod cached;
pub mod cause;
mod flow;
mod handed;
mod identities;
mod identity;
mod in_use;
mod key_pair;
mod private_jwk;
mod settings;
mod signing_key;
mod source;
mod token_problem;
pub mod transport;

pub use assumed_role::{AssumedRole, RoleKeys};
pub use cached::{CacheTimes, CachedSource};
pub use handed::{Handed, HandedSource};
pub use identities::{ClientKey, Identities, RoleKey};
pub use identity::Identity;
pub use key_pair::KeyProblem;
pub use settings::EntraSettings;
pub use signing_key::{SigningKey, USABLE_KEYS};
pub use source::{CredentialProblem, CredentialSource, Federated};
pub use token_problem::{Issuer, address_refused, no_answer, token_problem};
