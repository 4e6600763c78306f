//! What requests are signed with.

use std::collections::BTreeMap;

use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rusty_s3::Method;
use rusty_s3::signing::sign;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

/// How long a signature is valid, in seconds. The signature is part of the URL, which proxies may log, so this is
/// short. The clocks may differ by as much.
const VALIDITY: u64 = 300;
/// What is encoded in paths and queries: everything but the unreserved characters of RFC 3986.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A text as part of a path or query.
pub(super) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// How the operator proves who it is to a store.
#[derive(Debug)]
pub(super) enum Access {
    /// With signatures made from an access key in a Secret.
    Key(AccessKey),
    /// With signatures made from the temporary access key of a role.
    Role(AccessKey),
    /// With signatures made from the access key of the person who calls.
    Caller(AccessKey),
    /// Not at all.
    Anonymous,
}

/// An access key.
#[derive(Clone, Debug)]
pub struct AccessKey {
    /// The id of the key.
    pub id: String,
    /// The secret of the key.
    pub secret: SecretString,
    /// The token that goes with a temporary key.
    pub session: Option<SecretString>,
}

impl PartialEq for AccessKey {
    fn eq(&self, other: &Self) -> bool {
        let session = |key: &Self| key.session.as_ref().map(|session| session.expose_secret().to_owned());
        self.id == other.id
            && self.secret.expose_secret() == other.secret.expose_secret()
            && session(self) == session(other)
    }
}

impl Access {
    /// Whether both prove the same with the same credentials.
    pub(super) fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Key(one), Self::Key(other))
            | (Self::Role(one), Self::Role(other))
            | (Self::Caller(one), Self::Caller(other)) => one == other,
            (Self::Anonymous, Self::Anonymous) => true,
            (Self::Key(_) | Self::Role(_) | Self::Caller(_) | Self::Anonymous, _) => false,
        }
    }

    /// The URL of a request with its query and, unless it is anonymous, its signature. `url` is an http or https URL
    /// with a host and without a query. Names of headers are in lower case.
    pub(super) fn signed(
        &self,
        method: Method,
        url: &Url,
        region: &str,
        query: &BTreeMap<&'static str, String>,
        headers: &BTreeMap<&'static str, String>,
    ) -> Url {
        match self {
            Self::Key(key) | Self::Role(key) | Self::Caller(key) => sign(
                &Timestamp::now(),
                method,
                url.clone(),
                &key.id,
                key.secret.expose_secret(),
                key.session.as_ref().map(ExposeSecret::expose_secret),
                region,
                VALIDITY,
                query.iter().map(|(name, value)| (*name, value.as_str())),
                headers.iter().map(|(name, value)| (*name, value.as_str())),
            ),
            Self::Anonymous => {
                let pairs = query.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value)));
                let pairs: Vec<String> = pairs.collect();
                let mut url = url.clone();
                url.set_query(Some(pairs.join("&").as_str()).filter(|query| !query.is_empty()));
                url
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_printed_and_keys_differ_in_each_part() {
        let key = |id: &str, secret: &str, session: Option<&str>| AccessKey {
            id: id.to_owned(),
            secret: secret.into(),
            session: session.map(Into::into),
        };
        let one = Access::Key(key("AKIA", "hush", Some("token")));
        let told = format!("{one:?}");
        assert!(!told.contains("hush") && !told.contains("token"), "{told}");
        assert!(one.is(&Access::Key(key("AKIA", "hush", Some("token")))));
        for other in
            [key("B", "hush", Some("token")), key("AKIA", "x", Some("token")), key("AKIA", "hush", None)]
        {
            assert!(!one.is(&Access::Key(other)));
        }
        assert!(!one.is(&Access::Role(key("AKIA", "hush", Some("token")))));
        assert!(!one.is(&Access::Caller(key("AKIA", "hush", Some("token")))));
        assert!(Access::Anonymous.is(&Access::Anonymous) && !Access::Anonymous.is(&one));
    }

    #[test]
    fn an_anonymous_request_has_its_query_and_no_signature() {
        let url = "https://s3.example/lake/f".parse().unwrap();
        let query = [("uploads", String::new()), ("prefix", "a b/+".to_owned())].into();
        let signed = Access::Anonymous.signed(Method::Get, &url, "r", &query, &BTreeMap::new());
        assert_eq!(signed.as_str(), "https://s3.example/lake/f?prefix=a%20b%2F%2B&uploads=");
    }
}
