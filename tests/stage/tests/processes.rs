//! A child process ends when it is told to, and never outlives its parent.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a test fails by panicking

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use stage::{Folder, Process, ProcessOptions, Tool, wait_until};

const SOON: Duration = Duration::from_secs(30);

fn shell(folder: &Folder, script: &str) -> Process {
    let log = folder.path().join("log");
    Process::start(&ProcessOptions::new("sh", log).args(["-c", script])).unwrap()
}

/// A zombie has ended: only its parent has not looked yet.
fn runs(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(") ").next().unwrap().starts_with('Z'))
}

#[tokio::test]
async fn a_child_has_its_exit_code_and_its_log() {
    let folder = Folder::new("processes").unwrap();
    let mut child = shell(&folder, "echo out; echo err >&2; exit 3");
    assert_eq!(child.wait().await.unwrap(), 3);
    assert_eq!(child.log_end(), "out\nerr\n");
    let error = child.must_run().unwrap_err().to_string();
    assert!(error.contains("sh ended with 3"), "{error}");
    assert!(error.contains("err"), "{error}");
    child.sigterm().unwrap();
}

#[tokio::test]
async fn a_child_that_can_end_in_order_does() {
    let folder = Folder::new("processes").unwrap();
    let mut child = shell(&folder, "trap 'exit 7' TERM; echo ready; while :; do sleep 0.05; done");
    child.wait_for_log("ready", SOON).await.unwrap();
    assert_eq!(child.stop(SOON).await.unwrap(), Some(7));
}

#[tokio::test]
async fn a_child_that_does_not_end_is_killed() {
    let folder = Folder::new("processes").unwrap();
    let mut child = shell(&folder, "trap '' TERM; echo ready; while :; do sleep 0.05; done");
    child.wait_for_log("ready", SOON).await.unwrap();
    let stopped = child.stop(Duration::from_millis(100)).await.unwrap();
    assert_eq!(stopped, None);
    assert_eq!(child.try_wait().unwrap(), Some(137));
    assert!(!runs(child.pid()));
}

#[tokio::test]
async fn a_child_ends_with_its_value() {
    let folder = Folder::new("processes").unwrap();
    let child = shell(&folder, "exec sleep 600");
    let pid = child.pid();
    assert!(runs(pid));
    drop(child);
    assert!(!runs(pid));
}

#[tokio::test]
async fn a_program_that_is_not_there_says_so_in_the_log() {
    let folder = Folder::new("processes").unwrap();
    let log = folder.path().join("log");
    let mut child = Process::start(&ProcessOptions::new("/nowhere/at-all", log)).unwrap();
    assert_eq!(child.wait().await.unwrap(), 127);
    assert!(child.log_end().contains("/nowhere/at-all"));
}

#[tokio::test]
async fn a_tool_reads_and_says_what_it_gave() {
    let tool = |script| Tool::new(Path::new("sh"), ["-c", script]).unwrap();
    let output =
        tool("cat; echo \"$WORD\" >&2").stdin("in").unwrap().env("WORD", "aside").run().await.unwrap();
    assert_eq!((output.code, output.stdout.as_str()), (0, "in"));
    assert_eq!(output.stderr, "aside\n");

    let failed = tool("echo no >&2; exit 4").run().await.unwrap();
    let error = failed.ok().unwrap_err().to_string();
    assert!(error.contains("ended with 4: no"), "{error}");

    let slow = tool("exec sleep 600").timeout(Duration::from_millis(100));
    let error = slow.run().await.unwrap_err().to_string();
    assert!(error.contains("sleep 600"), "{error}");
}

#[tokio::test]
async fn nothing_outlives_a_parent_that_is_killed() {
    let mut parent = Command::new(env!("CARGO_BIN_EXE_abandon")).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(parent.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let children: Vec<u32> = line.split_whitespace().map(|pid| pid.parse().unwrap()).collect();
    assert_eq!(children.len(), 2, "{line}");
    assert!(children.iter().all(|pid| runs(*pid)));

    parent.kill().unwrap();
    parent.wait().unwrap();
    wait_until("the children to end", SOON, || async { !children.iter().any(|pid| runs(*pid)) })
        .await
        .unwrap();
}
