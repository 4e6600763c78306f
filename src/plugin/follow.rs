//! `watch` and `wait`: exports until they end.

use std::collections::{BTreeMap, BTreeSet};
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
use crate::cluster::CallError;
use crate::show::{End, Key, Line, Look, ObjectKind, Page, Show};
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

/// A report of the watch: the name of an export, and its object, `None` if there is none, or why the watch failed.
type Sight = (String, watcher::Result<Option<DynamicObject>>);

/// What became of exports that were waited for.
#[derive(Debug)]
pub struct Endings {
    /// How they ended, by name.
    ends: BTreeMap<String, Ending>,
    /// Why the wait was over before each of them had ended; `None` if each has.
    early: Option<Exit>,
}

impl Endings {
    /// The exit code for somebody who wants the data: success if each export is complete.
    pub fn exit(&self) -> Exit {
        self.exit_if(|ending| matches!(ending, Ending::Ended(End::Complete(_))))
    }

    /// The exit code for somebody who cancelled the exports: success if each is cancelled. The cancel came too late for
    /// one that is complete.
    pub fn exit_of_cancel(&self) -> Exit {
        self.exit_if(|ending| matches!(ending, Ending::Ended(End::Cancelled)))
    }

    fn exit_if(&self, wanted: impl Fn(&Ending) -> bool) -> Exit {
        let ended = if self.ends.values().all(wanted) { Exit::Done } else { Exit::Unsuccessful };
        self.early.unwrap_or(ended)
    }
}

/// Exports that are waited for, and what is known of them.
struct Awaited<'n> {
    names: &'n [String],
    /// The names of those that exist or have existed.
    seen: BTreeSet<String>,
    ends: BTreeMap<String, Ending>,
}

impl<'n> Awaited<'n> {
    /// Waits for `names`, of which `known` exist or have existed.
    fn new(names: &'n [String], known: &[String]) -> Self {
        Self { names, seen: known.iter().cloned().collect(), ends: BTreeMap::new() }
    }

    /// Takes in how an export is now.
    fn there(&mut self, name: String, look: &Look) {
        if let Some(end) = look.end() {
            self.ends.entry(name.clone()).or_insert(Ending::Ended(end));
        }
        self.seen.insert(name);
    }

    /// Takes in that an export does not exist: it was deleted if it ever existed, and else is yet to be created.
    fn absent(&mut self, name: String) {
        if self.seen.contains(&name) {
            self.ends.entry(name).or_insert(Ending::Deleted);
        }
    }

    /// The names of those that have not ended.
    fn left(&self) -> Vec<&'n str> {
        self.names.iter().filter(|name| !self.ends.contains_key(*name)).map(String::as_str).collect()
    }
}

/// Waits for the exports that the flags name.
pub async fn follow(cluster: &Connected, args: &FollowArgs, telling: Telling) -> Result<Exit, Stop> {
    for name in &args.names {
        cluster.get(ObjectKind::Export, name).await?;
    }
    Ok(until_the_end(cluster, &args.names, &args.names, telling, args.limit).await?.exit())
}

