//! What people are told of objects: progress on stderr (bars on a terminal, elsewhere one line for each change), and
//! whole objects as YAML, JSON or a table.
//!
//! Uses: api, core, stop.

mod key;
mod look;
mod page;
mod print;

use std::collections::BTreeMap;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use jiff::Zoned;

pub use key::{Key, ObjectKind};
pub use look::{End, Look};
pub use page::{Line, Page};
pub use print::{Format, objects, table};

/// The width of names in lines and bars, in characters; longer ones are not cut.
const WIDTH: usize = 16;
/// How often a bar moves while nothing changes.
const TICK: Duration = Duration::from_millis(120);

/// Tells people what happens.
pub struct Show {
    told: BTreeMap<Key, Look>,
    bars: Option<Bars>,
}

#[derive(Default)]
struct Bars {
    all: MultiProgress,
    of: BTreeMap<Key, ProgressBar>,
    /// Whether the bars are hidden. Lines are then printed as they are.
    paused: bool,
}

impl Show {
    /// Draws bars, which is for terminals only, or else prints lines.
    pub fn new(bars: bool) -> Self {
        Self { told: BTreeMap::new(), bars: bars.then(Bars::default) }
    }

    /// Prints a line, above the bars if there are any. Control characters are replaced.
    pub fn say(&self, line: &str) {
        let line = Line::of(line);
        match &self.bars {
            Some(bars) if !bars.paused => {
                // If nobody reads it, the exports matter more.
                let _ = bars.all.println(line.as_str());
            }
            Some(_) | None => line.tell(),
        }
    }

    /// Records the present look of an object without telling it, so that `update` tells only later changes.
    pub fn remember(&mut self, look: Look) {
        self.told.insert(look.key.clone(), look);
    }

    /// Tells what is new about an object.
    pub fn update(&mut self, look: Look) {
        let news = look.news(self.told.get(&look.key), self.bars.is_none());
        if let Some(bars) = &mut self.bars {
            bars.update(&look);
        }
        let time = Zoned::now().strftime("%H:%M:%S").to_string();
        for line in news {
            self.say(&format!("{time}  {:<WIDTH$}  {line}", look.key.name));
        }
        self.told.insert(look.key.clone(), look);
    }

    /// What was last told of an object.
    pub fn last(&self, key: &Key) -> Option<&Look> {
        self.told.get(key)
    }

    /// Hides the bars, so that a question can be asked below the lines.
    pub fn pause(&mut self) {
        if let Some(bars) = &mut self.bars {
            bars.paused = true;
            bars.all.set_draw_target(indicatif::ProgressDrawTarget::hidden());
        }
    }

    /// Draws the bars again.
    pub fn resume(&mut self) {
        if let Some(bars) = &mut self.bars {
            bars.paused = false;
            bars.all.set_draw_target(indicatif::ProgressDrawTarget::stderr());
        }
    }

    /// Removes the bars.
    pub fn finish(&mut self) {
        if let Some(bars) = self.bars.take() {
            // The lines above them say all that they did.
            let _ = bars.all.clear();
        }
    }
}

impl Bars {
    fn update(&mut self, look: &Look) {
        if look.key.kind != ObjectKind::Export {
            return;
        }
        if look.ended {
            if let Some(bar) = self.of.remove(&look.key) {
                bar.finish_and_clear();
            }
            return;
        }
        let bar = self.of.entry(look.key.clone()).or_insert_with(|| {
            let bar = self.all.add(ProgressBar::new(100));
            bar.set_prefix(Line::of(&look.key.name).as_str().to_owned());
            bar.enable_steady_tick(TICK);
            bar
        });
        let template = match look.percent {
            Some(_) => "{prefix:16} {bar:40} {percent:>3}%  {msg}",
            None => "{prefix:16} {spinner} {msg}  {elapsed}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_position(look.percent.unwrap_or(0));
        let message = match &look.progress {
            Some(progress) => Line::of(&format!("{}, {progress}", look.word())),
            None => Line::of(look.word()),
        };
        bar.set_message(message.as_str().to_owned());
    }
}
