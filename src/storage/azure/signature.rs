//! Shared access signatures: made from an account key, or given by a user.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretBox, SecretString};
use sha2::Sha256;
use url::form_urlencoded;

/// The version of the string to sign.
const VERSION: &str = "2021-06-08";
/// How long a signature made from an account key is valid.
const VALIDITY: SignedDuration = SignedDuration::from_mins(60);

/// What a signature permits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Right {
    /// List containers and blobs, read blobs.
    Read,
    /// Create a blob that does not exist, and read one that does.
    Create,
    /// Create a container.
    CreateContainer,
    /// Delete a blob.
    Delete,
}

impl Right {
    /// The resource types and permissions of the signature, in the order that Azure requires.
    fn fields(self) -> (&'static str, &'static str) {
        match self {
            Self::Read => ("sco", "rl"),
            // Without `w`, Azure answers 403 instead of 409 if the blob already exists.
            Self::Create => ("o", "rwc"),
            Self::CreateContainer => ("c", "c"),
            Self::Delete => ("o", "d"),
        }
    }
}

/// The key of a storage account.
#[derive(Debug)]
pub(super) struct AccountKey {
    account: String,
    key: SecretBox<Vec<u8>>,
}

impl PartialEq for AccountKey {
    fn eq(&self, other: &Self) -> bool {
        self.account == other.account && self.key.expose_secret() == other.key.expose_secret()
    }
}

impl AccountKey {
    /// Parses the key as the portal shows it; `None` if it is not base64.
    pub(super) fn parse(account: &str, text: &str) -> Option<Self> {
        let key = STANDARD.decode(text.trim()).ok().filter(|key| !key.is_empty())?;
        Some(Self { account: account.to_owned(), key: SecretBox::new(Box::new(key)) })
    }

    /// A query string that permits `right` for an hour. It has no start time, since clocks differ.
    pub(super) fn sign(&self, right: Right, https: bool, now: Timestamp) -> Option<SecretString> {
        let (resources, permissions) = right.fields();
        let expiry = now.checked_add(VALIDITY).ok()?.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let protocol = if https { "https" } else { "https,http" };
        let account = &self.account;
        let text =
            format!("{account}\n{permissions}\nb\n{resources}\n\n{expiry}\n\n{protocol}\n{VERSION}\n\n");
        let mut mac = Hmac::<Sha256>::new_from_slice(self.key.expose_secret()).ok()?;
        mac.update(text.as_bytes());
        let signature = STANDARD.encode(mac.finalize().into_bytes());
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("sv", VERSION).append_pair("ss", "b").append_pair("srt", resources);
        query.append_pair("sp", permissions).append_pair("se", &expiry).append_pair("spr", protocol);
        Some(query.append_pair("sig", &signature).finish().into())
    }
}

/// A signature that somebody else made.
#[derive(Debug)]
pub(super) struct SasToken {
    query: SecretString,
    /// When the token expires, if it says so; otherwise a stored access policy may define it.
    pub(super) expiry: Option<Timestamp>,
    /// Whether the token is for one container or blob only, so that it cannot list the account's containers.
    pub(super) is_partial: bool,
}

impl PartialEq for SasToken {
    fn eq(&self, other: &Self) -> bool {
        self.query.expose_secret() == other.query.expose_secret()
    }
}

impl SasToken {
    /// Parses a token, with or without a leading `?`; `None` if it holds no signature.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let query = text.trim().trim_start_matches('?');
        let field = |name: &str| {
            let mut pairs = form_urlencoded::parse(query.as_bytes());
            pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
        };
        field("sig").filter(|signature| !signature.is_empty())?;
        // Of a pasted URL, the signature would be read and the first field lost.
        if query.contains("://") {
            return None;
        }
        let expiry = field("se").and_then(|text| text.parse().ok());
        Some(Self { expiry, is_partial: field("sr").is_some(), query: query.into() })
    }

    pub(super) fn query(&self) -> &SecretString {
        &self.query
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn an_account_signature_has_its_fields_and_not_the_key() {
        let key = AccountKey::parse("clinicexports", " c2VjcmV0\n").unwrap();
        let now = "2026-11-24T02:00:00.5Z".parse().unwrap();
        let query = key.sign(Right::Read, true, now).unwrap();
        let query = query.expose_secret();
        assert!(
            query.starts_with("sv=2021-06-08&ss=b&srt=sco&sp=rl&se=2026-11-24T03%3A00%3A00Z&spr=https&sig="),
            "{query}"
        );
        let other = key.sign(Right::Create, false, now).unwrap();
        assert!(other.expose_secret().contains("&srt=o&sp=rwc&"));
        assert!(other.expose_secret().contains("&spr=https%2Chttp&"));
        // No other signature may delete, and the one that deletes may do nothing else.
        let delete = key.sign(Right::Delete, true, now).unwrap();
        assert!(delete.expose_secret().contains("&srt=o&sp=d&"));
        assert!(!format!("{key:?}").contains("secret"));
    }

    #[test]
    fn keys_that_are_none() {
        for text in ["", "not base64!", "\n"] {
            assert!(AccountKey::parse("a", text).is_none(), "{text}");
        }
    }

    #[test]
    fn given_tokens() {
        let token =
            SasToken::parse("?sv=2021-06-08&se=2026-11-24T03%3A00%3A00Z&sr=c&sp=rl&sig=a%2Fb%3D\n").unwrap();
        assert_eq!(
            token.query().expose_secret(),
            "sv=2021-06-08&se=2026-11-24T03%3A00%3A00Z&sr=c&sp=rl&sig=a%2Fb%3D"
        );
        assert_eq!(token.expiry, Some("2026-11-24T03:00:00Z".parse().unwrap()));
        assert!(token.is_partial);
        assert!(!format!("{token:?}").contains("a%2Fb"));
        let token = SasToken::parse("si=policy&sv=2021-06-08&sig=x").unwrap();
        assert_eq!((token.expiry, token.is_partial), (None, false));
        for text in ["", "?", "c2VjcmV0", "sv=1&sig=", "https://a.blob.core.windows.net/c?sv=1&sig=x"] {
            assert!(SasToken::parse(text).is_none(), "{text}");
        }
    }
}
