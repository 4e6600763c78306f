//! The whole operator, with a FHIR server in memory.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Parser;
use fhir_export_operator::api::FhirServer;
use fhir_export_operator::config::{Config, RunArgs};
use fhir_export_operator::operator::operate::operate;
use fhir_export_operator::stop::Stop;
use kube::api::{DeleteParams, ListParams};
use kube::{Api, Client, ResourceExt};
use stage::{free_port, wait_for, wait_until};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::fake::{FakeServer, NoStorage};
use crate::place::{SOON, exports, make_export, make_server, namespace};

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: RunArgs,
}

pub struct Running {
    pub stop: oneshot::Sender<()>,
    pub work: JoinHandle<Result<(), Stop>>,
    config: Config,
}

pub async fn start(client: &Client, namespace: &str, server: &FakeServer) -> Running {
    let line = format!(
        "run --watch-namespaces {namespace} --metrics-addr 127.0.0.1:{} --health-addr 127.0.0.1:{} \
         --poll-floor-seconds 0.1 --missing-retry-seconds 60",
        free_port().unwrap(),
        free_port().unwrap(),
    );
    let config = Line::parse_from(line.split_whitespace()).args.resolve().unwrap();
    let (stop, stopping) = oneshot::channel();
    let work = tokio::spawn(operate(
        config.clone(),
        client.clone(),
        None,
        (server.clone(), NoStorage, None),
        async {
            let _ = stopping.await;
        },
    ));
    let address = config.health_addr;
    wait_until("readiness", SOON, || async {
        get(address, "readyz").await.is_some_and(|(code, _)| code == 200)
    })
    .await
    .unwrap();
    Running { stop, work, config }
}

async fn get(address: SocketAddr, path: &str) -> Option<(u16, String)> {
    let answer = reqwest::get(format!("http://{address}/{path}")).await.ok()?;
    Some((answer.status().as_u16(), answer.text().await.ok()?))
}

async fn state(client: &Client, namespace: &str, name: &str) -> Option<&'static str> {
    exports(client, namespace).get(name).await.unwrap().status?.state_word()
}

#[tokio::test]
async fn what_is_in_flight_reaches_its_status_before_the_operator_stops() {
    let client = namespace("in-flight").await;
    let server = FakeServer::new();
    let running = start(&client, "in-flight", &server).await;
    let Running { stop, mut work, config } = running;

    // The server does not exist yet. When it is created, the export continues at once, not at the next retry.
    make_export(&client, "in-flight", "one").await;
    wait_until("the export to wait", SOON, || async {
        state(&client, "in-flight", "one").await == Some("Waiting")
    })
    .await
    .unwrap();
    make_server(&client, "in-flight").await;
    let mut kick_offs = server.kick_offs();
    tokio::time::timeout(SOON, kick_offs.wait_for(|count| *count == 1)).await.unwrap().unwrap();

    stop.send(()).unwrap();
    wait_until("the operator to say that it stops", SOON, || async {
        get(config.health_addr, "readyz")
            .await
            .is_some_and(|(code, text)| code == 503 && text.contains("stopping"))
    })
    .await
    .unwrap();
    make_export(&client, "in-flight", "late").await;
    let too_soon = tokio::time::timeout(Duration::from_millis(500), &mut work).await;
    assert!(too_soon.is_err(), "the kick-off has no answer yet, but it ended: {too_soon:?}");

    server.answer(10);
    tokio::time::timeout(SOON, work).await.unwrap().unwrap().unwrap();
    let one = exports(&client, "in-flight").get("one").await.unwrap();
    let job = one.status.and_then(|s| s.job).unwrap();
    assert_eq!(job.status_url.as_deref(), Some("https://clinic.example.org/_operations/export/1"));
    assert_eq!(*kick_offs.borrow(), 1, "nothing new was begun");
    let late = exports(&client, "in-flight").get("late").await.unwrap();
    assert_eq!(late.status.and_then(|s| s.state), None);
}

