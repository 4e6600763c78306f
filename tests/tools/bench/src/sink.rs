//! A storage account that costs next to nothing: it drops the bytes of data where they arrive, and keeps what is
//! asked about them. It understands as much of Azure Blob Storage as the operator asks for, from anybody.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use url::form_urlencoded;

use crate::connection::{Connection, Head, serve};

/// The most names in one page of a listing.
const PAGE: usize = 5_000;
const METADATA: &str = "x-ms-meta-";

/// A blob.
#[derive(Clone, Debug, Default)]
pub struct Blob {
    /// Its length in bytes, once it is committed.
    pub bytes: Option<u64>,
    /// Its metadata.
    pub metadata: BTreeMap<String, String>,
    /// The number of requests about it.
    pub requests: u64,
    /// The lengths of the blocks that are not committed, by their ids.
    blocks: BTreeMap<String, u64>,
    /// The bytes of a blob that is not data.
    content: Vec<u8>,
}

#[derive(Default)]
struct State {
    containers: BTreeSet<String>,
    /// The blobs by container and name.
    blobs: BTreeMap<(String, String), Blob>,
    /// When data were committed last.
    last: Option<Instant>,
}

/// The account.
pub struct Sink {
    /// Where it listens.
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Sink {
    /// Starts an account that answers `latency` after each request.
    pub fn start(latency: Duration) -> io::Result<Self> {
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let address = serve(move |connection, head| take(connection, head, &shared, latency))?;
        Ok(Self { address, state })
    }

    /// Creates an empty container.
    pub fn create(&self, container: &str) {
        locked(&self.state).containers.insert(container.to_owned());
    }

    /// The data of a container, and when the last of them were committed.
    pub fn data(&self, container: &str) -> (Vec<Blob>, Option<Instant>) {
        let state = locked(&self.state);
        let of_container = state.blobs.iter().filter(|((of, name), _)| of == container && is_data(name));
        (of_container.map(|(_, blob)| blob.clone()).collect(), state.last)
    }
}

fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_data(name: &str) -> bool {
    name.ends_with(".ndjson") || name.ends_with(".ndjson.gz")
}

/// What a request is about.
struct Asked<'h> {
    method: &'h str,
    container: String,
    /// The name of the blob, empty for requests about the container.
    blob: String,
    query: BTreeMap<String, String>,
}

impl<'h> Asked<'h> {
    fn of(head: &'h Head) -> Self {
        let (path, query) = head.second().split_once('?').unwrap_or((head.second(), ""));
        let decoded = |text: &str| {
            let (text, _) = form_urlencoded::parse(text.as_bytes()).next().unwrap_or_default();
            text.into_owned()
        };
        // The account comes first.
        let rest = path.trim_start_matches('/').split_once('/').map_or("", |(_, rest)| rest);
        let (container, blob) = rest.split_once('/').unwrap_or((rest, ""));
        Self {
            method: head.first.split(' ').next().unwrap_or_default(),
            container: decoded(container),
            blob: decoded(blob),
            query: form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
        }
    }

    fn query(&self, name: &str) -> &str {
        self.query.get(name).map_or("", String::as_str)
    }
}

/// An answer.
struct Answer {
    status: u16,
    /// Header fields, each with the end of its line.
    fields: String,
    body: Vec<u8>,
}

impl Answer {
    fn new(status: u16) -> Self {
        Self { status, fields: String::new(), body: Vec::new() }
    }

    fn refused(status: u16, code: &str) -> Self {
        let body = format!("<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>{code}</Code></Error>")
            .into_bytes();
        Self { status, fields: format!("x-ms-error-code: {code}\r\nContent-Type: application/xml\r\n"), body }
    }

    fn xml(body: String) -> Self {
        Self { status: 200, fields: "Content-Type: application/xml\r\n".to_owned(), body: body.into_bytes() }
    }
}

