//! A host of the attacker, which records what is sent to it and answers nothing useful.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A running host, and the requests that it has received.
pub struct Ear {
    port: u16,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Ear {
    /// Starts a host on loopback.
    pub async fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard: Arc<Mutex<Vec<String>>> = Arc::default();
        let all = Arc::clone(&heard);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(hear(stream, Arc::clone(&all)));
            }
        });
        Self { port, heard }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

async fn hear(mut stream: TcpStream, all: Arc<Mutex<Vec<String>>>) {
    let mut request = Vec::new();
    let mut piece = [0; 4096];
    // A request ends when nothing more arrives for a moment.
    while let Ok(Ok(read)) = tokio::time::timeout(Duration::from_millis(200), stream.read(&mut piece)).await {
        if read == 0 {
            break;
        }
        request.extend_from_slice(&piece[..read]);
    }
    if !request.is_empty() {
        all.lock().unwrap().push(String::from_utf8_lossy(&request).into_owned());
    }
    let _ =
        stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
}
