//! The operator's log, on stderr.

use std::io::IsTerminal;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::Directive;

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// What other crates log and we tell in our own words, once; those who name the crate in the filter get it. The
/// last one writes the URLs of requests to storage, with all of a signed query but the signature.
const REPEATED: [(&str, &str); 3] = [
    ("kube", "kube_client::client::builder=off"),
    ("kube", "kube_runtime::controller=off"),
    ("typespec", "typespec_client_core::http=warn"),
];

/// Begins to log. A second call in one process has no effect.
pub fn begin(format: Option<LogFormat>, filter: &str) {
    let text_wanted = match format {
        Some(format) => format == LogFormat::Text,
        None => std::io::stderr().is_terminal(),
    };
    let lines = tracing_subscriber::fmt().with_env_filter(chosen(filter)).with_writer(std::io::stderr);
    // It can only fail where a test has begun to log already.
    let _ = if text_wanted {
        lines.with_ansi(std::io::stderr().is_terminal()).with_target(false).try_init()
    } else {
        lines.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init()
    };
}

fn chosen(filter: &str) -> EnvFilter {
    let base = EnvFilter::builder().parse_lossy(filter);
    let silent = REPEATED.iter().filter(|(name, _)| !filter.contains(name));
    silent.filter_map(|(_, d)| d.parse::<Directive>().ok()).fold(base, EnvFilter::add_directive)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_repeat_is_silent_unless_it_is_asked_for() {
        for filter in ["info", "debug"] {
            let all = chosen(filter).to_string();
            assert!(REPEATED.iter().all(|(_, silent)| all.contains(silent)), "{all}");
        }
        assert!(!chosen("info,kube_client=debug").to_string().contains("off"));
        assert!(!chosen("typespec_client_core=debug").to_string().contains("warn"));
    }
}