#[tokio::test]
async fn the_credentials_of_a_server_that_is_deleted_are_dropped() {
    let client = namespace("forgotten").await;
    let server = FakeServer::new();
    let running = start(&client, "forgotten", &server).await;
    make_server(&client, "forgotten").await;
    let servers: Api<FhirServer> = Api::namespaced(client.clone(), "forgotten");
    let clinic = servers.list(&ListParams::default()).await.unwrap().items.pop().unwrap();
    servers.delete(&clinic.name_any(), &DeleteParams::default()).await.unwrap();
    let mut forgotten = server.forgotten();
    let uid = clinic.uid().unwrap();
    tokio::time::timeout(SOON, forgotten.wait_for(|all| all.contains(&uid))).await.unwrap().unwrap();
    running.stop.send(()).unwrap();
    tokio::time::timeout(SOON, running.work).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn metrics_and_health_are_served() {
    let client = namespace("served").await;
    let server = FakeServer::new();
    server.answer(10);
    make_server(&client, "served").await;
    make_export(&client, "served", "one").await;
    let running = start(&client, "served", &server).await;
    assert_eq!(get(running.config.health_addr, "livez").await.unwrap().0, 200);
    let lines = [
        r#"fhir_export_runs{state="Running"} 1"#,
        r#"fhir_export_http_requests_total{op="kickoff",code_class="2xx"} 1"#,
        r#"fhir_export_http_requests_total{op="metadata",code_class="2xx"}"#,
        r#"fhir_export_status_writes_total{kind="FhirExport"}"#,
        r#"fhir_export_reconciles_total{kind="FhirServer",outcome="done"}"#,
        r#"fhir_export_build_info{version=""#,
    ];
    // Only servers and schedules are named.
    let names_too_much = |text: &str| {
        let mut named = text.lines().filter(|line| line.contains("served"));
        named.any(|line| !line.starts_with("fhir_export_server_"))
    };
    wait_for("the metrics", SOON, || async {
        let (_, text) = get(running.config.metrics_addr, "metrics").await.unwrap();
        match lines.iter().find(|line| !text.contains(**line)) {
            Some(line) => Err(format!("{line} is not in\n{text}")),
            None if names_too_much(&text) || text.contains("=\"one\"") => {
                Err(format!("a name is in\n{text}"))
            }
            None => Ok(()),
        }
    })
    .await
    .unwrap();
    running.stop.send(()).unwrap();
    tokio::time::timeout(SOON, running.work).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn an_address_in_use_is_told() {
    let client = namespace("address").await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let line = format!("run --metrics-addr {}", taken.local_addr().unwrap());
    let config = Line::parse_from(line.split_whitespace()).args.resolve().unwrap();
    let done =
        operate(config, client, None, (FakeServer::new(), NoStorage, None), std::future::pending()).await;
    let told = done.unwrap_err().to_string();
    assert!(told.contains("cannot listen on") && told.contains("choose another"), "{told}");
}

#[tokio::test]
async fn a_stop_while_the_definitions_are_missing_ends_at_once() {
    // Nothing listens on port 9.
    let mut nowhere = kube::Config::new("http://127.0.0.1:9".parse().unwrap());
    nowhere.default_retry = false;
    let client = Client::try_from(nowhere).unwrap();
    let line = format!("run --metrics-addr 127.0.0.1:0 --health-addr 127.0.0.1:{}", free_port().unwrap());
    let config = Line::parse_from(line.split_whitespace()).args.resolve().unwrap();
    let health = config.health_addr;
    let (stop, stopping) = oneshot::channel::<()>();
    let work = tokio::spawn(operate(config, client, None, (FakeServer::new(), NoStorage, None), async {
        let _ = stopping.await;
    }));
    wait_until("readiness to say why not", SOON, || async {
        get(health, "readyz").await.is_some_and(|(code, text)| code == 503 && text.contains("did not answer"))
    })
    .await
    .unwrap();
    stop.send(()).unwrap();
    tokio::time::timeout(SOON, work).await.unwrap().unwrap().unwrap();
}
