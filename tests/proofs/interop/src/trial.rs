//! The whole run of this program, from the first start to the table.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use fhir_export_operator::api::FhirExportStatus;
use serde_json::Value;

use crate::Result;
use crate::compare::compare;
use crate::exports::{self, Ended, Export};
use crate::fhir::{Compartments, Fhir, Scope};
use crate::lake::Lake;
use crate::objects::{self, CONTAINER, NAMESPACE};
use crate::operator::Operator;
use crate::patients::{Patients, kind};
use crate::schedules;
use crate::shared;
use crate::table::{Row, table};
use crate::world::World;
use stage::{complain, say, timed};

/// How many missing resources are named.
const NAMED: usize = 5;

/// Runs the program. Returns whether all results are as they must be.
pub async fn run(world: &mut World) -> Result<bool> {
    let started = Instant::now();
    say("interop: exports of FHIR servers of others, through the operator into Azurite");
    let patients = world.raise().await?;
    let stage = world.stage()?;
    let client = stage.kubernetes.client().await?;
    let trial = Trial {
        patients,
        lake: Lake::make(&stage.storage, CONTAINER).await?,
        hapi: Fhir::new(&stage.hapi, Compartments::ByDefinition)?,
        sekmet: Fhir::new(&stage.sekmet, Compartments::Own)?,
    };
    trial.fill().await?;
    let test = schedules::test_server().await?;
    objects::install(stage.kubernetes, &client, &stage.storage).await?;
    objects::connect(&client, &stage.storage, &stage.hapi, &stage.sekmet, &test.url()).await?;
    let kubeconfig = stage.kubernetes.admin_kubeconfig();
    let (storage, hapi) = (stage.storage.clone(), stage.hapi.clone());
    world.operator = Some(timed("starting the operator", Operator::start(&kubeconfig, NAMESPACE)).await?);
    let rows = trial.export(&client).await?;
    timed(
        "identical exports of HAPI, one of which loses the answer to its kick-off",
        shared::run(&client, &storage, &hapi),
    )
    .await?;
    let scheduled = timed(
        "two schedules of 30 runs each, from servers whose data change",
        Box::pin(schedules::run(
            &client,
            &trial.lake,
            (&test, &trial.hapi),
            &mut world.operator,
            &kubeconfig,
        )),
    )
    .await?;
    say("");
    for line in table(&rows) {
        say(&line);
    }
    say("");
    for line in schedules::table(&scheduled) {
        say(&line);
    }
    let bad: Vec<&Row> = rows.iter().filter(|row| !row.is_good()).collect();
    bad.iter().try_for_each(|row| explain(row))?;
    let lossy: Vec<&schedules::Row> = scheduled.iter().filter(|row| !row.is_good()).collect();
    for row in &lossy {
        complain(&row.told());
    }
    let (good, bad) = (rows.len() - bad.len(), bad.len());
    let seconds = started.elapsed().as_secs();
    say(&format!(
        "\ninterop: {good} exports are as they must be, {bad} are not; {} schedules lost nothing, {} did; {seconds} s",
        scheduled.len() - lossy.len(),
        lossy.len()
    ));
    Ok(bad == 0 && lossy.is_empty())
}

struct Trial {
    patients: Patients,
    lake: Lake,
    hapi: Fhir,
    sekmet: Fhir,
}

impl Trial {
    /// Loads the patients into both servers.
    async fn fill(&self) -> Result<()> {
        let count = self.patients.resources.len();
        let people = self.patients.ids("Patient").count();
        say(&format!("  {people} patients, {count} resources of {} types", self.patients.types().len()));
        let (hapi, sekmet) = timed("asking both servers for the first time what they are", async {
            tokio::try_join!(self.hapi.software(), self.sekmet.software())
        })
        .await?;
        tokio::try_join!(
            timed(format!("loading {hapi}"), self.hapi.load(&self.patients)),
            timed(format!("loading {sekmet}"), self.sekmet.load(&self.patients)),
        )?;
        Ok(())
    }

    /// Runs the exports and compares the landed files.
    async fn export(&self, client: &kube::Client) -> Result<Vec<Row>> {
        let all = Export::all();
        let ended = timed(format!("{} exports", all.len()), exports::run(client, &all)).await?;
        timed("comparing what landed with what the servers' own searches find", async {
            let (mut found, mut rows) = (Found::new(), Vec::new());
            for end in ended {
                rows.push(self.look(end, &mut found).await?);
            }
            Ok(rows)
        })
        .await
    }

    async fn look(&self, ended: Ended, found: &mut Found) -> Result<Row> {
        let export = ended.export;
        let server = self.server(&export);
        let mut on_server = self.search(&export, found).await?;
        if !export.types.is_empty() {
            on_server.retain(|_, resource| export.types.contains(&kind(resource)));
        }
        let served = match status_url(&ended.status) {
            Some(url) => server.served(url).await?,
            None => Vec::new(),
        };
        let landed = match folder(&ended.status) {
            Some(folder) => self.lake.landed(folder).await?,
            None => Vec::new(),
        };
        let found = compare(&on_server, &served, &landed)?;
        let all = format!("all {}", self.patients.types().len());
        let types = if export.types.is_empty() { all } else { export.types.join(", ") };
        Ok(Row { ended, types, found })
    }

    /// All resources that the server's search finds at an export's level, regardless of its types. Searches once
    /// for all exports of that level.
    async fn search(&self, export: &Export, found: &mut Found) -> Result<BTreeMap<String, Value>> {
        let server = self.server(export);
        let key = (server.url().to_owned(), export.level, export.group);
        if let Some(found) = found.get(&key) {
            return Ok(found.clone());
        }
        let types: Vec<&str> = self.patients.types().into_iter().collect();
        let people: Vec<&str> = match export.group {
            Some(group) => self.patients.members(group),
            None => self.patients.ids("Patient").collect(),
        };
        let scope = if export.level == "System" { Scope::System } else { Scope::Patients(&people) };
        let all = server.find(scope, &types).await?;
        found.insert(key, all.clone());
        Ok(all)
    }

    fn server(&self, export: &Export) -> &Fhir {
        if export.server == "sekmet" { &self.sekmet } else { &self.hapi }
    }
}

/// The results of searches, by server, level and group.
type Found = HashMap<(String, &'static str, Option<&'static str>), BTreeMap<String, Value>>;

fn status_url(status: &FhirExportStatus) -> Option<&str> {
    status.job.as_ref()?.status_url.as_deref()
}

fn folder(status: &FhirExportStatus) -> Option<&str> {
    status.output.as_ref()?.folder.as_deref()
}

/// Prints what is wrong with an export.
fn explain(row: &Row) -> Result<()> {
    let name = row.ended.export.name();
    if !row.ended.is_as_it_must() {
        complain(&format!("\n{name} did not end as it must; its status:\n{}", row.ended.told()?));
    }
    let missing = &row.found.missing;
    let by_server = missing.iter().filter(|missing| !missing.served).count();
    let names: Vec<&str> = missing.iter().take(NAMED).map(|missing| missing.name.as_str()).collect();
    if !missing.is_empty() {
        let names = names.join(", ");
        complain(&format!(
            "{name}: {} missing, {by_server} of them in the server's own files, too: {names}",
            missing.len()
        ));
    }
    if !row.is_counted() {
        complain(&format!("{name}: its status says another number of resources than {}", row.found.landed));
    }
    Ok(())
}
