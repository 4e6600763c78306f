//! `describe`: the story of an export in sentences.

mod advice;
mod story;

use jiff::Timestamp;
use serde_json::Value;

use super::connection::Connected;
use super::events::{Told, about};
use super::paint::{Paint, Tone};
use crate::api::{FhirExport, RunState};
use crate::show::{Line, ObjectKind, Page};
use crate::stop::Stop;

/// The width of the labels, in characters.
const LABELS: usize = 11;

/// Reads an export and its events, and returns the story.
pub async fn describe(cluster: &Connected, name: &str, paint: Paint) -> Result<Page, Stop> {
    let export = export(cluster, name).await?;
    let events = about(cluster, &export).await;
    Ok(page(&export, &events, Timestamp::now(), paint))
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

/// The whole story.
fn page(export: &FhirExport, events: &Result<Vec<Told>, String>, now: Timestamp, paint: Paint) -> Page {
    let mut page = Page::default();
    let state = export.status.as_ref().and_then(|status| status.state);
    let tone = state.map_or(Tone::Neutral, Tone::of_state);
    let mut part = |label: &str, sentences: &str, tone: Tone| {
        if !sentences.is_empty() {
            let mut line = paint.tint(Tone::Heading, &format!("{label:<LABELS$}"));
            line.push(&Line::of(" "));
            line.push(&paint.tint(tone, sentences));
            page.push(&line);
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
    page.push(&Line::default());
    page.extend(told(events, now, paint));
    page
}

fn told(events: &Result<Vec<Told>, String>, now: Timestamp, paint: Paint) -> Vec<Line> {
    match events {
        Ok(events) if events.is_empty() => {
            vec![Line::of("No events: the API server keeps them for a while only.")]
        }
        Ok(events) => {
            let indented = |event: &Told| {
                let mut line = Line::of("  ");
                line.push(&event.line(now));
                line
            };
            std::iter::once(paint.tint(Tone::Heading, "Events")).chain(events.iter().map(indented)).collect()
        }
        Err(why) => vec![Line::of(&format!("The events are not shown: {why}."))],
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
