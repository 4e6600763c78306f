//! The FHIR servers, each behind a relay, and the objects that the cluster needs to use them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use azure_fhir::{Entra, EntraOptions, Secret, Storage, TestCa};
use bulk_fhir::{Proof, Smart};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use stage::{Folder, Hapi, Relay, Tool};

use crate::gateway::Gateway;
use crate::plan::{Plan, Site, scripts};
use crate::{Error, Result};

/// The lifetime of tokens, in seconds. Jobs last longer.
const TOKEN_SECONDS: u64 = 8;
const AUDIENCE: &str = "api://chaos";
const CLIENT_SECRET: &str = "the-client-secret-of-chaos-7c1f";
const LOADED_WITHIN: Duration = Duration::from_secs(60);

/// All FHIR servers, with the token server and the relays.
#[derive(Debug)]
pub struct Servers {
    /// A server of Azure's dialect without authentication.
    pub azure: azure_fhir::Server,
    /// A server of Azure's dialect that accepts Entra tokens.
    pub entra: azure_fhir::Server,
    /// A Bulk Data server without authentication.
    pub bulk: bulk_fhir::Server,
    /// A Bulk Data server that accepts tokens of its own (SMART Backend Services).
    pub smart: bulk_fhir::Server,
    /// The proxy before HAPI.
    pub gateway: Gateway,
    /// The token server of Entra.
    pub tokens: Entra,
    /// The relays before the servers, in the order of [`Site::ALL`].
    pub relays: Vec<(Site, Relay)>,
    /// The private key of the client of `smart`, as PEM.
    key: String,
    authorities: String,
}

impl Servers {
    /// Starts all servers with the scripts of the plan. `storage` is the account that manifests name.
    pub async fn start(plan: &Plan, storage: &Storage, hapi: &Hapi) -> Result<Self> {
        let ca = Arc::new(TestCa::new()?);
        let azure = azure_fhir::Server::start(azure_fhir::Options {
            storage: Some(storage.clone()),
            first_job: Some(1_000),
            ..azure_fhir::Options::default()
        })
        .await?;
        let entra = azure_fhir::Server::start(azure_fhir::Options {
            storage: Some(storage.clone()),
            first_job: Some(500_000_000),
            access: azure_fhir::Access::Jwt { audience: AUDIENCE.into() },
            ..azure_fhir::Options::default()
        })
        .await?;
        let (key, public) = key_pair().await?;
        let smart =
            Smart { lifetime_seconds: TOKEN_SECONDS, ..Smart::client("exporter", Proof::Keys(vec![public])) };
        let smart = bulk_fhir::Server::start(bulk_fhir::Options {
            version: bulk_fhir::Version::Stu3,
            access: bulk_fhir::Access::Smart(smart),
            ..bulk_fhir::Options::default()
        })
        .await?;
        let bulk = bulk_fhir::Server::start(bulk_fhir::Options::default()).await?;
        let tokens = EntraOptions {
            secret: Secret::Text(CLIENT_SECRET.into()),
            audiences: vec![AUDIENCE.into()],
            lifetime: i64::try_from(TOKEN_SECONDS).unwrap_or(8),
            ..EntraOptions::default()
        };
        let tokens = Entra::start(tokens, Arc::clone(&ca)).await?;
        let gateway = Gateway::start(hapi.url()).await?;
        let mut relays = Vec::new();
        for site in Site::ALL {
            let port = match site {
                Site::Azure => port_of(&azure.url()),
                Site::Entra => port_of(&entra.url()),
                Site::Bulk => port_of(&bulk.url()),
                Site::Smart => port_of(&smart.url()),
                Site::Hapi => Some(gateway.port()),
            };
            let port = port.ok_or_else(|| Error::Io(format!("{} has no port", site.name())))?;
            relays.push((site, Relay::start(port).await?));
        }
        let servers = Self {
            azure,
            entra,
            bulk,
            smart,
            gateway,
            tokens,
            relays,
            key,
            authorities: ca.pem().to_owned(),
        };
        servers.script(plan);
        load(hapi).await?;
        Ok(servers)
    }

    fn script(&self, plan: &Plan) {
        let mut dice = StdRng::seed_from_u64(plan.seed.wrapping_add(1));
        for planned in &plan.exports {
            match planned.site {
                Site::Azure => self.azure.script(scripts::azure(planned, &mut dice)),
                Site::Entra => self.entra.script(scripts::azure(planned, &mut dice)),
                Site::Bulk => self.bulk.script(scripts::bulk(planned, &mut dice)),
                Site::Smart => self.smart.script(scripts::bulk(planned, &mut dice)),
                Site::Hapi => {}
            }
        }
    }

    /// The flags that the operator needs to obtain tokens.
    pub fn flags(&self, folder: &Folder) -> Result<Vec<String>> {
        let file = folder.write("authorities.pem", &self.authorities)?;
        Ok(vec![
            format!("--extra-ca={}", file.display()),
            format!("--entra-authority-host={}", self.tokens.url()),
        ])
    }

