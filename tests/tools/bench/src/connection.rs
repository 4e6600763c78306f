//! HTTP/1.1 on blocking sockets: as much of it as the servers of the benchmark and its plain program need.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};

use rustix::net::{RecvFlags, SendFlags};

/// How many bytes are read at once while the end of a head is looked for.
const BUFFER: usize = 16 << 10;
/// How many bytes of a body are dropped with one system call.
const DROPPED_AT_ONCE: usize = 1 << 20;

/// One connection, with what was read of it beyond the last head.
pub struct Connection {
    reader: BufReader<TcpStream>,
    /// Memory that the kernel is told of and never writes to.
    dropped: Vec<u8>,
}

/// The head of a request or of an answer.
pub struct Head {
    /// The first line: method and target, or the status.
    pub first: String,
    fields: Vec<(String, String)>,
}

impl Head {
    /// The value of a field, whose name is given in lower case.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    /// All fields, with their names in lower case.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The length of the body in bytes, or 0.
    pub fn length(&self) -> u64 {
        self.field("content-length").and_then(|length| length.parse().ok()).unwrap_or_default()
    }

    /// The second word of the first line: the target of a request, or the status of an answer.
    pub fn second(&self) -> &str {
        self.first.split(' ').nth(1).unwrap_or_default()
    }
}

impl Connection {
    /// Connects to a server on this machine.
    pub fn dial(address: SocketAddr) -> io::Result<Self> {
        Self::over(TcpStream::connect(address)?)
    }

    fn over(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { reader: BufReader::with_capacity(BUFFER, stream), dropped: vec![0; DROPPED_AT_ONCE] })
    }

    /// Reads the next head. Returns `None` if the connection ended before it.
    pub fn head(&mut self) -> io::Result<Option<Head>> {
        let mut line = String::new();
        if self.reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let mut head = Head { first: line.trim_end().to_owned(), fields: Vec::new() };
        loop {
            line.clear();
            self.reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { return Ok(Some(head)) };
            head.fields.push((name.to_ascii_lowercase(), value.trim_start().to_owned()));
        }
    }

    /// Fills `into` with the next bytes of a body.
    pub fn read(&mut self, into: &mut [u8]) -> io::Result<()> {
        self.reader.read_exact(into)
    }

    /// Drops the next bytes of a body. The kernel does not copy them.
    pub fn skip(&mut self, mut length: u64) -> io::Result<()> {
        let buffered = self.reader.buffer().len().min(usize::try_from(length).unwrap_or(usize::MAX));
        self.reader.consume(buffered);
        length -= buffered as u64;
        while length > 0 {
            let most = DROPPED_AT_ONCE.min(usize::try_from(length).unwrap_or(DROPPED_AT_ONCE));
            let into = self.dropped.get_mut(..most).unwrap_or_default();
            let (_, dropped) = rustix::net::recv(self.reader.get_ref(), into, RecvFlags::TRUNC)?;
            if dropped == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            length -= dropped as u64;
        }
        Ok(())
    }

    /// Sends bytes. With `more`, the kernel may wait for those that follow.
    pub fn send(&mut self, mut bytes: &[u8], more: bool) -> io::Result<()> {
        let flags = SendFlags::NOSIGNAL | if more { SendFlags::MORE } else { SendFlags::empty() };
        while !bytes.is_empty() {
            let sent = rustix::net::send(self.reader.get_ref(), bytes, flags)?;
            bytes = bytes.get(sent..).unwrap_or_default();
        }
        Ok(())
    }

    /// Sends the first `length` bytes of a file. The kernel does not copy them to this process.
    pub fn send_file(&mut self, file: &File, length: u64) -> io::Result<()> {
        let mut at = 0;
        while at < length {
            let left = usize::try_from(length - at).unwrap_or(usize::MAX);
            if rustix::fs::sendfile(self.reader.get_ref(), file, Some(&mut at), left)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }
}

/// Serves a port of this machine, each connection by a thread of its own, until this process ends. `answer` is given
/// each connection with the head of each of its requests.
pub fn serve(
    answer: impl Fn(&mut Connection, &Head) -> io::Result<()> + Clone + Send + 'static,
) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = answer.clone();
            std::thread::spawn(move || {
                let mut connection = Connection::over(stream)?;
                while let Some(head) = connection.head()? {
                    answer(&mut connection, &head)?;
                }
                io::Result::Ok(())
            });
        }
    });
    Ok(address)
}
