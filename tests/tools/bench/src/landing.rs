//! How fast files land, beside the plain program, which does the same work in turn with the operator.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::figures::{Bar, Figure, median};
use crate::measure::{Measured, cpu, machine};
use crate::plain::{BLOCK, Plain};
use crate::shape::Shape;
use crate::world::World;
use crate::{Error, Result, small};

/// One landing.
struct Run {
    /// From the first request for a file to the last commit, in seconds.
    window: f64,
    /// From the creation of the export to its completion, in seconds.
    wall: f64,
    /// From the creation of the export to the request that starts it, in seconds.
    kick_off: f64,
    /// The CPU time in seconds.
    cpu: f64,
    /// Memory above idle, in MiB.
    memory: f64,
    /// Requests of storage, each file.
    requests: f64,
    /// How many cores other programs of this machine used.
    others: f64,
}

/// What the plain program needed for the same.
struct PlainRun {
    window: f64,
    cpu: f64,
}

/// Lands a shape `rounds` times by the operator and by the plain program, in turn.
pub async fn measure(world: &World, shape: &Shape, rounds: u32, gzip: bool) -> Result<Vec<Figure>> {
    let sums = shape.sums(&world.made())?;
    let (mut ours, mut plain, mut client) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        let name = format!("{}-{round}", shape.name());
        eprintln!("bench: {name}");
        ours.push(Box::pin(by_operator(world, shape, &sums, &name, gzip)).await?);
        if !gzip {
            plain.push(by_plain(world, shape, &sums, &format!("plain-{name}"), false)?);
            if shape.longest() <= BLOCK {
                client.push(by_plain(world, shape, &sums, &format!("client-{name}"), true)?);
            }
        }
    }
    Ok(figures(shape, &ours, &plain, &client))
}

type Sums = BTreeMap<(u64, String), u64>;

async fn by_operator(world: &World, shape: &Shape, sums: &Sums, name: &str, gzip: bool) -> Result<Run> {
    let mut operator = world.operator(name)?;
    Box::pin(world.connect(name, shape, gzip)).await?;
    small::settle().await;
    world.origin.begin();
    let measured = Measured::begin(operator.pid())?;
    let (machine_before, own_before) = (machine()?, cpu(std::process::id())?);
    let (created, ended) = Box::pin(world.land(name)).await?;
    let used = measured.used()?;
    let busy = machine()? - machine_before - (cpu(std::process::id())? - own_before) - used.cpu;
    let asked = world.origin.asked();
    let (requests, last) = landed(world, sums, name)?;
    world.clear(name).await?;
    operator.stop(small::SOON).await?;
    let since = |from: Option<Instant>, to: Option<Instant>| match (from, to) {
        (Some(from), Some(to)) => Ok(to.saturating_duration_since(from).as_secs_f64()),
        _ => Err(Error::Other("no file was asked for".to_owned())),
    };
    let wall = since(Some(created), Some(ended))?;
    Ok(Run {
        window: since(asked.file, last)?,
        wall,
        kick_off: since(Some(created), asked.kick_off)?,
        cpu: used.cpu,
        memory: mib(used.memory),
        requests,
        others: busy / wall,
    })
}

fn by_plain(world: &World, shape: &Shape, sums: &Sums, name: &str, client: bool) -> Result<PlainRun> {
    let (origin, sink) = (world.origin.address, world.sink.address);
    // The operator reads eight files at once; more threads only get in the way of each other.
    let threads = if client { 8 } else { 4 };
    let plain = Plain { shape: shape.clone(), origin, sink, container: name.to_owned(), threads, client };
    world.sink.create(name);
    world.origin.begin();
    let ended =
        Command::new(std::env::current_exe()?).args(plain.args()).stderr(Stdio::inherit()).output()?;
    if !ended.status.success() {
        return Err(Error::Other(format!("the plain program ended with {}", ended.status)));
    }
    let said = String::from_utf8_lossy(&ended.stdout).trim().parse();
    let cpu = said.map_err(|error| Error::Other(format!("the CPU time of the plain program: {error}")))?;
    let (_, last) = landed(world, sums, name)?;
    let first = world.origin.asked().file;
    let (first, last) =
        first.zip(last).ok_or_else(|| Error::Other("the plain program asked for no file".to_owned()))?;
    Ok(PlainRun { window: last.saturating_duration_since(first).as_secs_f64(), cpu })
}