    /// The Secrets of a namespace, by name.
    pub fn secrets(&self) -> [(&'static str, Value); 2] {
        [("smart", json!({ "key.pem": self.key })), ("entra", json!({ "secret": CLIENT_SECRET }))]
    }

    /// The spec of the FhirServer of a site, with its storage.
    pub fn spec(&self, site: Site, storage: &Value) -> Value {
        let path = if site.lands() { "/fhir" } else { "" };
        let relay = self.relays.iter().find(|(of, _)| *of == site);
        let port = relay.map(|(_, relay)| relay.port()).unwrap_or_default();
        let auth = match site {
            Site::Azure | Site::Bulk | Site::Hapi => json!({ "type": "None" }),
            Site::Entra => {
                let EntraOptions { tenant, client_id, .. } = EntraOptions::default();
                json!({ "type": "Entra", "entra": { "type": "ClientSecret", "tenantID": tenant,
                    "clientID": client_id, "audience": AUDIENCE,
                    "clientSecretRef": { "name": "entra", "key": "secret" } } })
            }
            Site::Smart => json!({ "type": "SmartBackendServices", "smartBackendServices": {
                "clientID": "exporter", "privateKeySecretRef": { "name": "smart", "key": "key.pem" } } }),
        };
        let most = if site == Site::Hapi { 2 } else { 12 };
        let mut spec = json!({
            "url": format!("http://127.0.0.1:{port}{path}"),
            "allowInsecureHTTP": true,
            "dialect": if site.lands() { "BulkData" } else { "Azure" },
            "auth": auth,
            "storage": storage,
            "limits": { "maxConcurrentExports": most, "maxConcurrentPerGroup": 6, "minPollSeconds": 1,
                "maxPollSeconds": 2, "maxRetryAfterSeconds": 2, "requestTimeoutSeconds": 6 },
        });
        if site.lands()
            && let Some(spec) = spec.as_object_mut()
        {
            // The audit downloads HAPI's files again afterwards. The others must be told to forget finished jobs.
            let finished = if site == Site::Hapi { "Keep" } else { "Delete" };
            spec.insert("bulkData".into(), json!({ "finishedJobs": finished }));
        }
        spec
    }

    /// The number of kick-offs that reached the servers so far.
    pub fn kick_offs(&self) -> usize {
        let azure = self.azure.kick_offs() + self.entra.kick_offs();
        azure + self.bulk.kick_offs() + self.smart.kick_offs() + self.gateway.kick_offs()
    }

    /// Every token that the servers received, and the values in their Secrets.
    pub fn secret_words(&self) -> BTreeSet<String> {
        let azure = [&self.azure, &self.entra].map(azure_fhir::Server::requests);
        let bulk = [&self.bulk, &self.smart].map(bulk_fhir::Server::requests);
        let shown = azure.iter().chain(&bulk).flatten().filter_map(|request| {
            request.authorization.as_deref()?.split_once(' ').map(|(_, token)| token.trim().to_owned())
        });
        let mut words: BTreeSet<String> = shown.collect();
        // One line of the key is enough to recognize it.
        words.extend(self.key.lines().nth(1).map(str::to_owned));
        words.extend([CLIENT_SECRET.to_owned(), "&sig=".to_owned(), "?sig=".to_owned()]);
        words.insert("X-Amz-Signature".to_owned());
        words
    }

    /// Removes all faults, and lets the relays forward everything.
    pub fn calm(&self) {
        self.relays.iter().for_each(|(_, relay)| relay.set(stage::Manner::Pass));
        self.azure.clear_faults();
        self.entra.clear_faults();
        self.bulk.clear_faults();
        self.smart.clear_faults();
    }
}

fn port_of(url: &str) -> Option<u16> {
    url.rsplit(':').next()?.split('/').next()?.parse().ok()
}

/// A private key as PEM, and its public JWKS as the operator's command `jwks` prints it for registration.
async fn key_pair() -> Result<(String, Value)> {
    let made = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384);
    let pem = made.map_err(|error| Error::Operator(error.to_string()))?.serialize_pem();
    let program = std::env::current_exe()?.with_file_name("fhir-export-operator");
    let printed = Tool::new(&program, ["jwks", "-"])?.stdin(&pem)?.run().await?.ok()?;
    let mut printed: Value = serde_json::from_str(&printed)?;
    let key = printed.pointer_mut("/keys/0").map(Value::take);
    Ok((pem, key.ok_or_else(|| Error::Operator("jwks prints no key".into()))?))
}

/// Loads the patients into HAPI.
async fn load(hapi: &Hapi) -> Result<()> {
    let patients = azure_fhir::Patients::checked_in()?;
    let entry: Vec<Value> = patients
        .latest()
        .filter(|latest| latest.kind == "Patient")
        .filter_map(|latest| {
            let put = json!({ "method": "PUT", "url": format!("Patient/{}", latest.id) });
            Some(json!({ "resource": latest.resource?, "request": put }))
        })
        .collect();
    let bundle = json!({ "resourceType": "Bundle", "type": "transaction", "entry": entry });
    let client = reqwest::Client::builder().no_proxy().timeout(LOADED_WITHIN).build()?;
    let request = client.post(hapi.url()).header("Content-Type", "application/fhir+json");
    request.body(bundle.to_string()).send().await?.error_for_status()?;
    // HAPI's first answer to this takes long, and it is the operator's first request.
    client.get(format!("{}/metadata", hapi.url())).send().await?.error_for_status()?;
    Ok(())
}