fn take(from: &mut Connection, head: &Head, state: &Mutex<State>, latency: Duration) -> io::Result<()> {
    let (asked, length) = (Asked::of(head), head.length());
    let mut content = Vec::new();
    if is_data(&asked.blob) && asked.query("comp") != "blocklist" {
        from.skip(length)?;
    } else {
        content.resize(usize::try_from(length).unwrap_or_default(), 0);
        from.read(&mut content)?;
    }
    if !latency.is_zero() {
        std::thread::sleep(latency);
    }
    let is_head = asked.method == "HEAD";
    let Answer { status, fields, body } = answer(&mut locked(state), &asked, head, length, content);
    let length = if is_head { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    let head = format!(
        "HTTP/1.1 {status} .\r\nx-ms-version: 2023-11-03\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nETag: \"0x1\"\r\n\
         Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n{fields}{length}\r\n"
    );
    let body = if is_head { Vec::new() } else { body };
    from.send(&[head.into_bytes(), body].concat(), false)
}

fn answer(state: &mut State, asked: &Asked<'_>, head: &Head, length: u64, content: Vec<u8>) -> Answer {
    let (comp, blob) = (asked.query("comp"), &asked.blob);
    if asked.query("restype") == "container" || asked.container.is_empty() {
        return match (asked.method, comp) {
            ("PUT", "") if state.containers.insert(asked.container.clone()) => Answer::new(201),
            ("PUT", "") => Answer::refused(409, "ContainerAlreadyExists"),
            ("GET", "list") if asked.container.is_empty() => containers(state),
            ("GET", "list") if state.containers.contains(&asked.container) => blobs(state, asked),
            _ => Answer::refused(404, "ContainerNotFound"),
        };
    }
    if !state.containers.contains(&asked.container) {
        return Answer::refused(404, "ContainerNotFound");
    }
    let key = (asked.container.clone(), blob.clone());
    if asked.method != "PUT" {
        return read(state.blobs.get(&key), asked);
    }
    let there = state.blobs.entry(key).or_default();
    there.requests += 1;
    if comp == "block" {
        there.blocks.insert(asked.query("blockid").to_owned(), length);
        return Answer::new(201);
    }
    if there.bytes.is_some() && head.field("if-none-match") == Some("*") {
        return Answer::refused(409, "BlobAlreadyExists");
    }
    let bytes = if comp == "blocklist" { listed(there, &content) } else { Some(length) };
    let Some(bytes) = bytes else { return Answer::refused(400, "InvalidBlockList") };
    there.bytes = Some(bytes);
    there.blocks.clear();
    there.metadata = head
        .fields()
        .filter_map(|(name, value)| Some((name.strip_prefix(METADATA)?.to_owned(), value.to_owned())))
        .collect();
    if is_data(blob) {
        state.last = Some(Instant::now());
    } else {
        there.content = content;
    }
    Answer::new(201)
}

/// The length of a blob that is made of the blocks of a list. `None` if one of them is not there.
fn listed(blob: &Blob, list: &[u8]) -> Option<u64> {
    let list = String::from_utf8_lossy(list);
    let ids = list.split("<Latest>").skip(1).filter_map(|rest| rest.split('<').next());
    ids.map(|id| blob.blocks.get(id)).sum()
}

fn read(blob: Option<&Blob>, asked: &Asked<'_>) -> Answer {
    let committed = blob.and_then(|blob| Some((blob, blob.bytes?)));
    match (asked.method, asked.query("comp"), committed) {
        ("GET", "blocklist", _) if blob.is_some() => {
            Answer::xml("<?xml version=\"1.0\"?><BlockList><UncommittedBlocks/></BlockList>".to_owned())
        }
        ("HEAD", "", Some((_, bytes))) => Answer {
            fields: format!("Content-Length: {bytes}\r\nx-ms-blob-type: BlockBlob\r\n"),
            ..Answer::new(200)
        },
        ("GET", "", Some((blob, _))) => Answer { body: blob.content.clone(), ..Answer::new(200) },
        _ => Answer::refused(404, "BlobNotFound"),
    }
}

fn containers(state: &State) -> Answer {
    let names = state.containers.iter();
    let named = names.map(|name| format!("<Container><Name>{name}</Name><Properties/></Container>"));
    Answer::xml(format!(
        "<?xml version=\"1.0\"?><EnumerationResults><Containers>{}</Containers><NextMarker/></EnumerationResults>",
        named.collect::<String>()
    ))
}

fn blobs(state: &State, asked: &Asked<'_>) -> Answer {
    let (prefix, marker) = (asked.query("prefix"), asked.query("marker"));
    let mut found = state
        .blobs
        .iter()
        .filter(|((container, name), _)| {
            *container == asked.container && name.starts_with(prefix) && name.as_str() > marker
        })
        .filter_map(|((_, name), blob)| Some((name, blob, blob.bytes?)));
    let most = asked.query("maxresults").parse().unwrap_or(PAGE).min(PAGE);
    let (mut items, mut last) = (String::new(), "");
    for (name, blob, bytes) in found.by_ref().take(most) {
        // Writing to a String cannot fail.
        let metadata = blob.metadata.iter().fold(String::new(), |mut text, (name, value)| {
            let _ = write!(text, "<{name}>{value}</{name}>");
            text
        });
        let _ = write!(
            items,
            "<Blob><Name>{name}</Name><Properties><Last-Modified>Thu, 01 Jan 2026 00:00:00 GMT</Last-Modified>\
             <Etag>0x1</Etag><Content-Length>{bytes}</Content-Length><BlobType>BlockBlob</BlobType></Properties>\
             <Metadata>{metadata}</Metadata></Blob>"
        );
        last = name;
    }
    let next = if found.next().is_some() { last } else { "" };
    Answer::xml(format!(
        "<?xml version=\"1.0\"?><EnumerationResults><Blobs>{items}</Blobs><NextMarker>{next}</NextMarker>\
         </EnumerationResults>"
    ))
}
