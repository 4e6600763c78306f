//! `watch` and `wait`: exports until they end.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::time::Duration;

use clap::Args;
use futures::stream::{self, BoxStream, StreamExt as _};
use jiff::SignedDuration;
use kube::api::DynamicObject;
use kube::runtime::{WatchStreamExt as _, watcher};
use tokio::time::Instant;

use super::connection::Connected;
use super::exit::Exit;
use super::output::named;
use crate::cli::print;
use crate::cluster::CallError;
use crate::show::{End, Key, Look, ObjectKind, Show};
use crate::stop::Stop;

/// The flags of `watch` and `wait`.
#[derive(Debug, Args)]
pub struct FollowArgs {
    /// Names of the exports
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
    #[command(flatten)]
    limit: Limit,
}

/// How long a command waits for the end of exports.
#[derive(Clone, Copy, Debug, Args)]
pub struct Limit {
    /// The longest time to wait, such as 90s or 8h30m; the exports go on after it [default: no limit]
    #[arg(long, value_name = "TIME", value_parser = time)]
    timeout: Option<Duration>,
}

/// Parses a time such as `90s` or `8h30m`.
pub fn time(text: &str) -> Result<Duration, String> {
    let wrong = || format!("use a time such as 90s, 30m or 8h30m instead of {text}");
    let parsed: SignedDuration = text.parse().map_err(|_| wrong())?;
    Duration::try_from(parsed).map_err(|_| wrong())
}

/// What is shown of exports while they are waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Telling {
    /// Bars on a terminal, else a line for each change.
    Progress,
    /// Only how they ended.
    Ends,
}

/// How an export ended for somebody who waited for it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Ending {
    Ended(End),
    /// It was deleted before.
    Deleted,
}

/// What is known of an export that may not be there yet.
type Sight = (String, watcher::Result<Option<DynamicObject>>);

/// Waits for the exports that the flags name.
pub async fn follow(cluster: &Connected, args: &FollowArgs, telling: Telling) -> Result<Exit, Stop> {
    for name in &args.names {
        cluster.get(ObjectKind::Export, name).await?;
    }
    until_the_end(cluster, &args.names, telling, args.limit).await
}

/// Waits until the exports have ended, tells how, and says by the exit code whether all are complete. An export that does
/// not exist is waited for until it does; one that is deleted then has ended.
pub async fn until_the_end(
    cluster: &Connected,
    names: &[String],
    telling: Telling,
    limit: Limit,
) -> Result<Exit, Stop> {
    let mut show = Show::new(telling == Telling::Progress && std::io::stderr().is_terminal());
    let deadline = limit.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let mut ends: BTreeMap<String, Ending> = BTreeMap::new();
    let outcome = tokio::select! {
        done = watch(cluster, names, telling, &mut show, &mut ends) => done.map(|()| None),
        () = until(deadline) => Ok(Some(Exit::TimedOut)),
        _ = tokio::signal::ctrl_c() => Ok(Some(Exit::Interrupted)),
    };
    show.finish();
    for (name, ending) in &ends {
        print(&format!("{}\n", conclusion(&cluster.namespace, name, ending)))?;
    }
    let left: Vec<&str> = names.iter().filter(|name| !ends.contains_key(*name)).map(String::as_str).collect();
    let early = outcome?;
    if let Some(exit) = early {
        eprintln!("{}", left_running(&left, &cluster.namespace, exit));
    }
    Ok(early.unwrap_or_else(|| exit(ends.values())))
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Watches exports until each has ended.
async fn watch(
    cluster: &Connected,
    names: &[String],
    telling: Telling,
    show: &mut Show,
    ends: &mut BTreeMap<String, Ending>,
) -> Result<(), Stop> {
    let one = |name: &String| -> BoxStream<'static, Sight> {
        let name = name.clone();
        let sights = watcher::watch_object(cluster.objects(ObjectKind::Export), &name).default_backoff();
        sights.map(move |sight| (name.clone(), sight)).boxed()
    };
    let mut sights = stream::select_all(names.iter().map(one));
    let mut silent = false;
    let mut seen: BTreeMap<String, Key> = BTreeMap::new();
    while names.iter().any(|name| !ends.contains_key(name)) {
        // Each stream goes on for ever.
        let Some((name, sight)) = sights.next().await else { return Ok(()) };
        match sight {
            Ok(Some(object)) => {
                silent = false;
                let Some(look) = look(object) else { continue };
                seen.insert(name.clone(), look.key.clone());
                if let Some(end) = look.end() {
                    ends.entry(name).or_insert(Ending::Ended(end));
                }
                if telling == Telling::Progress {
                    show.update(look);
                }
            }
            Ok(None) if seen.contains_key(&name) => {
                ends.entry(name).or_insert(Ending::Deleted);
            }
            // It is yet to be created.
            Ok(None) => {}
            Err(error) => {
                let told = lost(&error, &cluster.namespace)?;
                if !std::mem::replace(&mut silent, true) {
                    show.say(&told);
                }
            }
        }
    }
    Ok(())
}

