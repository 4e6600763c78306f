//! The program: see `fhir-export-operator --help`.

#[cfg(feature = "planted")]
compile_error!(
    "the operator is never built with faults that can be planted; build `-p sim --bin planted` instead"
);

use std::process::ExitCode;

fn main() -> ExitCode {
    fhir_export_operator::cli::main(std::env::args_os())
}
