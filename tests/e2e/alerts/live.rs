//! A live operator while things go wrong around it: the metrics that it exposes make the right alerts fire, and no
//! others.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use azure_fhir::{Access, Fault, Options, Script, Step};
use serde_json::json;

use super::recorded::{assert_fire, used};
use super::recording::Recording;
use super::rules::{rendered, rules};
use crate::site::{PATIENCE, Site};

/// Seconds of the alerts' time per second of a recording. The tests run the operator about thirty times as fast as by
/// default, and the alerts' time runs faster still.
pub const STRETCH: f64 = 150.0;
const EVERY: Duration = Duration::from_millis(100);

/// Scrapes an operator repeatedly and keeps the expositions.
pub struct Scraper {
    address: String,
    began: Instant,
    pub text: String,
}

impl Scraper {
    pub async fn start(site: &mut Site) -> Self {
        let operator = site.operator.as_mut().unwrap();
        operator.wait_for_log("the operator is ready", PATIENCE).await.unwrap();
        let log = std::fs::read_to_string(operator.log()).unwrap();
        let address = log.split("metrics=").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
        Self { address, began: Instant::now(), text: String::new() }
    }

    async fn scrape(&mut self) {
        let answer = reqwest::get(format!("http://{}/metrics", self.address)).await.unwrap();
        let exposition = answer.text().await.unwrap();
        writeln!(self.text, "# at {:.2}\n{exposition}", self.began.elapsed().as_secs_f64()).unwrap();
        // Not a wait for a condition: this is the interval between two scrapes of the recording.
        tokio::time::sleep(EVERY).await;
    }

    /// Scrapes until `holds` is true, and then for `minutes` of the alerts' time.
    pub async fn until(&mut self, minutes: f64, mut holds: impl AsyncFnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds().await {
            assert!(Instant::now() < deadline, "it did not happen");
            self.scrape().await;
        }
        let until = Instant::now() + Duration::from_secs_f64(minutes * 60.0 / STRETCH);
        while Instant::now() < until {
            self.scrape().await;
        }
    }

    /// Scrapes until `holds` is true of what was scraped.
    pub async fn until_scraped(&mut self, holds: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(self) {
            assert!(
                Instant::now() < deadline,
                "it was not seen in {}",
                self.text.rsplit("# at ").next().unwrap()
            );
            self.scrape().await;
        }
    }

    /// Writes the trimmed recording, to be checked in, to the folder in `FHIR_EXPORT_RECORDING` if that is set.
    async fn keep(&self, name: &str, fire: &BTreeSet<String>) {
        if let Some(folder) = std::env::var_os("FHIR_EXPORT_RECORDING") {
            let used = used(&rules(&rendered(super::on()).await));
            let path = std::path::Path::new(&folder).join(name);
            std::fs::write(path.with_extension("txt"), Recording::read(&self.text, &used).trimmed(1.0))
                .unwrap();
            let expected = format!("{}\n", json!({"stretch": STRETCH, "fire": fire}));
            std::fs::write(path.with_extension("json"), expected).unwrap();
        }
    }
}

async fn has_ended(site: &Site, name: &str) -> bool {
    let api: kube::Api<fhir_export_operator::api::FhirExport> = site.api();
    let object = api.get_opt(name).await.unwrap();
    object.is_none_or(|o| o.status.is_some_and(|s| s.completion_time.is_some()))
}

#[tokio::test]
async fn all_is_quiet_where_all_goes_well() {
    let mut site = Site::start("quiet").await;
    let mut scraper = Scraper::start(&mut site).await;
    scraper.until(5.0, async || true).await;
    for name in ["quiet-a", "quiet-b"] {
        site.export(name, json!({"level": "System", "container": name}), json!({})).await;
        scraper.until(0.0, async || has_ended(&site, name).await).await;
        site.complete(name).await;
    }
    scraper.until(45.0, async || true).await;
    scraper.keep("quiet", &[].into()).await;
    assert_fire("quiet", &scraper.text, STRETCH, &[].into()).await;
}

#[tokio::test]
async fn what_goes_wrong_is_told() {
    let mut site = Site::start("trouble").await;
    let mut scraper = Scraper::start(&mut site).await;
    scraper.until(5.0, async || true).await;
    let system = |container: &str| json!({"level": "System", "container": container});

    site.fhir.script(Script::refuses(Fault::GatewayPage { status: 502 }).container("trouble-lost"));
    site.export("lost", system("trouble-lost"), json!({"onUncertainKickOff": "Fail"})).await;
    let stuck = Script { cancel_faults: vec![Step::times(1000, Fault::Forbidden)], ..Script::stuck() };
    site.fhir.script(stuck.container("trouble-cancel"));
    site.export("cancel", system("trouble-cancel"), json!({})).await;
    site.until("cancel", "running", |o| o.status.as_ref().is_some_and(|s| s.accepted_time.is_some())).await;
    site.change("cancel", json!({"cancel": true})).await;
    scraper.until(0.0, async || has_ended(&site, "lost").await && has_ended(&site, "cancel").await).await;
    site.failed("lost", "KickOffUncertain").await;
    site.failed("cancel", "CancelUnconfirmed").await;

    site.fhir.set_access(Access::Tokens(vec![]));
    site.apply_server(json!({"limits": {"maxConcurrentExports": 20}})).await;
    site.export("refused", system("trouble-refused"), json!({})).await;
    let refused = async || {
        let api: kube::Api<fhir_export_operator::api::FhirServer> = site.api();
        let status = api.get("clinic").await.unwrap().status.unwrap_or_default();
        status.conditions.iter().any(|c| c.type_ == "Authenticated" && format!("{:?}", c.status) == "False")
    };
    scraper.until(45.0, refused).await;
    let fire = [
        "FhirExportKickOffUncertain",
        "FhirExportCancelUnconfirmed",
        "FhirExportFailed",
        "FhirServerNotReady",
        "FhirServerTokenRefused",
        "FhirExportBlocked",
    ];
    let fire = fire.map(str::to_owned).into();
    scraper.keep("trouble", &fire).await;
    assert_fire("trouble", &scraper.text, STRETCH, &fire).await;
}

/// The operator is killed in the middle of an export. Nobody leads for a while, and only the alert on that fires.
#[tokio::test]
async fn an_operator_that_is_gone_is_told() {
    let mut site = Site::without_server("gone", Options::default()).await;
    site.apply_server(json!({})).await;
    site.start_operator().await;
    let mut scraper = Scraper::start(&mut site).await;
    site.fhir.script(Script::polls(3).container("gone-a"));
    site.export("gone-a", json!({"level": "System", "container": "gone-a"}), json!({})).await;
    scraper.until(3.0, async || true).await;
    site.kill_operator().await;
    // This is the outage that is recorded: nobody leads for 15 minutes of the alerts' time.
    tokio::time::sleep(Duration::from_secs_f64(15.0 * 60.0 / STRETCH)).await;
    site.start_operator().await;
    let (began, text) = (scraper.began, std::mem::take(&mut scraper.text));
    scraper = Scraper { began, text, ..Scraper::start(&mut site).await };
    scraper.until(0.0, async || has_ended(&site, "gone-a").await).await;
    site.complete("gone-a").await;
    scraper.until(5.0, async || true).await;
    assert_fire("gone", &scraper.text, STRETCH, &["FhirExportOperatorNotLeading".to_owned()].into()).await;
}
