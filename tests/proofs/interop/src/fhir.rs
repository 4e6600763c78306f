//! A FHIR server, asked directly: to load patients, to search, and for the files of a job of the operator's.

use std::collections::BTreeMap;
use std::time::Duration;

use fhir_export_operator::core::wire::{Method, Request};
use futures::{StreamExt, TryStreamExt, stream};
use reqwest::header::ACCEPT;
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};

use crate::compartment::parameters;
use crate::patients::{Patients, kind, name};
use crate::{Error, Result};

/// The first `/metadata` of HAPI takes a quarter of a minute.
const ANSWERED_WITHIN: Duration = Duration::from_mins(5);
const FHIR_JSON: &str = "application/fhir+json";
/// Resources of one transaction, and of one page: the most that both servers give.
const AT_ONCE: usize = 1000;
/// Of the many that ask for one type of one patient.
const REQUESTS_AT_ONCE: usize = 8;

/// How a server is asked for what belongs to a patient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compartments {
    /// By its own compartment search, `Patient/1/Observation`. sekmet-fhir has it.
    Own,
    /// By the search parameters that FHIR's CompartmentDefinition names: HAPI has no compartment search, and its `$everything`
    /// gives more than the compartment.
    ByDefinition,
}

/// What an export, or a search, is about.
#[derive(Debug, Clone, Copy)]
pub enum Scope<'a> {
    /// All that the server holds.
    System,
    /// The compartments of these patients.
    Patients(&'a [&'a str]),
}

/// A server.
#[derive(Debug, Clone)]
pub struct Fhir {
    url: String,
    compartments: Compartments,
    client: Client,
}

impl Fhir {
    /// The server at a base URL.
    pub fn new(url: &str, compartments: Compartments) -> Result<Self> {
        let client = Client::builder().no_proxy().timeout(ANSWERED_WITHIN).build()?;
        Ok(Self { url: url.to_owned(), compartments, client })
    }

