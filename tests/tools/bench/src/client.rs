//! The plain program by the operator's HTTP client and runtime. It sends the same two requests for a file as the
//! operator, and does nothing else: no plan, no token, no limits, no time-outs, no checks.

use std::io::{Error, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use reqwest::Client;
use tokio::runtime::Runtime;

use crate::plain::{BLOCK, Plain, Sums};

/// Lands all files, each with one request.
pub fn run(plain: &Plain) -> Result<()> {
    if plain.shape.longest() > BLOCK {
        return Err(Error::other("some files are too long for one request each"));
    }
    Runtime::new()?.block_on(land_all(plain))
}

async fn land_all(plain: &Plain) -> Result<()> {
    let client = Client::builder().no_proxy().build().map_err(Error::other)?;
    let (plain, next) = (Arc::new(plain.clone()), Arc::new(AtomicU64::new(0)));
    let tasks: Vec<_> = (0..plain.threads)
        .map(|_| tokio::spawn(land(client.clone(), Arc::clone(&plain), Arc::clone(&next))))
        .collect();
    for task in tasks {
        task.await??;
    }
    Ok(())
}

async fn land(client: Client, plain: Arc<Plain>, next: Arc<AtomicU64>) -> Result<()> {
    let Plain { shape, origin, sink, container, .. } = plain.as_ref();
    let (files, store) =
        (format!("http://{origin}/{}/files", shape.name()), format!("http://{sink}/account/{container}"));
    loop {
        let n = next.fetch_add(1, Ordering::Relaxed);
        if n >= shape.files {
            return Ok(());
        }
        let body = client.get(format!("{files}/{n}")).send().await.map_err(Error::other)?;
        let body = body.error_for_status().map_err(Error::other)?.bytes().await.map_err(Error::other)?;
        let mut sums = Sums::default();
        sums.add(&body);
        let mut put = client.put(format!("{store}/{n}.ndjson")).header("If-None-Match", "*");
        put = put.header("x-ms-version", "2023-11-03").header("x-ms-blob-type", "BlockBlob");
        for (name, value) in sums.metadata() {
            put = put.header(name, value);
        }
        let stored = put.body(body).send().await.map_err(Error::other)?;
        if stored.status().as_u16() != 201 {
            return Err(Error::other(format!("the account answered {}", stored.status())));
        }
    }
}
