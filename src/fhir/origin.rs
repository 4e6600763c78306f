//! Origins of URLs, which decide where a token may go.

use std::fmt;

use url::Url;

use crate::api::FhirServer;
use crate::core::planted::{Fault, planted};

/// Scheme, host and port of a URL. Two origins are equal only if all three are; the host is case-insensitive,
/// and the scheme's default port may be left out.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    scheme: String,
    host: String,
    port: u16,
}

impl Origin {
    /// The origin of an absolute http or https URL. A URL with a user name or password has none, because it
    /// would carry its own credentials.
    pub fn of(url: &Url) -> Option<Self> {
        let web = matches!(url.scheme(), "http" | "https");
        if !web || !url.username().is_empty() || url.password().is_some() {
            return None;
        }
        Some(Self {
            scheme: url.scheme().to_owned(),
            host: url.host_str()?.to_owned(),
            port: url.port_or_known_default()?,
        })
    }

    /// Parses a URL and returns its origin; see [`Self::of`].
    pub fn parse(url: &str) -> Option<Self> {
        Self::of(&Url::parse(url).ok()?)
    }

    /// The host, in lower case.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether the scheme is https.
    pub fn is_encrypted(&self) -> bool {
        self.scheme == "https"
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.host)?;
        let own = if self.is_encrypted() { 443 } else { 80 };
        if self.port == own { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

/// Whether requests with the credentials of `server` may go to `origin`: only to that of its `url` and to its
/// `trustedOrigins`, and unencrypted only with `allowInsecureHTTP` (invariant `token-stays`).
pub fn is_trusted(server: &FhirServer, origin: &Origin) -> bool {
    let spec = &server.spec;
    let may = origin.is_encrypted() || spec.allow_insecure_http == Some(true);
    let trusted = spec.trusted_origins.iter().flatten().map(String::as_str);
    may && std::iter::once(spec.url.as_str())
        .chain(trusted)
        .any(|url| Origin::parse(url).as_ref() == Some(origin))
}

/// How far an origin that serves files is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileTrust {
    /// The origin may receive the server's token, if the files need one.
    WithToken,
    /// The origin only serves files behind links that need no token.
    WithoutToken,
}

/// Whether files of `server` may be downloaded from `origin`: only from where its credentials may go, and
/// from its `fileOrigins`, whatever a manifest or a redirect says (invariant `files-from-named-origins`).
pub fn file_trust(server: &FhirServer, origin: &Origin) -> Option<FileTrust> {
    if is_trusted(server, origin) {
        return Some(FileTrust::WithToken);
    }
    let may = origin.is_encrypted() || server.spec.allow_insecure_http == Some(true);
    let listed =
        server.spec.file_origins.iter().flatten().any(|url| Origin::parse(url).as_ref() == Some(origin));
    let trust = if planted(Fault::TokenElsewhere) { FileTrust::WithToken } else { FileTrust::WithoutToken };
    (may && listed).then_some(trust)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::Origin;

    #[test]
    fn scheme_host_and_port_make_an_origin() {
        let same = [
            ("https://a.example", "https://A.EXAMPLE:443/fhir?x=1"),
            ("http://a.example:80", "http://a.example/"),
            ("https://[::1]:8443", "https://[0:0:0:0:0:0:0:1]:8443/x"),
        ];
        for (one, other) in same {
            assert_eq!(Origin::parse(one).unwrap(), Origin::parse(other).unwrap(), "{one} {other}");
        }
        let differ = [
            ("https://a.example", "http://a.example"),
            ("https://a.example", "https://a.example:8443"),
            ("https://a.example", "https://a.example.evil.example"),
            ("https://a.example", "https://b.a.example"),
            ("http://a.example:443", "https://a.example"),
        ];
        for (one, other) in differ {
            assert_ne!(Origin::parse(one).unwrap(), Origin::parse(other).unwrap(), "{one} {other}");
        }
    }

    #[test]
    fn what_is_not_plain_http_has_no_origin() {
        for url in [
            "https://a.example@evil.example/",
            "https://:pw@a.example",
            "ftp://a.example",
            "/x",
            "a.example",
            "file:///x",
            "https://",
        ] {
            assert_eq!(Origin::parse(url), None, "{url}");
        }
    }

    #[test]
    fn an_origin_reads_as_people_write_it() {
        for (url, shown) in [
            ("HTTPS://A.Example:443/fhir", "https://a.example"),
            ("https://a.example:8443/fhir", "https://a.example:8443"),
            ("http://127.0.0.1:80", "http://127.0.0.1"),
        ] {
            assert_eq!(Origin::parse(url).unwrap().to_string(), shown);
        }
    }
}
