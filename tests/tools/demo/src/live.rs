//! The changes of the exports, one line each, as `kubectl get fexp -w` prints them: the API server itself makes the
//! columns.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use http::Request;
use kube::Client;
use kube::core::WatchEvent;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

use crate::tell::Tell;
use crate::{Error, Result};

const LOOK_EVERY: Duration = Duration::from_millis(100);
/// What kubectl asks for.
const AS_TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";
/// The columns that kubectl shows without `-o wide`, and room for them.
const COLUMNS: [(&str, usize); 7] = [
    ("Name", 12),
    ("Server", 9),
    ("Level", 9),
    ("State", 12),
    ("Progress", 11),
    ("Resources", 12),
    ("Age", 5),
];

/// What the API server says of the exports, while it says it.
#[derive(Debug)]
pub struct Live {
    watch: JoinHandle<()>,
    rows: UnboundedReceiver<Vec<String>>,
    last: HashMap<String, Vec<String>>,
    started: Instant,
}

/// The table of a watch event.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Table {
    column_definitions: Option<Vec<Column>>,
    rows: Vec<Row>,
}

#[derive(Debug, Clone, Deserialize)]
struct Column {
    name: String,
}

#[derive(Debug, Clone, Deserialize)]
struct Row {
    cells: Vec<Value>,
}

impl Live {
    /// Starts to watch the exports of a namespace.
    pub fn start(client: Client, namespace: &str) -> Self {
        let (sender, rows) = unbounded_channel();
        let path = format!("/apis/fhirexport.dev/v1alpha1/namespaces/{namespace}/fhirexports?watch=1");
        let watch = tokio::spawn(async move {
            // The API server ends each watch now and then; what comes twice is no change.
            while !sender.is_closed() {
                let _ = watch(&client, &path, &sender).await;
                tokio::time::sleep(LOOK_EVERY).await;
            }
        });
        Self { watch, rows, last: HashMap::new(), started: Instant::now() }
    }

    /// Says the names of the columns, and counts the seconds before each line from now on.
    pub fn heading(&mut self, tell: &Tell) -> Result<()> {
        self.started = Instant::now();
        let names: Vec<String> = COLUMNS.iter().map(|(name, _)| name.to_uppercase()).collect();
        tell.say(format!("           {}", line(&names)))
    }

    /// Says what changed, until `look` gives a value.
    pub async fn until<T>(
        &mut self,
        tell: &Tell,
        what: &str,
        limit: Duration,
        mut look: impl AsyncFnMut() -> Result<Option<T>>,
    ) -> Result<T> {
        let deadline = Instant::now() + limit;
        loop {
            let found = look().await?;
            // What was seen is on its way here, too.
            tokio::time::sleep(LOOK_EVERY).await;
            self.news(tell)?;
            if let Some(found) = found {
                return Ok(found);
            }
            if Instant::now() > deadline {
                return Err(Error::NotSo(format!("{what} (waited {} s)", limit.as_secs())));
            }
        }
    }

    /// The lines since the last look. A line that differs from the one before in nothing but the age is no change.
    fn news(&mut self, tell: &Tell) -> Result<()> {
        while let Ok(cells) = self.rows.try_recv() {
            let Some((name, but_age)) = cells.first().zip(cells.get(..COLUMNS.len() - 1)) else { continue };
            if self.last.get(name).is_some_and(|last| last == but_age) {
                continue;
            }
            self.last.insert(name.clone(), but_age.to_vec());
            let seconds = self.started.elapsed().as_secs_f64();
            tell.say(format!("  {:>7}  {}", format!("{seconds:.1} s"), line(&cells)))?;
        }
        Ok(())
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

async fn watch(client: &Client, path: &str, sender: &UnboundedSender<Vec<String>>) -> Result<()> {
    let request = Request::get(path).header("Accept", AS_TABLE).body(Vec::new());
    let events = client.request_events::<Table>(request.map_err(kube::Error::HttpError)?).await?;
    let mut events = std::pin::pin!(events);
    let mut order = Vec::new();
    while let Some(event) = events.try_next().await? {
        let (WatchEvent::Added(table) | WatchEvent::Modified(table)) = event else { continue };
        // Only the first event says which columns there are.
        if let Some(columns) = table.column_definitions {
            let place = |(name, _): &(&str, usize)| columns.iter().position(|column| column.name == *name);
            order = COLUMNS.iter().filter_map(place).collect();
        }
        for row in table.rows {
            let cells = order.iter().filter_map(|place| row.cells.get(*place)).map(cell).collect();
            // Nobody listens any more at the end.
            let _ = sender.send(cells);
        }
    }
    Ok(())
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn line(cells: &[String]) -> String {
    let padded = cells.iter().zip(COLUMNS).map(|(cell, (_, width))| format!("{cell:<width$} "));
    padded.collect::<String>().trim_end().to_owned()
}
