//! Schedules of incremental exports from servers whose data change all the time, also while exports run. Loading the
//! runs in order must yield the data that the server has at the end.

use std::cell::Cell;
use std::path::Path;
use std::time::Duration;

use bulk_fhir::{Options, Server};
use fhir_export_operator::api::{ChainedRun, FhirExport, FhirExportSchedule, RunMode};
use fhir_export_operator::core::schedule::name_of_token;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use replay::{Differences, Mode, State};
use serde_json::json;
use stage::{say, wait_for};

use crate::changing::{Changing, TYPES};
use crate::fhir::Fhir;
use crate::lake::Lake;
use crate::objects::{NAMESPACE, TEST};
use crate::operator::Operator;
use crate::table::columns;
use crate::{Error, Result};

/// The number of runs of each schedule.
const RUNS: usize = 30;
/// From this run on, nothing is deleted on a server that does not report deletions, and the next run is full.
const FULL_AGAIN: usize = 24;
const RUN_ENDS_WITHIN: Duration = Duration::from_mins(2);
/// The operator is killed each time the two schedules together have finished this many runs.
const KILLED_EVERY: usize = 8;

/// The result of one schedule.
#[derive(Debug)]
pub struct Row {
    server: &'static str,
    failed: usize,
    kills: usize,
    /// The number of deleted resources that would be kept by loading only the runs before the last full one.
    kept_before: usize,
    told: Differences,
}

impl Row {
    /// Whether nothing was lost although runs failed and the operator was killed.
    pub fn is_good(&self) -> bool {
        self.told.none() && self.failed > 0 && self.kills > 0
    }

    /// Describes what is wrong with the schedule, for people.
    pub fn told(&self) -> String {
        let some = |names: &[String]| names.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
        format!(
            "schedule of {}: missing {}; wrongly kept {}",
            self.server,
            some(&self.told.missing),
            some(&self.told.kept)
        )
    }
}

/// The table, with a line for each schedule.
pub fn table(rows: &[Row]) -> Vec<String> {
    let heads = [
        "SCHEDULE OF",
        "RUNS",
        "FAILED",
        "OPERATOR KILLED",
        "CHANGES MADE",
        "CHANGES LANDED",
        "MISSING",
        "WRONGLY KEPT",
        "KEPT BEFORE THE FULL RUN",
    ];
    let cells = rows.iter().map(|row| {
        let numbers = [
            RUNS,
            row.failed,
            row.kills,
            row.told.made,
            row.told.landed,
            row.told.missing.len(),
            row.told.kept.len(),
            row.kept_before,
        ];
        std::iter::once(row.server.to_owned()).chain(numbers.iter().map(usize::to_string)).collect()
    });
    let heads = heads.map(str::to_owned).to_vec();
    columns(&std::iter::once(heads).chain(cells).collect::<Vec<_>>(), 1..9)
}

/// Starts the project's test server.
pub async fn test_server() -> Result<Server> {
    Ok(Server::start(Options::default()).await?)
}

/// Runs both schedules, kills the operator repeatedly, and compares the results with the servers' data.
pub async fn run(
    client: &Client,
    lake: &Lake,
    (test, hapi): (&Server, &Fhir),
    operator: &mut Option<Operator>,
    kubeconfig: &Path,
) -> Result<Vec<Row>> {
    let (done, over) = (Cell::new(0), Cell::new(false));
    let follow = |server, changing, overlap| Schedule {
        schedules: Api::namespaced(client.clone(), NAMESPACE),
        exports: Api::namespaced(client.clone(), NAMESPACE),
        lake,
        server,
        changing,
        overlap,
        done: &done,
        chain: Vec::new(),
        failed: 0,
        kept_before: 0,
    };
    // HAPI dates a change to the start of its transaction, which is before the change becomes visible.
    let both = async {
        let both = tokio::try_join!(
            follow(TEST, Changing::Test(test), 0).follow(),
            follow("hapi", Changing::Rest(hapi), 300).follow(),
        );
        over.set(true);
        both
    };
    let ((mut test, mut hapi), kills) = tokio::try_join!(both, kill(operator, kubeconfig, &done, &over))?;
    (test.kills, hapi.kills) = (kills, kills);
    Ok(vec![test, hapi])
}

/// Kills the operator each time [`KILLED_EVERY`] more runs have ended, and restarts it.
async fn kill(
    operator: &mut Option<Operator>,
    kubeconfig: &Path,
    done: &Cell<usize>,
    over: &Cell<bool>,
) -> Result<usize> {
    let mut kills = 0;
    while !over.get() {
        if done.get() >= (kills + 1) * KILLED_EVERY {
            if let Some(operator) = operator.take() {
                operator.kill().await?;
            }
            *operator = Some(Operator::start(kubeconfig, NAMESPACE).await?);
            kills += 1;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(kills)
}

/// A disturbance of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mishap {
    None,
    JobFails,
    Cancelled,
    Deleted,
}

struct Schedule<'a> {
    schedules: Api<FhirExportSchedule>,
    exports: Api<FhirExport>,
    lake: &'a Lake,
    server: &'static str,
    changing: Changing<'a>,
    overlap: i64,
    done: &'a Cell<usize>,
    chain: Vec<ChainedRun>,
    failed: usize,
    kept_before: usize,
}

