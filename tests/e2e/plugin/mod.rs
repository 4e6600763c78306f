//! `kubectl fhirexport` as people use it: on a real API server, with the operator, the Bulk Data test server, Azurite
//! and a volume.

mod bucket;
mod changing;
mod files;
mod journey;
mod mistakes;
mod reading;
mod servers;

use std::path::{Path, PathBuf};

use stage::{Output, Process, ProcessOptions, Tool};

use crate::site::Site;

/// The program, which kubectl finds by its name.
const PROGRAM: &str = env!("CARGO_BIN_EXE_kubectl-fhirexport");

/// The variables that may hold a credential of the person who runs the tests.
const CREDENTIALS: [&str; 8] = [
    "AZURE_STORAGE_SAS_TOKEN",
    "AZURE_TENANT_ID",
    "AZURE_CLIENT_ID",
    "AZURE_CLIENT_SECRET",
    "AZURE_FEDERATED_TOKEN_FILE",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
];

/// The plugin with these arguments, in the namespace of the test.
pub fn plugin(site: &Site, arguments: &[&str]) -> Tool {
    let all = [arguments, &["-n", &site.namespace]].concat();
    let tool = Tool::new(Path::new(PROGRAM), all).unwrap().kubeconfig(&site.kubeconfig);
    CREDENTIALS.iter().fold(tool, |tool, name| tool.env(name, ""))
}

/// Calls the plugin and waits for its end.
pub async fn call(site: &Site, arguments: &[&str]) -> Output {
    plugin(site, arguments).run().await.unwrap()
}

/// Calls the plugin, which has to succeed, and returns its standard output.
pub async fn told(site: &Site, arguments: &[&str]) -> String {
    let output = call(site, arguments).await;
    site.told(output.ok())
}

/// Starts the plugin; what it says, on either output, is in its log.
pub fn start(site: &Site, arguments: &[&str]) -> Process {
    let log: PathBuf = site.folder.path().join(format!("plugin-{}.log", arguments.join("-")));
    let options = ProcessOptions::new(PROGRAM, &log)
        .args(arguments)
        .args(["-n", &site.namespace])
        .env("KUBECONFIG", &site.kubeconfig);
    Process::start(&options).unwrap()
}

/// Asserts how a call ended: its exit code, and a part of what it said on standard error.
pub fn assert_said(output: &Output, code: i32, said: &str) {
    assert_eq!(output.code, code, "{output:?}");
    assert!(output.stderr.contains(said), "{output:?}");
}
