//! A server that never answers, with more exports than there are places for reconciles, beside one that does.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::json;
use stage::wait_for;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::site::{PATIENCE, Site};

/// More than the operator reconciles at once.
const MANY: usize = 70;
/// So much later than alone a healthy export may be.
const MARGIN: Duration = Duration::from_secs(1);

/// Takes connections and never says anything. Counts the kick-offs that arrive.
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

/// How long an export of the server that answers takes from its creation to its kick-off.
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
