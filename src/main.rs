//! The program: see `fhir-export-operator --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    fhir_export_operator::cli::main(std::env::args_os())
}