/// Waits until the exports have ended, tells how, and returns it. One that is deleted has ended. `known` are those that
/// exist or have existed; any other is waited for until it exists.
pub async fn until_the_end(
    cluster: &Connected,
    names: &[String],
    known: &[String],
    telling: Telling,
    limit: Limit,
) -> Result<Endings, Stop> {
    let mut show = Show::new(telling == Telling::Progress && std::io::stderr().is_terminal());
    let deadline = limit.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let mut awaited = Awaited::new(names, known);
    let outcome = tokio::select! {
        done = watch(cluster, telling, &mut show, &mut awaited) => done.map(|()| None),
        () = until(deadline) => Ok(Some(Exit::TimedOut)),
        _ = tokio::signal::ctrl_c() => Ok(Some(Exit::Interrupted)),
    };
    show.finish();
    for (name, ending) in &awaited.ends {
        Page::from(conclusion(&cluster.namespace, name, ending)).print()?;
    }
    let early = outcome?;
    if let Some(exit) = early {
        Line::of(&left_running(&awaited.left(), &cluster.namespace, exit)).tell();
    }
    Ok(Endings { ends: awaited.ends, early })
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
    telling: Telling,
    show: &mut Show,
    awaited: &mut Awaited<'_>,
) -> Result<(), Stop> {
    let one = |name: &String| -> BoxStream<'static, Sight> {
        let name = name.clone();
        let sights = watcher::watch_object(cluster.objects(ObjectKind::Export), &name).default_backoff();
        sights.map(move |sight| (name.clone(), sight)).boxed()
    };
    let mut sights = stream::select_all(awaited.names.iter().map(one));
    let mut silent = false;
    while !awaited.left().is_empty() {
        // Each stream goes on for ever.
        let Some((name, sight)) = sights.next().await else { return Ok(()) };
        match sight {
            Ok(Some(object)) => {
                silent = false;
                let Some(look) = look(object) else { continue };
                awaited.there(name, &look);
                if telling == Telling::Progress {
                    show.update(look);
                }
            }
            Ok(None) => awaited.absent(name),
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
fn conclusion(namespace: &str, name: &str, ending: &Ending) -> Line {
    let key = Key { kind: ObjectKind::Export, namespace: namespace.to_owned(), name: name.to_owned() };
    let told = match ending {
        Ending::Ended(End::Complete(output)) => format!("complete: {output}"),
        Ending::Ended(End::Failed(why)) => format!("failed: {why}"),
        Ending::Ended(End::Cancelled) => "cancelled".to_owned(),
        Ending::Deleted => "was deleted before its end was seen".to_owned(),
    };
    Line::of(&format!("{} {told}", named(&key)))
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn endings(all: &[&Ending], early: Option<Exit>) -> Endings {
        let ends = all.iter().enumerate().map(|(at, ending)| (at.to_string(), (*ending).clone())).collect();
        Endings { ends, early }
    }

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
    fn each_end_has_its_line_and_its_codes() {
        for (ending, line, code, code_of_cancel) in [
            (
                Ending::Ended(End::Complete("9 resources in 2 files in x/c/f".into())),
                "complete: 9 resources in 2",
                0,
                3,
            ),
            (Ending::Ended(End::Failed("no such \u{1b}[2J".into())), "failed: no such \u{fffd}[2J", 3, 3),
            (Ending::Ended(End::Cancelled), "cancelled", 3, 0),
            (Ending::Deleted, "was deleted before its end was seen", 3, 3),
        ] {
            let said = conclusion("research", "cohort", &ending);
            let said = said.as_str();
            assert!(said.starts_with(&format!("fhirexport.fhirexport.dev/cohort {line}")), "{said}");
            let alone = endings(&[&ending], None);
            assert_eq!(
                (alone.exit().code(), alone.exit_of_cancel().code()),
                (code, code_of_cancel),
                "{said}"
            );
            let done = Ending::Ended(End::Complete(String::new()));
            assert_eq!(
                endings(&[&done, &ending], None).exit().code(),
                code,
                "one that is not complete counts"
            );
            let early = endings(&[&ending], Some(Exit::TimedOut));
            assert_eq!((early.exit(), early.exit_of_cancel()), (Exit::TimedOut, Exit::TimedOut));
        }
    }

    #[test]
    fn what_is_not_there_was_deleted_or_is_yet_to_be_created() {
        let names = ["known".to_owned(), "new".to_owned()];
        let [known, new] = &names;
        let mut awaited = Awaited::new(&names, std::slice::from_ref(known));
        awaited.absent(new.clone());
        assert_eq!(awaited.left(), ["known", "new"]);
        awaited.absent(known.clone());
        assert_eq!(awaited.left(), ["new"], "it exists when the wait begins");
        let key = Key { kind: ObjectKind::Export, namespace: "research".into(), name: new.clone() };
        awaited.there(new.clone(), &Look::at(&key, &json!({ "status": { "state": "Running" } })));
        assert_eq!(awaited.left(), ["new"]);
        awaited.absent(new.clone());
        assert!(awaited.left().is_empty());
        assert!(awaited.ends.values().all(|ending| *ending == Ending::Deleted));
    }

    #[test]
    fn what_is_left_running_is_named() {
        let said = left_running(&["a", "b"], "research", Exit::TimedOut);
        assert!(said.starts_with("the time is over: ") && said.ends_with("watch a b -n research"), "{said}");
    }
}
