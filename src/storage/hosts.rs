//! Where a token may go. A token of Entra opens every account that the identity may use, and that of a ServiceAccount
//! every role that trusts it. So a host named by a `FhirServer` gets one only if it belongs to Azure, or if the
//! operator's owner named it.

use std::collections::BTreeSet;
use std::fmt;

use url::{Host, Url};

use crate::core::ledger::{StorageFailure, StorageFailureKind};

/// The domains of blob endpoints in Azure's clouds; the last one is for accounts with a DNS zone of their own.
const AZURE: [&str; 4] = [
    "blob.core.windows.net",
    "blob.core.usgovcloudapi.net",
    "blob.core.chinacloudapi.cn",
    "blob.storage.azure.net",
];

/// Who chose the endpoint that the credential of the person who calls goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointFrom {
    /// The person whose credential it is.
    Caller,
    /// An object of the cluster. The credential goes to the endpoints of Azure or AWS only, over TLS.
    Cluster,
}

/// Hosts, with their ports, that may get a token besides Azure's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StorageHosts(BTreeSet<(String, u16)>);

impl fmt::Display for StorageHosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<String> = self.0.iter().map(|(host, port)| format!("{host}:{port}")).collect();
        f.write_str(&all.join(","))
    }
}

impl StorageHosts {
    /// Parses hosts `host[:port]`, separated by commas; the default port is 443. The error completes a sentence.
    pub fn parse(list: &str) -> Result<Self, String> {
        let words = list.split(',').map(str::trim).filter(|word| !word.is_empty());
        words.map(|word| host(word).ok_or_else(|| format!("{word} is not host or host:port"))).collect()
    }

    /// Whether the token of a ServiceAccount may go to this security token service, which a `FhirServer` names: only
    /// over TLS, and only to a host on the list.
    pub(super) fn admit_token_service(&self, endpoint: &Url) -> Result<(), StorageFailure> {
        let place = place(endpoint);
        if endpoint.scheme() == "https" && place.as_ref().is_some_and(|place| self.0.contains(place)) {
            return Ok(());
        }
        let (host, port) = place.unwrap_or_default();
        let host = if port == 443 { host } else { format!("{host}:{port}") };
        Err(StorageFailure {
            kind: StorageFailureKind::HostNotAllowed,
            message: format!(
                "the token of a ServiceAccount goes to the security token service of AWS only, and over TLS: leave out \
                 stsEndpoint, or ask the operator's owner to add {host} to --storage-hosts"
            ),
        })
    }

    /// Whether a token may go to this blob endpoint: only over TLS, and only to known hosts.
    pub(super) fn admit(&self, endpoint: &Url) -> Result<(), StorageFailure> {
        if endpoint.scheme() != "https" {
            return Err(StorageFailure::permanent(format!(
                "a token of Microsoft Entra ID may not go to the storage endpoint {} without TLS: use https",
                endpoint.origin().ascii_serialization()
            )));
        }
        let place = place(endpoint);
        if is_azure(endpoint) || place.as_ref().is_some_and(|place| self.0.contains(place)) {
            return Ok(());
        }
        let (host, port) = place.unwrap_or_default();
        let host = if port == 443 { host } else { format!("{host}:{port}") };
        Err(StorageFailure {
            kind: StorageFailureKind::HostNotAllowed,
            message: format!(
                "a token of Microsoft Entra ID goes to Azure's own blob endpoints only, and {host} is none: correct \
                 storage.azureBlob.endpoint, or ask the operator's owner to add {host} to --storage-hosts"
            ),
        })
    }
}

impl FromIterator<(String, u16)> for StorageHosts {
    fn from_iter<I: IntoIterator<Item = (String, u16)>>(hosts: I) -> Self {
        Self(hosts.into_iter().collect())
    }
}

fn host(word: &str) -> Option<(String, u16)> {
    // A user name or a path would be ignored, and a pattern would never match.
    if word.contains(['/', '\\', '?', '#', '@', '*']) || word.contains(char::is_whitespace) {
        return None;
    }
    place(&Url::parse(&format!("https://{word}")).ok()?)
}

fn place(url: &Url) -> Option<(String, u16)> {
    Some((url.host_str()?.to_owned(), url.port_or_known_default()?))
}

