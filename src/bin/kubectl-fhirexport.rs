//! The plugin of kubectl: see `kubectl fhirexport --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    fhir_export_operator::plugin::main(std::env::args_os())
}
