use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::sleep;

use crate::{Error, Result};

const REBIND_EVERY: Duration = Duration::from_millis(50);
const SLICE: Duration = Duration::from_millis(100);

/// How a relay treats its connections, those that are open too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// As if it were not there.
    Pass,
    /// Nobody listens, and what was open is reset.
    Refuse,
    /// Connections are taken, and no byte passes.
    Hang,
    /// Connections are taken and reset.
    Reset,
    /// So many bytes of answers in a tenth of a second.
    Trickle(usize),
    /// Each connection is closed after so many further bytes of answers.
    Truncate(usize),
}

/// Stands before a server on loopback, at an address of its own. It ends when it is dropped.
#[derive(Debug)]
pub struct Relay {
    port: u16,
    manner: watch::Sender<Manner>,
    accepting: AbortHandle,
}

impl Relay {
    /// Relays to a port of loopback, within the caller's runtime.
    pub async fn start(target: u16) -> Result<Self> {
        let failed = |source| Error::Io { what: "listening for a relay".to_owned(), source };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let (manner, watched) = watch::channel(Manner::Pass);
        let accepting = tokio::spawn(accept(listener, address, target, watched)).abort_handle();
        Ok(Self { port: address.port(), manner, accepting })
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Changes its manner at once.
    pub fn set(&self, manner: Manner) {
        self.manner.send_replace(manner);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Connections live in the set of this task, so that they end with it.
async fn accept(
    listener: TcpListener,
    address: SocketAddr,
    target: u16,
    mut manner: watch::Receiver<Manner>,
) {
    let mut connections = JoinSet::new();
    let mut listener = Some(listener);
    loop {
        while connections.try_join_next().is_some() {}
        let now = *manner.borrow_and_update();
        if now == Manner::Refuse {
            listener = None;
            if manner.changed().await.is_err() {
                return;
            }
            continue;
        }
        let Some(listening) = &listener else {
            // Another program may have the port for an outgoing connection; these pass.
            match TcpListener::bind(address).await {
                Ok(bound) => listener = Some(bound),
                Err(_) => sleep(REBIND_EVERY).await,
            }
            continue;
        };
        tokio::select! {
            changed = manner.changed() => if changed.is_err() { return },
            taken = listening.accept() => {
                let Ok((client, _)) = taken else { continue };
                connections.spawn(relay(client, target, manner.clone()));
            }
        }
    }
}

async fn relay(mut client: TcpStream, target: u16, manner: watch::Receiver<Manner>) {
    let Ok(mut server) = TcpStream::connect((Ipv4Addr::LOCALHOST, target)).await else {
        let _ = client.set_zero_linger();
        return;
    };
    // What is small here is an answer that somebody waits for.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let ended = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let mut there = std::pin::pin!(pump(from_client, to_server, manner.clone(), false));
        let mut back = std::pin::pin!(pump(from_server, to_client, manner, true));
        tokio::select! {
            // A client that has asked all may still wait for the answer.
            ended = &mut there => if ended == Ended::AtItsEnd { back.await } else { ended },
            ended = &mut back => ended,
        }
    };
    if ended == Ended::Reset {
        let _ = (client.set_zero_linger(), server.set_zero_linger());
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Ended {
    AtItsEnd,
    Broken,
    Reset,
}

/// Passes bytes on until there are no more; `answers` is the direction that trickles and is cut.
async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut manner: watch::Receiver<Manner>,
    answers: bool,
) -> Ended {
    let mut buffer = vec![0; 16 << 10];
    let mut left = None;
    loop {
        let now = *manner.borrow_and_update();
        let most = match now {
            Manner::Reset | Manner::Refuse => return Ended::Reset,
            Manner::Hang => {
                if manner.changed().await.is_err() {
                    return Ended::Broken;
                }
                continue;
            }
            Manner::Trickle(bytes) if answers => bytes.clamp(1, buffer.len()),
            Manner::Truncate(bytes) if answers => match *left.get_or_insert(bytes) {
                0 => return Ended::Broken,
                left => left.min(buffer.len()),
            },
            _ => {
                left = None;
                buffer.len()
            }
        };
        let Some(into) = buffer.get_mut(..most) else { return Ended::Broken };
        let read = tokio::select! {
            changed = manner.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return Ended::Broken,
            },
            read = from.read(into) => read,
        };
        let Ok(read) = read else { return Ended::Broken };
        if read == 0 {
            let _ = to.shutdown().await;
            return Ended::AtItsEnd;
        }
        if to.write_all(buffer.get(..read).unwrap_or_default()).await.is_err() {
            return Ended::Broken;
        }
        left = left.map(|left: usize| left.saturating_sub(read));
        if answers && matches!(now, Manner::Trickle(_)) {
            sleep(SLICE).await;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test fails by panicking
mod tests {
    use super::*;

    const SAID: &[u8] = b"twelve bytes";

    /// A server that says the same to everybody, and closes.
    async fn server() -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut asked = [0; 1];
                let _ = stream.read(&mut asked).await;
                let _ = stream.write_all(SAID).await;
            }
        });
        port
    }

    async fn asked(relay: &Relay) -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, relay.port())).await?;
        stream.write_all(b"?").await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok(answer)
    }

    #[tokio::test]
    async fn each_manner_is_what_it_says_and_passes_again_afterwards() {
        let relay = Relay::start(server().await).await.unwrap();
        assert_eq!(asked(&relay).await.unwrap(), SAID);

        relay.set(Manner::Truncate(5));
        assert_eq!(asked(&relay).await.unwrap(), &SAID[..5]);

        relay.set(Manner::Trickle(6));
        let started = tokio::time::Instant::now();
        assert_eq!(asked(&relay).await.unwrap(), SAID);
        assert!(started.elapsed() >= SLICE);

        relay.set(Manner::Reset);
        let reset = asked(&relay).await.map_err(|error| error.kind());
        assert_eq!(reset, Err(std::io::ErrorKind::ConnectionReset));

        relay.set(Manner::Hang);
        let waited = tokio::time::timeout(Duration::from_millis(200), asked(&relay)).await;
        assert!(waited.is_err(), "{waited:?}");

        relay.set(Manner::Refuse);
        let refused = crate::wait_for("a refusal", Duration::from_secs(5), || async {
            match asked(&relay).await.map_err(|error| error.kind()) {
                Err(std::io::ErrorKind::ConnectionRefused) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
        refused.await.unwrap();

        relay.set(Manner::Pass);
        let passes = crate::wait_for("an answer", Duration::from_secs(5), || async {
            asked(&relay).await.map_err(|error| error.to_string())
        });
        assert_eq!(passes.await.unwrap(), SAID);
    }

    #[tokio::test]
    async fn what_hangs_goes_on_when_it_may() {
        let relay = Relay::start(server().await).await.unwrap();
        relay.set(Manner::Hang);
        let waiting = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            relay.set(Manner::Pass);
        };
        let (answer, ()) = tokio::join!(asked(&relay), waiting);
        assert_eq!(answer.unwrap(), SAID);
    }
}
