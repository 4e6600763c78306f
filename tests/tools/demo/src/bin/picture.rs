//! Draws a terminal with what `make demo` printed: text on standard input becomes an SVG on standard output.

use std::fmt::Write as _;
use std::io::{self, Read as _, Write as _};

/// The widest line, in characters; longer ones go on in the next.
const COLUMNS: usize = 118;
/// How far the rest of a long line is indented, in characters.
const REST: usize = 30;
/// The width of a character, in pixels.
const CHARACTER: f64 = 7.8;
/// The height of a line, in pixels.
const LINE: f64 = 19.0;
/// The space around the text, in pixels.
const EDGE: f64 = 22.0;

/// What is left out, to keep the picture small: lines that say in other words what a line beside them says, and the
/// list of files at the end.
const LEFT_OUT: [&str; 15] = [
    "  note: ",
    "  NotTried: ",
    "  ContainerListed: ",
    "  Probing: ",
    "  Starting",
    "  Allowed: ",
    "  Reachable: ",
    "  Finished: ",
    "  Waiting",
    " unchanged",
    ": complete: ",
    ": failed: ",
    ": cancelled; ",
    "  target/",
    "  and ",
];

/// What a line shows, which is how it is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shows {
    /// The title of a chapter.
    Title,
    /// A command.
    Prompt,
    /// A fact that the demonstration has checked.
    Fact,
    /// What the demonstration does to the program.
    Event,
    /// Anything else, mostly the program's own words.
    Words,
}

impl Shows {
    fn of(line: &str) -> Self {
        let text = line.trim_start();
        let title = text.split_once(". ").is_some_and(|(number, _)| number.parse::<u8>().is_ok());
        if line == text && title {
            Self::Title
        } else if text.starts_with("$ ") {
            Self::Prompt
        } else if text.starts_with("[ok] ") {
            Self::Fact
        } else if text.starts_with("-- ") {
            Self::Event
        } else {
            Self::Words
        }
    }

    const fn colour(self) -> &'static str {
        match self {
            Self::Title => "#ffffff",
            Self::Prompt => "#79c0ff",
            Self::Fact => "#7ee787",
            Self::Event => "#ffa657",
            Self::Words => "#c9d1d9",
        }
    }
}

/// The lines of the chapters in which something happens: all but the first, which shows the manifests.
fn chapters(shown: &str) -> impl Iterator<Item = &str> {
    let happens = shown.lines().skip_while(|line| !line.starts_with("2. "));
    let told = happens.filter(|line| !LEFT_OUT.iter().any(|words| line.contains(words)));
    told.map(|line| line.trim_end_matches(" The files:"))
}

/// Breaks a line between words where it is too long.
fn broken(line: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    for word in line.split_inclusive(' ') {
        let last = parts.last_mut();
        match last.filter(|last| last.chars().count() + word.trim_end().chars().count() <= COLUMNS) {
            Some(last) => last.push_str(word),
            None => parts.push(format!("{:REST$}{word}", "")),
        }
    }
    parts
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Places a number of characters or lines in pixels.
fn pixels(count: usize, each: f64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX)) * each
}

/// The SVG. Each line is as long as its characters, whatever font shows it.
fn picture(shown: &str) -> String {
    let shown = shown.trim_end();
    let lines: Vec<(Shows, String)> = chapters(shown)
        .flat_map(|line| broken(line.trim_end()).into_iter().map(|part| (Shows::of(line), part)))
        .collect();
    let (width, height) = (pixels(COLUMNS, CHARACTER) + 2.0 * EDGE, pixels(lines.len(), LINE) + 2.0 * EDGE);
    // Writing to a String cannot fail.
    let mut svg = String::new();
    let _ = writeln!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\" \
         aria-label=\"The output of make demo\">\n\
         <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"#0d1117\"/>\n\
         <g font-family=\"ui-monospace, Menlo, Consolas, monospace\" font-size=\"13\" \
         xml:space=\"preserve\">"
    );
    for (number, (shows, line)) in lines.iter().enumerate() {
        let text = line.trim();
        let (indent, length) =
            (line.chars().count() - line.trim_start().chars().count(), text.chars().count());
        if length == 0 {
            continue;
        }
        let (x, y) = (EDGE + pixels(indent, CHARACTER), EDGE + pixels(number, LINE) + LINE * 0.7);
        let _ = writeln!(
            svg,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" textLength=\"{:.1}\" fill=\"{}\">{}</text>",
            pixels(length, CHARACTER),
            shows.colour(),
            escaped(text)
        );
    }
    svg.push_str("</g>\n</svg>\n");
    svg
}

fn main() -> io::Result<()> {
    let mut shown = String::new();
    io::stdin().read_to_string(&mut shown)?;
    if chapters(&shown).next().is_none() {
        return Err(io::Error::other("this is not the output of make demo: it has no second chapter"));
    }
    io::stdout().write_all(picture(&shown).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_chapter_is_left_out_and_lines_keep_their_place() {
        let svg = picture(
            "1. Manifests\nurl: x\n\n2. Run\n\n$ run <it> & wait\n  [ok] done\n  12:00:00  it  Finished: so\n",
        );
        assert!(!svg.contains("url: x") && svg.contains(">2. Run</text>"), "{svg}");
        assert!(svg.contains("fill=\"#79c0ff\">$ run &lt;it&gt; &amp; wait</text>"), "{svg}");
        assert!(svg.contains("x=\"37.6\"") && svg.contains("fill=\"#7ee787\">[ok] done</text>"), "{svg}");
        assert_eq!(svg.matches("<text ").count(), 3);
    }

    #[test]
    fn long_lines_are_broken_between_words() {
        let line = format!("  12:00:00  name  {}", "word ".repeat(40));
        let parts = broken(line.trim_end());
        assert!(
            parts.len() > 1 && parts.iter().all(|part| part.trim_end().chars().count() <= COLUMNS),
            "{parts:?}"
        );
        assert!(parts.iter().skip(1).all(|part| part.starts_with(&" ".repeat(REST))));
        assert_eq!(parts.iter().map(|part| part.matches("word").count()).sum::<usize>(), 40);
    }
}
