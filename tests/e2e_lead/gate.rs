//! A gate before the API server, which a test can disturb. It accepts plain HTTP, so that it can answer in place of the
//! API server.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use stage::free_port;
use tokio::io::{AsyncReadExt, AsyncWriteExt, split};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// What the gate does with new and with open connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Forwards everything.
    Open,
    /// Accepts connections and requests, and never answers.
    Silent,
    /// Accepts no connection, and closes those that are open.
    Closed,
    /// Answers 503 to everything.
    Failing,
}

/// A request whose answer the gate holds back: the first that contains `text`.
#[derive(Clone, Debug, Default)]
struct Hold {
    text: String,
    come: bool,
    released: bool,
}

/// A gate before the API server: it ends the operator's plain HTTP, reads its requests, and forwards them by TLS.
pub struct ApiGate {
    port: u16,
    way: watch::Sender<Way>,
    hold: watch::Sender<Hold>,
    work: JoinHandle<()>,
}

impl ApiGate {
    /// Starts a gate before the API server of a kubeconfig, on the runtime of the caller.
    pub async fn start(kubeconfig: &Path) -> Self {
        let text = std::fs::read_to_string(kubeconfig).unwrap();
        let config: serde_json::Value = serde_json::from_str(&text).unwrap();
        let cluster = &config["clusters"][0]["cluster"];
        let server = cluster["server"].as_str().unwrap().strip_prefix("https://").unwrap().to_owned();
        let mut roots = RootCertStore::empty();
        let authority = cluster["certificate-authority"].as_str().unwrap();
        roots.add(CertificateDer::from_pem_file(authority).unwrap()).unwrap();
        let tls = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let (port, way, hold) =
            (free_port().unwrap(), watch::Sender::new(Way::Open), watch::Sender::default());
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let upstream = Upstream { server, tls: TlsConnector::from(Arc::new(tls)), hold: hold.clone() };
        let work = tokio::spawn(serve(listener, way.subscribe(), upstream));
        Self { port, way, hold, work }
    }

    /// The URL on which the gate accepts connections.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Changes what the gate does from now on.
    pub fn go(&self, way: Way) {
        self.way.send_replace(way);
    }

    /// Holds back the answer to the next request with `text` in it.
    pub fn hold_back(&self, text: &str) {
        self.hold.send_replace(Hold { text: text.into(), ..Hold::default() });
    }

    /// Forwards the answer that is held back.
    pub fn let_go(&self) {
        self.hold.send_modify(|hold| hold.released = true);
    }
}

impl Drop for ApiGate {
    fn drop(&mut self) {
        self.work.abort();
    }
}

#[derive(Clone)]
struct Upstream {
    server: String,
    tls: TlsConnector,
    hold: watch::Sender<Hold>,
}

async fn serve(listener: TcpListener, mut way: watch::Receiver<Way>, upstream: Upstream) {
    let address = listener.local_addr().unwrap();
    let (mut listener, mut connections) = (Some(listener), JoinSet::new());
    loop {
        let closed = *way.borrow_and_update() == Way::Closed;
        if closed {
            listener = None;
        } else if listener.is_none() {
            listener = Some(TcpListener::bind(address).await.unwrap());
        }
        let Some(open) = &listener else {
            way.changed().await.unwrap();
            continue;
        };
        tokio::select! {
            accepted = open.accept() => {
                let (stream, way, upstream) = (accepted.unwrap().0, way.clone(), upstream.clone());
                // Tests break connections on purpose, so errors are ignored.
                connections.spawn(async move { let _ = carry(stream, way, upstream).await; });
            }
            changed = way.changed() => if changed.is_err() { return },
        }
    }
}

async fn carry(
    mut stream: TcpStream,
    mut way: watch::Receiver<Way>,
    upstream: Upstream,
) -> std::io::Result<()> {
    let now = *way.borrow_and_update();
    match now {
        Way::Open => {
            tokio::select! {
                done = upstream.exchange(&mut stream) => return done,
                changed = way.changed() => if changed.is_err() { return Ok(()) },
            }
            // Further bytes stay unread.
            if *way.borrow_and_update() == Way::Silent {
                let _ = way.changed().await;
            }
            Ok(())
        }
        Way::Silent => {
            let _ = way.changed().await;
            Ok(())
        }
        Way::Failing => fail(&mut stream).await,
        Way::Closed => Ok(()),
    }
}

impl Upstream {
    async fn exchange(&self, stream: &mut TcpStream) -> std::io::Result<()> {
        let tcp = TcpStream::connect(&self.server).await?;
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let (mut from_server, mut to_server) = split(self.tls.connect(name, tcp).await?);
        let (mut from_client, mut to_client) = stream.split();
        let held = AtomicBool::new(false);
        let there = async {
            let mut chunk = vec![0; 64 << 10];
            loop {
                let read = from_client.read(&mut chunk).await?;
                if read == 0 {
                    return to_server.shutdown().await;
                }
                if self.is_wanted(&chunk[..read]) {
                    held.store(true, Ordering::SeqCst);
                }
                to_server.write_all(&chunk[..read]).await?;
                to_server.flush().await?;
            }
        };
        let back = async {
            let mut chunk = vec![0; 64 << 10];
            loop {
                let read = from_server.read(&mut chunk).await?;
                if read == 0 {
                    return to_client.shutdown().await;
                }
                if held.swap(false, Ordering::SeqCst) {
                    self.hold.subscribe().wait_for(|hold| hold.released).await.unwrap();
                }
                to_client.write_all(&chunk[..read]).await?;
            }
        };
        tokio::select! { done = there => done, done = back => done }
    }

    /// Whether this is the request whose answer is to be held back. Assumes that a request arrives in one chunk.
    fn is_wanted(&self, chunk: &[u8]) -> bool {
        self.hold.send_if_modified(|hold| {
            let text = String::from_utf8_lossy(chunk);
            let first = !hold.come && !hold.text.is_empty() && text.contains(&hold.text);
            hold.come |= first;
            first
        })
    }
}

async fn fail(stream: &mut TcpStream) -> std::io::Result<()> {
    let (mut request, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        let read = stream.read(&mut chunk).await?;
        if read == 0 {
            return Ok(());
        }
        request.extend_from_slice(&chunk[..read]);
        if is_whole(&String::from_utf8_lossy(&request)) {
            break;
        }
    }
    let answer = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

/// Whether `request` holds the whole head and body of a request.
fn is_whole(request: &str) -> bool {
    let Some((head, body)) = request.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().unwrap())
    });
    body.len() >= length.unwrap_or(0)
}
