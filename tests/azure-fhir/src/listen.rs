//! Sockets: http and https, and connections that can be broken on purpose.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use crate::outcome::Answer;

/// A request with its whole body.
pub type WholeRequest = hyper::Request<Vec<u8>>;

/// What answers requests.
pub trait Answering: Send + Sync + 'static {
    /// The answer to `request`.
    fn answer(&self, request: WholeRequest) -> impl Future<Output = Answer> + Send;
}

/// A listening socket that answers until it is dropped.
#[derive(Debug)]
pub struct Socket {
    /// Where it listens.
    pub address: SocketAddr,
    accepting: AbortHandle,
}

impl Socket {
    /// Listens on 127.0.0.1; port 0 is any free one.
    pub async fn open<A: Answering>(
        port: u16,
        tls: Option<TlsAcceptor>,
        answering: Arc<A>,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let address = listener.local_addr()?;
        let accepting = tokio::spawn(accept(listener, tls, answering)).abort_handle();
        Ok(Self { address, accepting })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Connections live in the set of this task, so that they end with it.
async fn accept<A: Answering>(listener: TcpListener, tls: Option<TlsAcceptor>, answering: Arc<A>) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok((stream, _)) = listener.accept().await else { continue };
        let (tls, answering) = (tls.clone(), Arc::clone(&answering));
        connections.spawn(async move {
            let reset = Arc::new(AtomicBool::new(false));
            let wire = Wire { stream, reset: Arc::clone(&reset) };
            match tls {
                None => serve(wire, reset, answering).await,
                Some(acceptor) => {
                    if let Ok(stream) = acceptor.accept(wire).await {
                        serve(stream, reset, answering).await;
                    }
                }
            }
        });
    }
}

async fn serve<A: Answering, S>(stream: S, reset: Arc<AtomicBool>, answering: Arc<A>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let service = service_fn(|request: hyper::Request<Incoming>| {
        let (answering, reset) = (Arc::clone(&answering), Arc::clone(&reset));
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.map_err(io::Error::other)?.to_bytes().to_vec();
            match answering.answer(hyper::Request::from_parts(parts, body)).await {
                Answer::Reply(reply) => Ok(reply.into_response()),
                Answer::Streamed(response) => Ok(*response),
                Answer::Close => Err(io::Error::other("closed on purpose")),
                Answer::Reset => {
                    reset.store(true, Ordering::Relaxed);
                    Err(io::Error::other("reset on purpose"))
                }
                Answer::Hang => std::future::pending().await,
            }
        }
    });
    let connection =
        pin!(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    // A client that leaves, or an answer that breaks off, is no error of the server.
    let _ = connection.await;
}

/// A TCP stream that is reset instead of closed when it is asked to.
struct Wire {
    stream: TcpStream,
    reset: Arc<AtomicBool>,
}

impl Drop for Wire {
    fn drop(&mut self) {
        if self.reset.load(Ordering::Relaxed) {
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.reset.load(Ordering::Relaxed) {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
