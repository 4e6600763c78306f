//! On a terminal there are bars, and Ctrl-C asks.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bulk_fhir::Script;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use stage::{Process, wait_for};

use crate::place::{PATIENCE, Place};

/// A terminal as a person sees it.
struct Terminal {
    path: PathBuf,
    keyboard: File,
    screen: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    fn open() -> Self {
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&controller).unwrap();
        unlockpt(&controller).unwrap();
        let path = ptsname(&controller, Vec::new()).unwrap().into_string().unwrap().into();
        let keyboard = File::from(controller);
        let (mut shown, screen) = (keyboard.try_clone().unwrap(), Arc::default());
        let filled: Arc<Mutex<Vec<u8>>> = Arc::clone(&screen);
        // It ends when the last program on the terminal has ended.
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(read) = shown.read(&mut bytes) {
                filled.lock().unwrap().extend(&bytes[..read]);
            }
        });
        Self { path, keyboard, screen }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.screen.lock().unwrap()).into_owned()
    }

    async fn until_shown(&self, text: &str) {
        let shown = || async { if self.text().contains(text) { Ok(()) } else { Err(self.text()) } };
        wait_for(text, PATIENCE, shown).await.unwrap();
    }
}

/// A world whose export runs on the server, followed on a terminal.
async fn running() -> (Place, Terminal, Process) {
    let place = Place::start().await;
    place.fhir.script(Script::stuck());
    let terminal = Terminal::open();
    let arguments = ["local", "-f", "all.yaml", "--container", "lake"];
    let options = place.options(&terminal.path, &arguments).stdin(&terminal.path);
    let process = Process::start(&options.stdout(Path::new("/dev/null"))).unwrap();
    place.until_running().await;
    (place, terminal, process)
}

#[tokio::test]
async fn ctrl_c_asks_and_cancels_the_job() {
    let (place, mut terminal, mut process) = running().await;
    terminal.until_shown("\u{1b}[").await;
    process.sigint().unwrap();
    terminal.until_shown("Cancel the jobs on the servers?").await;
    assert_eq!(place.fhir.jobs()[0].cancel_requests, 0);
    terminal.keyboard.write_all(b"c\n").unwrap();
    let code = process.wait_at_most(PATIENCE).await.unwrap();
    assert_eq!(code, Some(130), "{}", terminal.text());
    assert!(place.fhir.jobs()[0].cancelled_at.is_some());
}

#[tokio::test]
async fn any_other_answer_and_a_second_ctrl_c_leave_the_job() {
    for answer in [Some("\n"), Some("no\n"), None] {
        let (place, mut terminal, mut process) = running().await;
        process.sigint().unwrap();
        terminal.until_shown("Cancel the jobs on the servers?").await;
        match answer {
            Some(answer) => terminal.keyboard.write_all(answer.as_bytes()).unwrap(),
            None => process.sigint().unwrap(),
        }
        let code = process.wait_at_most(PATIENCE).await.unwrap();
        assert_eq!(code, Some(130), "{}", terminal.text());
        assert!(terminal.text().contains("FhirExport cohort: left running"), "{}", terminal.text());
        assert_eq!(place.fhir.jobs()[0].cancel_requests, 0, "{answer:?}");
    }
}
