//! Healthy exports beside servers that never answer or trickle, and beside a tenant whose exports are all refused.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use azure_fhir::Script;
use futures::future::join_all;
use futures::{StreamExt, stream};
use jiff::Timestamp;
use serde_json::json;
use stage::wait_for;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::site::{PATIENCE, Site};

/// Exports of each server that never answers or trickles: more than the operator reconciles at once.
const MANY: usize = 70;
/// Exports of the tenant whose server allows none of them.
const REFUSED: usize = 300;
/// Healthy exports that are measured.
const HEALTHY: usize = 30;
/// Polls of each healthy export that find its job running.
const POLLS: u32 = 5;
/// How much later a healthy export may be with these neighbours than alone.
const MARGIN: Duration = Duration::from_secs(1);

/// Starts a server that accepts connections and never answers. The receiver holds the number of kick-offs so far.
async fn silent_server() -> (SocketAddr, watch::Receiver<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (told, kick_offs) = watch::channel(0);
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let told = told.clone();
            tokio::spawn(async move {
                let mut asked = vec![0; 16 << 10];
                while let Ok(read @ 1..) = connection.read(&mut asked).await {
                    if asked.get(..read).is_some_and(|asked| asked.windows(7).any(|part| part == b"$export"))
                    {
                        told.send_modify(|count| *count += 1);
                    }
                }
            });
        }
    });
    (address, kick_offs)
}

/// The time from the creation of an export of the healthy server to its kick-off.
async fn kick_off_takes(site: &Site, name: &str) -> Duration {
    let before = site.kick_offs();
    let began = Instant::now();
    site.export(name, json!({"level": "System"}), json!({})).await;
    let arrived = wait_for("its kick-off", PATIENCE, || async {
        if site.kick_offs() > before { Ok(began.elapsed()) } else { Err("it has not arrived") }
    });
    site.told(arrived.await)
}

#[tokio::test]
async fn exports_on_a_silent_server_hold_up_nobody_else() {
    let site = Site::start("crowd").await;
    let many = json!({"limits": {"maxConcurrentExports": 1000}});
    site.apply_server(many.clone()).await;
    let alone = kick_off_takes(&site, "alone").await;
    let (address, mut kick_offs) = silent_server().await;
    let mut spec = site.server_spec(many).await;
    spec["url"] = format!("http://{address}").into();
    site.apply_server_named("silent", spec).await;
    let names: Vec<String> = (0..MANY).map(|n| format!("silent-{n}")).collect();
    let silent = |name: &String| {
        let (site, name) = (&site, name.clone());
        let spec = json!({"serverRef": {"name": "silent"}});
        async move { site.export(&name, json!({"level": "System"}), spec).await }
    };
    join_all(names.iter().map(silent)).await;
    let full = kick_offs.wait_for(|count| *count >= 32);
    site.told(tokio::time::timeout(PATIENCE, full).await.map(drop));
    for nth in 0..3 {
        let beside = kick_off_takes(&site, &format!("beside-{nth}")).await;
        assert!(beside < alone + MARGIN, "{beside:?}, and {alone:?} alone");
    }
    for nth in 0..3 {
        site.complete(&format!("beside-{nth}")).await;
    }
    assert_eq!(*kick_offs.borrow(), 32, "no more are out at one server");
}

/// Starts a server that answers each request with a body that arrives byte by byte and never ends.
async fn trickling_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut asked = vec![0; 16 << 10];
                let head = b"HTTP/1.1 200 OK\r\nContent-Type: application/fhir+json\r\nContent-Length: 1000000\r\n\r\n";
                if matches!(connection.read(&mut asked).await, Ok(1..)) {
                    let mut sent = connection.write_all(head).await;
                    while sent.is_ok() {
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        sent = connection.write_all(b" ").await;
                    }
                }
            });
        }
    });
    address
}

/// The longest times of healthy exports: from creation to kick-off, and from one poll to the next.
#[derive(Debug)]
struct Lateness {
    kick_off: Duration,
    poll: Duration,
}

/// Runs [`HEALTHY`] exports and measures the longest of each time. Of so few exports, the longest is the p99.
async fn healthy(site: &Site, prefix: &str) -> Lateness {
    let names: Vec<String> = (0..HEALTHY).map(|nth| format!("{prefix}-{nth}")).collect();
    let mut created = Vec::new();
    for name in &names {
        created.push(Timestamp::now());
        site.export(name, json!({"level": "System", "container": name}), json!({})).await;
    }
    for name in &names {
        site.complete(name).await;
    }
    let jobs = site.fhir.jobs();
    let mut late = Lateness { kick_off: Duration::ZERO, poll: Duration::ZERO };
    for (name, created) in names.iter().zip(created) {
        let job = jobs.iter().find(|job| job.container.as_ref() == Some(name)).unwrap();
        late.kick_off = late.kick_off.max(job.created.duration_since(created).unsigned_abs());
        let gaps = site.fhir.poll_gaps(&job.id);
        assert!(gaps.len() >= POLLS as usize, "{name}: {gaps:?}");
        late.poll = gaps.into_iter().max().unwrap().max(late.poll);
    }
    late
}

#[tokio::test]
async fn a_tarpit_a_trickle_and_a_tenant_that_is_refused_delay_nobody() {
    let site = Site::start("neighbours").await;
    site.fhir.script(Script::polls(POLLS).every_time());
    let many = json!({"limits": {"maxConcurrentExports": 1000}});
    site.apply_server(many.clone()).await;
    site.export("first", json!({"level": "System"}), json!({})).await;
    site.complete("first").await;
    let (one, other) = (healthy(&site, "alone-0").await, healthy(&site, "alone-1").await);
    let alone = Lateness { kick_off: one.kick_off.min(other.kick_off), poll: one.poll.min(other.poll) };

    let (silent, mut kick_offs) = silent_server().await;
    let trickling = trickling_server().await;
    for (name, url) in [("silent", format!("http://{silent}")), ("trickling", format!("http://{trickling}"))]
    {
        let mut spec = site.server_spec(many.clone()).await;
        spec["url"] = url.into();
        site.apply_server_named(name, spec).await;
    }
    site.apply_server_named("closed", site.server_spec(json!({"allow": {"levels": ["Group"]}})).await).await;
    for (server, count) in [("silent", MANY), ("trickling", MANY), ("closed", REFUSED)] {
        let create = |nth: usize| {
            let site = &site;
            async move {
                let spec = json!({"serverRef": {"name": server}});
                site.export(&format!("{server}-{nth}"), json!({"level": "System"}), spec).await
            }
        };
        stream::iter(0..count).map(create).buffer_unordered(16).collect::<Vec<_>>().await;
    }
    let full = kick_offs.wait_for(|count| *count >= 32);
    site.told(tokio::time::timeout(PATIENCE, full).await.map(drop));
    site.until_condition(&format!("closed-{}", REFUSED - 1), "Accepted", "False", "NotAllowed").await;

    // A neighbour that delays others does so in every round; a busy machine does not.
    let mut rounds = Vec::new();
    while rounds.len() < 3 {
        let beside = healthy(&site, &format!("beside-{}", rounds.len())).await;
        let in_time = beside.kick_off < alone.kick_off + MARGIN && beside.poll < alone.poll + MARGIN;
        rounds.push(beside);
        if in_time {
            println!("alone {alone:?}, beside the neighbours {rounds:?}");
            return;
        }
    }
    panic!("alone {alone:?}, beside the neighbours {rounds:?}");
}
