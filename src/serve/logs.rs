//! The operator's log, on stderr.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::Directive;

use crate::config::LogFormat;

/// What other crates log as errors and we tell in our own words, once.
const REPEATED: [&str; 2] = ["kube_client::client::builder=off", "kube_runtime::controller=off"];

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
    if filter.contains("kube") {
        return base;
    }
    REPEATED.iter().filter_map(|d| d.parse::<Directive>().ok()).fold(base, EnvFilter::add_directive)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kube_repeats_is_silent_unless_it_is_asked_for() {
        assert!(chosen("info").to_string().contains("kube_client::client::builder=off"));
        assert!(!chosen("info,kube_client=debug").to_string().contains("off"));
    }
}
