//! The page of flags, docs/reference/flags.md: every command with its arguments, as `--help` tells them.

use std::fmt::Write as _;

use clap::{Arg, Command};

use super::generate::cell;

/// The page of flags of this command and of its subcommands, as Markdown.
pub fn flags_markdown(mut command: Command) -> String {
    command.build();
    let mut text = String::from(
        "# Commands and flags\n\n\
         Every command of the program with its arguments and flags, in the words of `--help`. The chart sets the flags\n\
         of `run` from its values. This page is written by `fhir-export-operator flags`.\n",
    );
    of_command(&mut text, &command, command.get_name());
    text
}

/// Appends the section of `command`, which is called as `called`, and those of its subcommands.
fn of_command(text: &mut String, command: &Command, called: &str) {
    let shown: Vec<&Arg> = command
        .get_arguments()
        .filter(|arg| !arg.is_hide_set() && !matches!(arg.get_id().as_str(), "help" | "version"))
        .collect();
    if !command.has_subcommands() || !shown.is_empty() {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "\n## {called}\n\n{}.", about.trim_end_matches('.'));
    }
    if !shown.is_empty() {
        let _ = writeln!(text, "\n| Argument | | Default | Environment |\n|---|---|---|---|");
    }
    for arg in shown {
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let default: Vec<String> = arg
            .get_default_values()
            .iter()
            .map(|value| value.to_string_lossy())
            .filter(|value| !value.is_empty() && arg.get_action().takes_values())
            .map(|value| format!("`{value}`"))
            .collect();
        let variable = arg.get_env().map(|name| format!("`{}`", name.to_string_lossy())).unwrap_or_default();
        let _ = writeln!(text, "| `{}` | {} | {} | {variable} |", form(arg), cell(&help), default.join(", "));
    }
    for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help" && !inner.is_hide_set())
    {
        of_command(text, inner, &format!("{called} {}", inner.get_name()));
    }
}

/// The argument as one writes it, such as `-f, --file FILES` or `FILE`.
fn form(arg: &Arg) -> String {
    let short = arg.get_short().map(|short| format!("-{short}"));
    let long = arg.get_long().map(|long| format!("--{long}"));
    let flags: Vec<String> = [short, long].into_iter().flatten().collect();
    let names: Vec<&str> =
        arg.get_value_names().unwrap_or_default().iter().map(clap::builder::Str::as_str).collect();
    let value = if arg.get_action().takes_values() { names.join(" ") } else { String::new() };
    [flags.join(", "), value].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use clap::ArgAction;

    use super::*;

    #[test]
    fn every_argument_has_a_row() {
        let run = Command::new("run")
            .about("Run it")
            .arg(
                Arg::new("size")
                    .long("size")
                    .short('s')
                    .value_name("N")
                    .help("How many | of them")
                    .default_value("3"),
            )
            .arg(Arg::new("all").long("all").help("All").action(ArgAction::SetTrue))
            .arg(Arg::new("file").value_name("FILE").help("What to read"));
        let page = flags_markdown(Command::new("tool").subcommand_required(true).subcommand(run));
        for row in [
            "\n## tool run\n\nRun it.\n",
            "| `-s, --size N` | How many \\| of them | `3` |  |",
            "| `--all` | All |  |  |",
            "| `FILE` | What to read |  |  |",
        ] {
            assert!(page.contains(row), "{row} in {page}");
        }
        assert!(!page.contains("## tool\n") && !page.contains("| `-h"), "{page}");
    }
}
