//! The two HTTP listeners: one for metrics, one for health.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;

use super::Health;
use crate::metrics::Metrics;
use crate::stop::Stop;

/// Both listeners, bound to their addresses.
pub struct Listeners {
    /// Address of `/metrics`, with the actual port if 0 was requested.
    pub metrics_addr: SocketAddr,
    /// Address of `/livez` and `/readyz`, with the actual port if 0 was requested.
    pub health_addr: SocketAddr,
    metrics: (TcpListener, Router),
    health: (TcpListener, Router),
}

/// Binds both addresses, so that a port in use is reported at once. `refresh` is called before each scrape.
pub async fn listen(
    metrics_addr: SocketAddr,
    health_addr: SocketAddr,
    metrics: Arc<Metrics>,
    health: Health,
    refresh: impl Fn(&Metrics) + Clone + Send + Sync + 'static,
) -> Result<Listeners, Stop> {
    // A refresh removes series before it adds them again, so no other scrape may read in between.
    let turn = Arc::new(Mutex::new(()));
    let scrape = move || {
        let (metrics, refresh, turn) = (metrics.clone(), refresh.clone(), turn.clone());
        async move {
            let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
            refresh(&metrics);
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], metrics.text())
        }
    };
    let ready = move || {
        let health = health.clone();
        async move {
            match health.why_not() {
                None => (StatusCode::OK, "ready\n".to_string()).into_response(),
                Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
            }
        }
    };
    let metrics = (bind(metrics_addr).await?, Router::new().route("/metrics", get(scrape)));
    let health = Router::new().route("/livez", get(|| async { "alive\n" })).route("/readyz", get(ready));
    let health = (bind(health_addr).await?, health);
    let address = |listener: &TcpListener, asked| listener.local_addr().unwrap_or(asked);
    Ok(Listeners {
        metrics_addr: address(&metrics.0, metrics_addr),
        health_addr: address(&health.0, health_addr),
        metrics,
        health,
    })
}

impl Listeners {
    /// Serves both listeners until the future is dropped.
    pub async fn run(self) -> std::io::Result<()> {
        let metrics = axum::serve(self.metrics.0, self.metrics.1).into_future();
        let health = axum::serve(self.health.0, self.health.1).into_future();
        tokio::try_join!(metrics, health).map(|_| ())
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener, Stop> {
    TcpListener::bind(address).await.map_err(|e| {
        Stop::because(format!("The operator cannot listen on {address}: {e}; choose another address."))
    })
}
