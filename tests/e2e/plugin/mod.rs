//! `kubectl fhirexport` as people use it: on a real API server, with the operator, the Bulk Data test server, Azurite and a
//! volume.

mod changing;
mod files;
mod mistakes;
mod reading;
mod servers;

use std::path::{Path, PathBuf};

use stage::{Output, Process, ProcessOptions, Tool};

use crate::place::Place;

/// The program, which kubectl finds by its name.
const PROGRAM: &str = env!("CARGO_BIN_EXE_kubectl-fhirexport");

/// The variables that may hold a credential of the person who runs the tests.
const CREDENTIALS: [&str; 5] = [
    "AZURE_STORAGE_SAS_TOKEN",
    "AZURE_TENANT_ID",
    "AZURE_CLIENT_ID",
    "AZURE_CLIENT_SECRET",
    "AZURE_FEDERATED_TOKEN_FILE",
];

/// The plugin with these arguments, in the namespace of the place.
pub fn plugin(place: &Place, arguments: &[&str]) -> Tool {
    let all = [arguments, &["-n", &place.site.namespace]].concat();
    let tool = Tool::new(Path::new(PROGRAM), all).unwrap().kubeconfig(&place.site.kubeconfig);
    CREDENTIALS.iter().fold(tool, |tool, name| tool.env(name, ""))
}

/// Calls the plugin and waits for its end.
pub async fn call(place: &Place, arguments: &[&str]) -> Output {
    plugin(place, arguments).run().await.unwrap()
}

/// Calls the plugin, which has to succeed, and returns its standard output.
pub async fn told(place: &Place, arguments: &[&str]) -> String {
    let output = call(place, arguments).await;
    place.site.told(output.ok())
}

/// Starts the plugin; what it says, on either output, is in its log.
pub fn start(place: &Place, arguments: &[&str]) -> Process {
    let log: PathBuf = place.site.folder.path().join(format!("plugin-{}.log", arguments.join("-")));
    let options = ProcessOptions::new(PROGRAM, &log)
        .args(arguments)
        .args(["-n", &place.site.namespace])
        .env("KUBECONFIG", &place.site.kubeconfig);
    Process::start(&options).unwrap()
}

/// Asserts how a call ended: its exit code, and a part of what it said on standard error.
pub fn assert_said(output: &Output, code: i32, said: &str) {
    assert_eq!(output.code, code, "{output:?}");
    assert!(output.stderr.contains(said), "{output:?}");
}