/// Whether a URL is a blob endpoint in one of Azure's clouds.
pub(super) fn is_azure(url: &Url) -> bool {
    let Some(Host::Domain(name)) = url.host() else { return false };
    AZURE.iter().any(|suffix| {
        let account = name.strip_suffix(suffix).and_then(|rest| rest.strip_suffix('.'));
        account
            .is_some_and(|account| !account.is_empty() && account.split('.').all(|label| !label.is_empty()))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn admitted(list: &str, endpoint: &str) -> Result<(), StorageFailure> {
        StorageHosts::parse(list).unwrap().admit(&Url::parse(endpoint).unwrap())
    }

    #[test]
    fn azure_s_own_hosts() {
        for host in [
            "clinicexports.blob.core.windows.net",
            "ClinicExports.Blob.Core.Windows.Net:443",
            "clinicexports-secondary.blob.core.windows.net",
            "clinicexports.privatelink.blob.core.windows.net",
            "clinicexports.blob.core.usgovcloudapi.net",
            "clinicexports.blob.core.chinacloudapi.cn",
            "clinicexports.z07.blob.storage.azure.net",
        ] {
            assert_eq!(admitted("", &format!("https://{host}/")), Ok(()), "{host}");
            let plain = admitted(host, &format!("http://{host}/")).unwrap_err();
            assert_eq!(plain.kind, StorageFailureKind::Permanent, "{host}");
            assert!(plain.message.contains("use https"), "{}", plain.message);
        }
    }

    #[test]
    fn what_only_looks_like_them() {
        for host in [
            "evil.example",
            "evilblob.core.windows.net",
            "blob.core.windows.net",
            ".blob.core.windows.net",
            "a..blob.core.windows.net",
            "a.blob.core.windows.net.evil.example",
            "a.blob.core.windows.net.",
            "a.blob.core.windows.netx",
            "a.file.core.windows.net",
            "a.core.windows.net",
            "a.blob.core.windows.net@evil.example",
            "evil.example/a.blob.core.windows.net",
            "evil.example\\.blob.core.windows.net",
            "127.0.0.1:10000",
            "[::1]",
        ] {
            let Ok(url) = Url::parse(&format!("https://{host}")) else { continue };
            let failure = StorageHosts::default().admit(&url).unwrap_err();
            assert_eq!(failure.kind, StorageFailureKind::HostNotAllowed, "{host}");
        }
        let failure = admitted("", "https://evil.example:8443/a?sig=hush").unwrap_err();
        assert_eq!(
            failure.message,
            "a token of Microsoft Entra ID goes to Azure's own blob endpoints only, and evil.example:8443 is none: \
             correct storage.azureBlob.endpoint, or ask the operator's owner to add evil.example:8443 to \
             --storage-hosts"
        );
    }

    #[test]
    fn a_token_service_of_somebody_else_is_on_the_list_or_gets_no_token() {
        let hosts = StorageHosts::parse("sts.example.org").unwrap();
        let admitted = |endpoint: &str| hosts.admit_token_service(&Url::parse(endpoint).unwrap());
        assert_eq!(admitted("https://sts.example.org"), Ok(()));
        for endpoint in ["http://sts.example.org", "https://sts.example.org:8443", "https://evil.example"] {
            assert_eq!(
                admitted(endpoint).unwrap_err().kind,
                StorageFailureKind::HostNotAllowed,
                "{endpoint}"
            );
        }
        assert!(admitted("https://evil.example:9").unwrap_err().message.contains("add evil.example:9 to"));
    }

    #[test]
    fn the_operator_s_list_names_host_and_port() {
        let list = " Blobs.Example.org, 127.0.0.1:10000 ,[::1]:9,";
        for (endpoint, may) in [
            ("https://blobs.example.org/acc", true),
            ("https://blobs.example.org:443", true),
            ("https://127.0.0.1:10000/devstoreaccount1", true),
            ("https://[::1]:9", true),
            ("https://blobs.example.org:444", false),
            ("https://a.blobs.example.org", false),
            ("https://127.0.0.1:10001", false),
            ("https://127.0.0.1", false),
            ("http://blobs.example.org", false),
        ] {
            assert_eq!(admitted(list, endpoint).is_ok(), may, "{endpoint}");
        }
        assert_eq!(StorageHosts::parse(""), Ok(StorageHosts::default()));
        for wrong in
            ["https://a.example", "a.example/", "u@a.example", "*.example", "a b", "a:port", "a:99999"]
        {
            assert!(StorageHosts::parse(wrong).unwrap_err().contains("host:port"), "{wrong}");
        }
    }
}