/// Checks that each file landed with its sums, once. Returns the requests of each file, and the time of the last
/// commit.
fn landed(world: &World, sums: &Sums, container: &str) -> Result<(f64, Option<Instant>)> {
    let (blobs, last) = world.sink.data(container);
    let mut found = Sums::new();
    for blob in &blobs {
        let mark = |name: &str| blob.metadata.get(&format!("fhirexport_{name}")).cloned().unwrap_or_default();
        let bytes = mark("bytes").parse().unwrap_or_default();
        let lines: u64 = mark("lines").parse().unwrap_or_default();
        if lines * crate::shape::LINE != bytes || blob.bytes.is_none() {
            return Err(Error::Other(format!("a file of {bytes} bytes landed with {lines} lines")));
        }
        *found.entry((bytes, mark("sha256"))).or_default() += 1;
    }
    if found != *sums {
        return Err(Error::Other(format!("{} files landed, not all of them as they are", blobs.len())));
    }
    let requests: u64 = blobs.iter().map(|blob| blob.requests).sum();
    Ok((ratio(requests, blobs.len() as u64), last))
}

fn figures(shape: &Shape, ours: &[Run], plain: &[PlainRun], client: &[PlainRun]) -> Vec<Figure> {
    let bytes = ratio(shape.total(), 1_000_000);
    let of = |get: &dyn Fn(&Run) -> f64| median(ours.iter().map(get));
    let name = |what: &str| format!("{}: {what}", shape.name());
    let large = shape.longest() > 64 << 20;
    let (speed, files) = (bytes / of(&|run| run.window), ratio(shape.files, 1) / of(&|run| run.window));
    let mut figures = vec![
        Figure::new(name("transfer"), speed, "MB/s", Bar::None),
        Figure::new(name("transfer, files"), files, "files/s", Bar::None),
        Figure::new(name("from apply to Complete"), bytes / of(&|run| run.wall), "MB/s", Bar::None),
    ];
    if !plain.is_empty() {
        let bar = if shape.longest() < 64 << 10 { 0.6 } else { 0.85 };
        let plain_speed = bytes / median(plain.iter().map(|run| run.window));
        let plain_cpu = median(plain.iter().map(|run| run.cpu)) / bytes * 1_000.0;
        figures.extend([
            Figure::new(name("plain program, transfer"), plain_speed, "MB/s", Bar::None),
            Figure::new(name("plain program, CPU"), plain_cpu, "s/GB", Bar::None),
            Figure::new(
                name("transfer, times the plain program's"),
                speed / plain_speed,
                "",
                Bar::AtLeast(bar),
            ),
        ]);
    }
    if !client.is_empty() {
        let client_speed = bytes / median(client.iter().map(|run| run.window));
        let client_cpu = median(client.iter().map(|run| run.cpu)) / bytes * 1_000.0;
        figures.extend([
            Figure::new(name("HTTP client alone, transfer"), client_speed, "MB/s", Bar::None),
            Figure::new(name("HTTP client alone, CPU"), client_cpu, "s/GB", Bar::None),
            Figure::new(name("transfer, times the HTTP client's"), speed / client_speed, "", Bar::None),
        ]);
    }
    let cpu_bar = if large { Bar::AtMost(1.4) } else { Bar::None };
    let cpu = of(&|run| run.cpu) / bytes * 1_000.0;
    figures.extend([
        Figure::new(name("CPU"), cpu, "s/GB", cpu_bar),
        Figure::new(name("requests of storage, each file"), of(&|run| run.requests), "", Bar::None),
        Figure::new(
            name("memory above idle"),
            ours.iter().map(|run| run.memory).fold(0.0, f64::max),
            "MiB",
            Bar::AtMost(64.0),
        ),
        Figure::new(name("from apply to kick-off"), of(&|run| run.kick_off) * 1_000.0, "ms", Bar::None),
        Figure::new(name("cores that other programs used"), of(&|run| run.others), "", Bar::None),
    ]);
    figures
}

/// A number of bytes in MiB.
pub fn mib(bytes: u64) -> f64 {
    ratio(bytes, 1 << 20)
}

#[allow(clippy::cast_precision_loss)] // of figures for people
fn ratio(of: u64, to: u64) -> f64 {
    of as f64 / to as f64
}
