//! `local`: runs the exports and schedules of manifests.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::apply::apply;
use super::container::Container;
use super::follow::Follow;
use super::interrupt::OnInterrupt;
use super::manifests::Manifests;
use super::session::{open, work_until};
use super::state;
use crate::config::Config;
use crate::operator::signals::Signals;
use crate::serve::logs;
use crate::show::{self, Format, Key, ObjectKind, Page, Show};
use crate::stop::Stop;

/// How often the progress of an export is written. In a cluster it is rare, because each write costs an API server
/// something.
const PROGRESS: Duration = Duration::from_secs(1);

/// What to run.
#[derive(Debug)]
pub struct Run {
    /// The files with manifests.
    pub files: Vec<PathBuf>,
    /// A directory for the exported files, instead of the storage of the FhirServers.
    pub container: Option<PathBuf>,
    /// A directory with a subdirectory for each Secret.
    pub secret_dir: Option<PathBuf>,
    /// The state file.
    pub state: PathBuf,
    /// What Ctrl-C does to running jobs.
    pub on_interrupt: OnInterrupt,
    /// The format in which the objects are printed at the end.
    pub output: Option<Format>,
    /// Whether to log what the operator does.
    pub verbose: bool,
    /// How the operator works.
    pub config: Config,
}

/// Applies the manifests and runs the operator until every export of them has ended, or for ever if there is a
/// schedule. Returns what to print on standard output, and the exit code: 0 if every export is complete, 1 if one is
/// not, 130 after an interruption that left or cancelled one.
pub async fn run(run: Run) -> Result<(Page, u8), Stop> {
    let mut signals = Signals::listen()?;
    let mut manifests = Manifests::read(&run.files)?;
    let keys: Vec<Key> = manifests.objects.iter().map(|manifest| manifest.key.clone()).collect();
    let has = |kind: ObjectKind| keys.iter().any(|key| key.kind == kind);
    if !has(ObjectKind::Export) && !has(ObjectKind::Schedule) {
        return Err(Stop::because(
            "There is nothing to export: the files hold no FhirExport and no FhirExportSchedule.",
        ));
    }
    if let Some(directory) = run.secret_dir {
        manifests.secrets.read_also(directory);
    }
    let container = run.container.as_deref().map(Container::new).transpose()?;
    let (objects, is_new) = open(&run.state)?;
    let applied = apply(&objects, &manifests.objects, container.as_ref())?;
    objects.work_on(keys.iter().cloned());

    let verbose = run.verbose;
    logs::begin(None, if verbose { "info" } else { "error" });
    let show = Show::new(!verbose && std::io::stderr().is_terminal());
    for (key, applied) in applied {
        show.say(&format!("{} {} {}", key.kind, key.name, applied.as_str()));
    }
    if is_new {
        show.say(&format!(
            "note: the state is in {}; access by namespace, RBAC, metrics and alerts exist only in a cluster",
            run.state.display()
        ));
    }
    for ignored in &manifests.ignored {
        show.say(&format!("note: {ignored} has no effect without a cluster"));
    }
    if has(ObjectKind::Schedule) {
        show.say("note: schedules run until Ctrl-C; while the command does not run, nothing is exported");
    }
    let mut config = run.config;
    config.tuning.progress_interval = PROGRESS;
    let mut follow = Follow::new(objects.clone(), &keys, run.on_interrupt, show);
    let interrupted = {
        let watch = async |signals: &mut Signals| follow.until_the_end(signals).await;
        work_until(config, &objects, manifests.secrets, container, &mut signals, watch).await?
    };
    let printed = run.output.map(|format| show::objects(format, &follow.objects())).transpose()?;
    Ok((printed.unwrap_or_default(), follow.conclude(interrupted)))
}

/// The objects of a state file: a table, or with `format` whole.
pub fn get(file: &Path, format: Option<Format>) -> Result<Page, Stop> {
    let contents = state::read(file)?.unwrap_or_default();
    let mut objects: Vec<(Key, serde_json::Value)> =
        contents.objects.into_iter().filter_map(|object| Some((Key::of(&object)?, object))).collect();
    objects.sort_by(|one, other| one.0.cmp(&other.0));
    let objects: Vec<serde_json::Value> = objects.into_iter().map(|(_, object)| object).collect();
    match format {
        Some(format) => show::objects(format, &objects),
        None => Ok(show::table(&objects)),
    }
}