    /// Its base URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its name and version, as it says.
    pub async fn software(&self) -> Result<String> {
        let statement = self.get(&format!("{}/metadata", self.url)).await?;
        let said =
            |field: &str| statement.pointer(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        Ok(format!("{} {}", said("/software/name"), said("/software/version")))
    }

    /// Puts all patients into it, under their own ids.
    pub async fn load(&self, patients: &Patients) -> Result<()> {
        for some in patients.resources.chunks(AT_ONCE / 4) {
            let entries: Vec<Value> = some.iter().map(|resource| self.put(resource)).collect();
            let bundle = json!({ "resourceType": "Bundle", "type": "transaction", "entry": entries });
            // The answer is of no interest, and would be as long as what was sent.
            let request = self.client.post(&self.url).header("Prefer", "return=minimal");
            let request = request.header("Content-Type", FHIR_JSON).body(bundle.to_string());
            answer(request.header(ACCEPT, FHIR_JSON)).await?;
        }
        Ok(())
    }

    /// Makes or changes a resource; what it is then.
    pub async fn change(&self, resource: &Value) -> Result<Value> {
        let request = self.client.put(format!("{}/{}", self.url, name(resource)));
        let request = request.header("Content-Type", FHIR_JSON).body(resource.to_string());
        let text =
            answer(request.header(ACCEPT, FHIR_JSON).header("Prefer", "return=representation")).await?;
        Ok(serde_json::from_str(&text)?)
    }

    /// Deletes a resource.
    pub async fn delete(&self, name: &str) -> Result<()> {
        answer(self.client.delete(format!("{}/{name}", self.url)).header(ACCEPT, FHIR_JSON)).await.map(drop)
    }

    /// Sends a kick-off as the operator does, and returns the status URL.
    pub async fn kick_off(&self, request: &Request) -> Result<String> {
        let mut sent = match request.method {
            Method::Get => self.client.get(&request.url),
            Method::Post => self.client.post(&request.url),
            Method::Delete => return Err(Error::Fhir("a DELETE is no kick-off".to_owned())),
        };
        sent = sent.header(ACCEPT, request.accept).header("Prefer", request.prefer.unwrap_or_default());
        if let Some(body) = &request.body {
            sent = sent.header("Content-Type", request.accept).body(body.to_string());
        }
        if request.no_cache {
            sent = sent.header("Cache-Control", "no-cache");
        }
        let answer = sent.send().await?;
        let location = answer.headers().get("content-location").and_then(|value| value.to_str().ok());
        location.map(str::to_owned).ok_or_else(|| Error::Fhir(format!("{} to a kick-off", answer.status())))
    }

    fn put(&self, resource: &Value) -> Value {
        let name = name(resource);
        let full = format!("{}/{name}", self.url);
        json!({ "fullUrl": full, "resource": resource, "request": { "method": "PUT", "url": name } })
    }

    /// What its own search finds of these types, by type and id.
    pub async fn find(&self, scope: Scope<'_>, types: &[&str]) -> Result<BTreeMap<String, Value>> {
        let mut found = BTreeMap::new();
        for wanted in types {
            for resource in self.find_type(scope, wanted).await? {
                found.insert(name(&resource), resource);
            }
        }
        Ok(found)
    }

    async fn find_type(&self, scope: Scope<'_>, wanted: &str) -> Result<Vec<Value>> {
        let Scope::Patients(ids) = scope else {
            return self.search(wanted, &format!("{wanted}?_count={AT_ONCE}")).await;
        };
        let mut found = Vec::new();
        match self.compartments {
            Compartments::Own if wanted == "Patient" => {
                let query = format!("Patient?_id={}&_count={AT_ONCE}", ids.join(","));
                found.extend(self.search(wanted, &query).await?);
            }
            Compartments::Own => {
                let pages =
                    stream::iter(ids).map(|id| self.compartment(id, wanted)).buffered(REQUESTS_AT_ONCE);
                let pages: Vec<Vec<Value>> = pages.try_collect().await?;
                found.extend(pages.into_iter().flatten());
            }
            Compartments::ByDefinition => {
                let unknown =
                    || Error::Fhir(format!("whether {wanted} is in a compartment is not known here"));
                for parameter in parameters(wanted).ok_or_else(unknown)? {
                    let query = format!("{wanted}?{parameter}={}&_count={AT_ONCE}", ids.join(","));
                    found.extend(self.search(wanted, &query).await?);
                }
            }
        }
        Ok(found)
    }

    /// One page: the link to the next one is to all resources of the type, not to the compartment's.
    async fn compartment(&self, id: &str, wanted: &str) -> Result<Vec<Value>> {
        let path = format!("Patient/{id}/{wanted}?_count={AT_ONCE}");
        let page = self.get(&format!("{}/{path}", self.url)).await?;
        if next(&page).is_some() {
            return Err(Error::Fhir(format!(
                "{path}: more than one page, and the links leave the compartment"
            )));
        }
        resources(page, wanted)
    }

    /// All pages.
    async fn search(&self, wanted: &str, query: &str) -> Result<Vec<Value>> {
        let mut found = Vec::new();
        let mut url = format!("{}/{query}", self.url);
        loop {
            let page = self.get(&url).await?;
            let next = next(&page).map(str::to_owned);
            found.extend(resources(page, wanted)?);
            match next {
                Some(next) => url = next,
                None => return Ok(found),
            }
        }
    }

    /// The lines of all files of a finished job.
    pub async fn served(&self, status_url: &str) -> Result<Vec<String>> {
        let manifest = self.get(status_url).await?;
        let output = manifest.get("output").and_then(Value::as_array).into_iter().flatten();
        let mut lines = Vec::new();
        for url in output.filter_map(|file| file.get("url")?.as_str()) {
            // Else HAPI packs it into a Binary.
            let request = self.client.get(url).header(ACCEPT, "application/fhir+ndjson");
            let file = answer(request).await?;
            lines.extend(file.lines().filter(|line| !line.is_empty()).map(str::to_owned));
        }
        Ok(lines)
    }

    async fn get(&self, url: &str) -> Result<Value> {
        let request = self.client.get(url).header(ACCEPT, "application/fhir+json, application/json");
        // A parameter that is not known would widen the search.
        let text = answer(request.header("Prefer", "handling=strict")).await?;
        Ok(serde_json::from_str(&text)?)
    }
}

async fn answer(request: RequestBuilder) -> Result<String> {
    let answer = request.send().await?;
    let (status, url) = (answer.status(), answer.url().clone());
    let text = answer.text().await?;
    if status.is_success() {
        return Ok(text);
    }
    let text: String = text.chars().take(1000).collect();
    Err(Error::Fhir(format!("{url} answers {status}: {text}")))
}

fn next(page: &Value) -> Option<&str> {
    let links = page.get("link")?.as_array()?;
    let next = |link: &&Value| link.get("relation").and_then(Value::as_str) == Some("next");
    links.iter().find(next)?.get("url")?.as_str()
}

/// The resources of a page, which must all be of the type: an OperationOutcome among them says what the search left out.
fn resources(mut page: Value, wanted: &str) -> Result<Vec<Value>> {
    let entries = page.get_mut("entry").and_then(Value::as_array_mut).into_iter().flatten();
    let resources: Vec<Value> = entries.filter_map(|entry| Some(entry.get_mut("resource")?.take())).collect();
    match resources.iter().find(|resource| kind(resource) != wanted) {
        Some(other) => Err(Error::Fhir(format!("a search for {wanted} finds {other}"))),
        None => Ok(resources),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test fails by panicking
mod tests {
    use super::*;

    #[test]
    fn a_page_has_resources_of_one_type_and_a_link_to_the_next() {
        let page = json!({
            "link": [{ "relation": "self", "url": "1" }, { "relation": "next", "url": "2" }],
            "entry": [{ "resource": { "resourceType": "Claim", "id": "1" } }],
        });
        assert_eq!(next(&page), Some("2"));
        assert!(resources(page.clone(), "Patient").is_err());
        assert_eq!(resources(page, "Claim").unwrap().len(), 1);
        assert_eq!(next(&json!({})), None);
        assert!(resources(json!({}), "Patient").unwrap().is_empty());
    }
}