fn look(object: DynamicObject) -> Option<Look> {
    let object = serde_json::to_value(object).ok()?;
    Some(Look::at(&Key::of(&object)?, &object))
}

/// What is said of a watch that failed. Fails itself if trying again cannot help.
fn lost(error: &watcher::Error, namespace: &str) -> Result<String, Stop> {
    let what = format!("watch FhirExports in namespace {namespace}");
    let (watcher::Error::InitialListFailed(cause)
    | watcher::Error::WatchStartFailed(cause)
    | watcher::Error::WatchFailed(cause)) = error
    else {
        return Ok("note: the API server ended the watch; it begins anew".to_owned());
    };
    match CallError::of(cause) {
        refused @ (CallError::Forbidden(_) | CallError::Refused(_) | CallError::NotFound) => {
            Err(Stop::because(refused.told(&what)))
        }
        CallError::Unreachable(why) => Ok(format!(
            "note: the API server does not answer ({why}); the exports go on, and so does this command"
        )),
        CallError::Conflict | CallError::AlreadyExists => {
            Ok("note: the API server ended the watch; it begins anew".to_owned())
        }
    }
}

/// How an export ended, in one line.
fn conclusion(namespace: &str, name: &str, ending: &Ending) -> String {
    let key = Key { kind: ObjectKind::Export, namespace: namespace.to_owned(), name: name.to_owned() };
    let told = match ending {
        Ending::Ended(End::Complete(output)) => format!("complete: {output}"),
        Ending::Ended(End::Failed(why)) => format!("failed: {why}"),
        Ending::Ended(End::Cancelled) => "cancelled".to_owned(),
        Ending::Deleted => "was deleted before it had ended".to_owned(),
    };
    format!("{} {told}", named(&key))
}

/// What is said of exports that are not waited for any longer.
fn left_running(names: &[&str], namespace: &str, why: Exit) -> String {
    let why = match why {
        Exit::TimedOut => "the time is over",
        Exit::Interrupted | Exit::Done | Exit::Unsuccessful => "interrupted",
    };
    let names = names.join(" ");
    format!("{why}: the export goes on; look again with kubectl fhirexport watch {names} -n {namespace}")
}

/// The exit code for exports that ended like this.
fn exit<'e>(mut ends: impl Iterator<Item = &'e Ending>) -> Exit {
    let complete = |ending: &Ending| matches!(ending, Ending::Ended(End::Complete(_)));
    if ends.all(complete) { Exit::Done } else { Exit::Unsuccessful }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_for_kubectl() {
        for (text, seconds) in [("90s", 90), ("30m", 1800), ("8h", 28_800), ("1h30m", 5400), ("0s", 0)] {
            assert_eq!(time(text).unwrap(), Duration::from_secs(seconds), "{text}");
        }
        for text in ["", "soon", "-5s", "8"] {
            assert!(time(text).unwrap_err().starts_with("use a time such as"), "{text}");
        }
    }

    #[test]
    fn each_end_has_its_line_and_its_code() {
        for (ending, line, code) in [
            (
                Ending::Ended(End::Complete("9 resources in 2 files in x/c/f".into())),
                "complete: 9 resources in 2",
                0,
            ),
            (Ending::Ended(End::Failed("no such Group".into())), "failed: no such Group", 3),
            (Ending::Ended(End::Cancelled), "cancelled", 3),
            (Ending::Deleted, "was deleted before it had ended", 3),
        ] {
            let said = conclusion("research", "cohort", &ending);
            assert!(said.starts_with(&format!("fhirexport.fhirexport.dev/cohort {line}")), "{said}");
            assert_eq!(exit([&ending].into_iter()).code(), code, "{said}");
            let done = Ending::Ended(End::Complete(String::new()));
            assert_eq!(exit([&done, &ending].into_iter()).code(), code, "one that is not complete counts");
        }
    }

    #[test]
    fn what_is_left_running_is_named() {
        let said = left_running(&["a", "b"], "research", Exit::TimedOut);
        assert!(said.starts_with("the time is over: ") && said.ends_with("watch a b -n research"), "{said}");
    }
}
