//! How the operator proves who it is to a storage account.

use std::sync::Arc;

use azure_core::credentials::TokenCredential;

use super::signature::{AccountKey, SasToken};

/// How the operator proves who it is to a storage account.
pub(super) enum Access {
    /// A token of Microsoft Entra ID.
    Identity(Arc<dyn TokenCredential>),
    /// A SAS token that somebody made.
    Sas(SasToken),
    /// Signatures made from the account's key.
    Key(AccountKey),
}

impl Access {
    /// Whether both are the same credentials.
    pub(super) fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Identity(one), Self::Identity(other)) => Arc::ptr_eq(one, other),
            (Self::Sas(one), Self::Sas(other)) => one == other,
            (Self::Key(one), Self::Key(other)) => one == other,
            (Self::Identity(_) | Self::Sas(_) | Self::Key(_), _) => false,
        }
    }
}
