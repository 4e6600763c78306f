//! A relay before Azurite that cuts connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

/// What happens when a connection is cut, before the client can notice.
pub type OnCut = Box<dyn Fn(usize) -> futures::future::BoxFuture<'static, ()> + Send + Sync>;

/// Relays to a port of loopback.
pub struct Relay {
    pub port: u16,
    cuts: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Relay {
    /// Cuts each connection after so many bytes of answers, the first `cuts` times.
    pub async fn start(target: &Url, after: usize, cuts: usize, on_cut: OnCut) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let target = target.port().unwrap();
        let done = Arc::new(AtomicUsize::new(0));
        let on_cut = Arc::new(on_cut);
        let counter = Arc::clone(&done);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (done, on_cut) = (Arc::clone(&counter), Arc::clone(&on_cut));
                tokio::spawn(async move {
                    let server = TcpStream::connect(("127.0.0.1", target)).await.unwrap();
                    relay(client, server, after, cuts, &done, &on_cut).await;
                });
            }
        });
        Self { port, cuts: done, task }
    }

    /// The address to use instead of `target`.
    pub fn url(&self, target: &Url) -> Url {
        let mut url = target.clone();
        url.set_port(Some(self.port)).unwrap();
        url
    }

    pub fn cuts(&self) -> usize {
        self.cuts.load(Ordering::SeqCst)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn relay(
    client: TcpStream,
    server: TcpStream,
    after: usize,
    cuts: usize,
    done: &AtomicUsize,
    on_cut: &OnCut,
) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let upstream = tokio::spawn(async move { copy(&mut from_client, &mut to_server).await });
    let mut passed = 0;
    let mut buffer = vec![0; 16 << 10];
    while let Ok(read @ 1..) = from_server.read(&mut buffer).await {
        passed += read;
        if passed > after && done.load(Ordering::SeqCst) < cuts {
            let number = done.fetch_add(1, Ordering::SeqCst) + 1;
            on_cut(number).await;
            break;
        }
        if to_client.write_all(&buffer[..read]).await.is_err() {
            break;
        }
    }
    upstream.abort();
}
