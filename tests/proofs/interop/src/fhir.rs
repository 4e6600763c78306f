//! A direct client of a FHIR server: loads patients, searches, and downloads the files of the operator's jobs.

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

/// The timeout of a request. HAPI's first answer to `/metadata` takes 15 seconds.
const ANSWERED_WITHIN: Duration = Duration::from_mins(5);
const FHIR_JSON: &str = "application/fhir+json";
/// The resources per page of a search: the most that both servers return. Transactions have a quarter of it.
const AT_ONCE: usize = 1000;
/// How many searches for one type and one patient run at once.
const REQUESTS_AT_ONCE: usize = 8;

/// How to search a server for the compartment of a patient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compartments {
    /// By the server's compartment search, such as `Patient/1/Observation`. sekmet-fhir has one.
    Own,
    /// By the search parameters that FHIR's CompartmentDefinition names. HAPI has no compartment search, and its
    /// `$everything` returns more than the compartment.
    ByDefinition,
}

/// The scope of an export or a search.
#[derive(Debug, Clone, Copy)]
pub enum Scope<'a> {
    /// All resources on the server.
    System,
    /// The compartments of these patients.
    Patients(&'a [&'a str]),
}

/// A FHIR server.
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

    /// The base URL of the server.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The name and version of the server's software, from its CapabilityStatement.
    pub async fn software(&self) -> Result<String> {
        let statement = self.get(&format!("{}/metadata", self.url)).await?;
        let said =
            |field: &str| statement.pointer(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        Ok(format!("{} {}", said("/software/name"), said("/software/version")))
    }

    /// Loads all patients into the server, under their own ids.
    pub async fn load(&self, patients: &Patients) -> Result<()> {
        for some in patients.resources.chunks(AT_ONCE / 4) {
            let entries: Vec<Value> = some.iter().map(|resource| self.put(resource)).collect();
            let bundle = json!({ "resourceType": "Bundle", "type": "transaction", "entry": entries });
            // A full answer would be as long as the request, and is not needed.
            let request = self.client.post(&self.url).header("Prefer", "return=minimal");
            let request = request.header("Content-Type", FHIR_JSON).body(bundle.to_string());
            answer(request.header(ACCEPT, FHIR_JSON)).await?;
        }
        Ok(())
    }

    /// Creates or updates a resource, and returns it as the server stored it.
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

    /// The resources of these types that the server's own search finds, by type and id.
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

    /// Searches a compartment. The result must fit on one page, since the server's link to the next page leads to all
    /// resources of the type, not only to those of the compartment.
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

    /// Searches for a type, and follows all pages.
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
            // Without this header, HAPI wraps the file in a Binary resource.
            let request = self.client.get(url).header(ACCEPT, "application/fhir+ndjson");
            let file = answer(request).await?;
            lines.extend(file.lines().filter(|line| !line.is_empty()).map(str::to_owned));
        }
        Ok(lines)
    }

    async fn get(&self, url: &str) -> Result<Value> {
        let request = self.client.get(url).header(ACCEPT, "application/fhir+json, application/json");
        // With lenient handling, a parameter that the server does not know would widen the search.
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

/// The resources of a page. An error if one has another type: an OperationOutcome says that the search left something
/// out.
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