impl Schedule<'_> {
    async fn follow(mut self) -> Result<Row> {
        self.create().await?;
        let (stop, deletes) = (Cell::new(false), Cell::new(true));
        let changing = self.changing;
        let runs = async {
            for number in 0..RUNS - 1 {
                if number == FULL_AGAIN && matches!(changing, Changing::Rest(_)) {
                    deletes.set(false);
                    self.kept_before = self.kept().await?;
                }
                self.run(number).await?;
            }
            stop.set(true);
            Ok(self)
        };
        let (journal, mut this) = tokio::try_join!(changing.keep_changing(&stop, &deletes), runs)?;
        // One more run covers what changed after the previous one began.
        this.run(RUNS - 1).await?;
        let told = journal.compare(&this.loaded().await?, &changing.all().await?);
        Ok(Row { server: this.server, failed: this.failed, kills: 0, kept_before: this.kept_before, told })
    }

    fn name(&self) -> String {
        format!("{}-changes", self.server)
    }

    /// Creates the schedule. It is due once a year, so that all runs are on request.
    async fn create(&self) -> Result<()> {
        let schedule: FhirExportSchedule = serde_json::from_value(json!({
            "apiVersion": "fhirexport.dev/v1alpha1",
            "kind": "FhirExportSchedule",
            "metadata": { "name": self.name() },
            "spec": {
                "schedule": "0 0 29 2 *",
                "incremental": { "overlapSeconds": self.overlap },
                "template": { "spec": {
                    "serverRef": { "name": self.server },
                    "request": { "level": "System", "types": TYPES },
                } },
            },
        }))?;
        self.schedules.create(&PostParams::default(), &schedule).await?;
        Ok(())
    }

    fn mishap(&self, number: usize) -> Mishap {
        match (self.changing, number) {
            (Changing::Test(_), 4 | 9..=11 | 20) => Mishap::JobFails,
            (_, 6 | 15 | 22) => Mishap::Cancelled,
            (_, 13 | 26) => Mishap::Deleted,
            _ => Mishap::None,
        }
    }

    async fn run(&mut self, number: usize) -> Result<()> {
        let mishap = self.mishap(number);
        if mishap == Mishap::JobFails && !self.changing.next_job_fails() {
            return Err(Error::Operator(format!("no job of {} can be made to fail", self.server)));
        }
        let token = if number == FULL_AGAIN { format!("full-{number}") } else { number.to_string() };
        let patch = json!({ "metadata": { "annotations": { "fhirexport.dev/run-now": token } } });
        let name = self.name();
        self.schedules.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await?;
        let run = name_of_token(&name, &token);
        wait_for(&format!("{run} to be made"), RUN_ENDS_WITHIN, || self.exports.get(&run)).await?;
        match mishap {
            Mishap::Cancelled => {
                let patch = Patch::Merge(json!({ "spec": { "cancel": true } }));
                self.exports.patch(&run, &PatchParams::default(), &patch).await?;
            }
            Mishap::Deleted => {
                self.exports.delete(&run, &DeleteParams::default()).await?;
            }
            Mishap::None | Mishap::JobFails => {}
        }
        let counted = self.taken_in(&run).await?;
        let counts = if mishap == Mishap::None { "" } else { "; it did not go well, on purpose" };
        say(&format!("    {run}: {}{counts}", if counted { "in the chain" } else { "not in the chain" }));
        if !counted {
            self.failed += 1;
            if mishap == Mishap::None {
                return Err(Error::Operator(format!("{run} did not succeed")));
            }
        }
        self.done.set(self.done.get() + 1);
        Ok(())
    }

    /// Waits until the schedule has recorded a run that ended. Returns whether the run is part of the chain.
    async fn taken_in(&mut self, run: &str) -> Result<bool> {
        let name = self.name();
        let status = wait_for(&format!("{run} to be taken in"), RUN_ENDS_WITHIN, || async {
            let status = self.schedules.get(&name).await.map_err(|error| error.to_string())?.status;
            let status = status.unwrap_or_default();
            if status.active.is_empty() { Ok(status) } else { Err(format!("{:?}", status.active)) }
        })
        .await?;
        let told = status.chain.unwrap_or_default().history;
        let new = told.into_iter().filter(|run| self.chain.iter().all(|known| known.uid != run.uid));
        let new: Vec<ChainedRun> = new.collect();
        self.chain.extend(new);
        Ok(self.chain.last().is_some_and(|last| last.name == run))
    }

    /// The resources that loading the chain's runs in order yields.
    async fn loaded(&self) -> Result<State> {
        let mut state = State::default();
        for run in &self.chain {
            let mode = if run.mode == RunMode::Full { Mode::Full } else { Mode::Incremental };
            state.load(mode, &self.lake.run(run.folder.as_deref()).await?);
        }
        Ok(state)
    }

    /// The number of loaded resources that the server no longer has.
    async fn kept(&self) -> Result<usize> {
        let (known, there) = (self.loaded().await?, self.changing.all().await?);
        Ok(known.resources().keys().filter(|name| !there.resources().contains_key(*name)).count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_may_be_lost_and_something_must_have_failed() {
        let row = |made, landed, failed, kept: &[&str]| Row {
            server: TEST,
            failed,
            kills: 1,
            kept_before: 0,
            told: Differences {
                made,
                landed,
                missing: Vec::new(),
                kept: kept.iter().map(|name| (*name).to_owned()).collect(),
            },
        };
        assert!(row(100, 100, 3, &[]).is_good());
        assert!(!row(100, 99, 3, &[]).is_good());
        assert!(!row(100, 100, 0, &[]).is_good());
        assert!(!row(100, 100, 3, &["Patient/1"]).is_good());
        let lines = table(&[row(100, 100, 3, &[])]);
        assert!(lines.iter().all(|line| line.len() == lines.first().map_or(0, String::len)), "{lines:?}");
    }
}
