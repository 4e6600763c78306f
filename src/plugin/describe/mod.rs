//! `describe`: the story of an export in sentences.

mod advice;
mod story;

use std::fmt::Write as _;

use jiff::Timestamp;
use serde_json::Value;

use super::connection::Connected;
use super::events::{Told, about};
use super::paint::{Paint, Tone};
use crate::api::{FhirExport, RunState};
use crate::show::{ObjectKind, visible};
use crate::stop::Stop;

/// The width of the labels, in characters.
const LABELS: usize = 11;

/// Reads an export and its events, and returns the story.
pub async fn describe(cluster: &Connected, name: &str, paint: Paint) -> Result<String, Stop> {
    let export = export(cluster, name).await?;
    let events = about(cluster, &export).await;
    Ok(text(&export, &events, Timestamp::now(), paint))
}

/// Reads an export.
pub async fn export(cluster: &Connected, name: &str) -> Result<FhirExport, Stop> {
    parsed(cluster.get(ObjectKind::Export, name).await?)
}

/// An object as this version of the plugin knows it.
pub fn parsed<T: serde::de::DeserializeOwned>(object: Value) -> Result<T, Stop> {
    serde_json::from_value(object).map_err(|e| {
        Stop::because(format!(
            "Another version of the operator wrote this object ({e}): use the plugin of that version, or kubectl \
             describe."
        ))
    })
}

/// The story as text.
fn text(export: &FhirExport, events: &Result<Vec<Told>, String>, now: Timestamp, paint: Paint) -> String {
    let mut text = String::new();
    let state = export.status.as_ref().and_then(|status| status.state);
    let tone = state.map_or(Tone::Neutral, Tone::of_state);
    let mut part = |label: &str, sentences: &str, tone: Tone| {
        if !sentences.is_empty() {
            let label = paint.tint(Tone::Heading, &format!("{label:<LABELS$}"));
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{label} {}", paint.tint(tone, &visible(sentences)));
        }
    };
    part("Export", &story::name(export), Tone::Neutral);
    part("State", state.map_or("New", RunState::as_str), tone);
    part("What", &story::what(export), Tone::Neutral);
    part("When", &story::when(export, now), Tone::Neutral);
    part("Where", &story::whereabouts(export), Tone::Neutral);
    part("Verified", &story::verified(export), Tone::Neutral);
    part("Beware", &story::unsettled(export), Tone::Held);
    part("Why", &advice::why(export), Tone::Neutral);
    part("To do", &advice::to_do(export, now), Tone::Neutral);
    text.push('\n');
    text.push_str(&told(events, now, paint));
    text
}

fn told(events: &Result<Vec<Told>, String>, now: Timestamp, paint: Paint) -> String {
    match events {
        Ok(events) if events.is_empty() => {
            "No events: the API server keeps them for a while only.\n".to_owned()
        }
        Ok(events) => {
            let heading = paint.tint(Tone::Heading, "Events");
            events.iter().fold(heading + "\n", |text, event| format!("{text}  {}\n", event.line(now)))
        }
        Err(why) => format!("The events are not shown: {why}.\n"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
