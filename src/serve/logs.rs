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

/// Log targets of other crates that are silenced because the operator logs the same in its own words, each
/// with the word in the filter that enables it again. The last one would log URLs of storage requests,
/// including every part of a signed query except the signature.
const REPEATED: [(&str, &str); 3] = [
    ("kube", "kube_client::client::builder=off"),
    ("kube", "kube_runtime::controller=off"),
    ("typespec", "typespec_client_core::http=warn"),
];

/// Starts logging. A second call in the same process has no effect.
pub fn begin(format: Option<LogFormat>, filter: &str) {
    let text_wanted = match format {
        Some(format) => format == LogFormat::Text,
        None => std::io::stderr().is_terminal(),
    };
    let lines = tracing_subscriber::fmt().with_env_filter(chosen(filter)).with_writer(std::io::stderr);
    // This fails only if a test has already started logging.
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
