//! Identities: what Secrets and ServiceAccounts give, and the tokens that come of them.
