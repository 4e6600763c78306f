//! A look at a FHIR server from this machine: its name, the connection, and its CapabilityStatement. No credential is
//! sent.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use url::{Host, Url};

use crate::api::FhirServer;
use crate::cluster::root_cause;
use crate::core::capability::{Offered, offered};
use crate::core::server::metadata_request;
use crate::credentials::cause::Cause;
use crate::credentials::transport::client_builder;
use crate::stop::Stop;

/// How long the answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// What was seen of a server.
#[derive(Debug)]
pub struct Seen {
    /// The addresses of the host, or why there are none.
    pub addresses: Result<Vec<IpAddr>, String>,
    /// The answer to the request for the CapabilityStatement.
    pub metadata: Metadata,
}

/// The answer to the request for the CapabilityStatement.
#[derive(Debug)]
pub enum Metadata {
    /// It was read.
    Read(Offered),
    /// The server answered something else, with this status.
    Other(u16),
    /// No answer came.
    Unanswered(Cause),
}

/// Looks at a server. Fails only if the look is not possible at all.
pub async fn look(server: &FhirServer, extra_ca: Option<&Path>) -> Result<Seen, Stop> {
    let request = metadata_request(&server.spec);
    let url: Url = request
        .url
        .parse()
        .map_err(|_| Stop::because("The url of the FhirServer is not a URL.".to_owned()))?;
    let authorities = match extra_ca {
        Some(file) => vec![std::fs::read_to_string(file).map_err(|e| {
            Stop::because(format!("The file {} of --extra-ca cannot be read: {e}.", file.display()))
        })?],
        None => Vec::new(),
    };
    let client = client_builder(&authorities, None).and_then(|builder| builder.timeout(PATIENCE).build());
    let client = client.map_err(|e| {
        Stop::because(format!("The certificate authorities cannot be used: {}.", root_cause(&e)))
    })?;
    let addresses = addresses(&url).await;
    let metadata = match client.get(url).header("accept", request.accept).send().await {
        Ok(answer) if answer.status().is_success() => {
            let status = answer.status().as_u16();
            match body(answer, request.max_body).await {
                Ok(body) => offered(&body).map_or(Metadata::Other(status), Metadata::Read),
                Err(cause) => Metadata::Unanswered(cause),
            }
        }
        Ok(answer) => Metadata::Other(answer.status().as_u16()),
        Err(error) => Metadata::Unanswered(Cause::of(&error)),
    };
    Ok(Seen { addresses, metadata })
}

/// The body of an answer, cut after `most` bytes.
async fn body(mut answer: reqwest::Response, most: usize) -> Result<Vec<u8>, Cause> {
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(|error| Cause::of(&error))? {
        body.extend_from_slice(&piece);
        if body.len() > most {
            break;
        }
    }
    Ok(body)
}

async fn addresses(url: &Url) -> Result<Vec<IpAddr>, String> {
    let port = url.port_or_known_default().unwrap_or(443);
    match url.host() {
        Some(Host::Ipv4(address)) => Ok(vec![address.into()]),
        Some(Host::Ipv6(address)) => Ok(vec![address.into()]),
        Some(Host::Domain(name)) => match tokio::net::lookup_host((name, port)).await {
            Ok(found) => Ok(found.map(|socket| socket.ip()).collect()),
            Err(_) => Err(format!("the host name {name} does not resolve on this machine")),
        },
        None => Err("the url names no host".to_owned()),
    }
}
