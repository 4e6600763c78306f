use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;
use tokio::sync::OnceCell;

use crate::{Error, Result};

/// Where the programs are.
#[derive(Debug, Clone)]
pub struct Parts(HashMap<String, PathBuf>);

/// The parts that every test needs; those that are not there are built first,
/// which takes some ten minutes, once.
pub async fn parts() -> Result<Parts> {
    let mut all = HashMap::new();
    for part in [kubernetes().await?, helm().await?, azurite().await?] {
        all.extend(part.0.clone());
    }
    Ok(Parts(all))
}

pub(crate) async fn kubernetes() -> Result<&'static Parts> {
    static PART: OnceCell<Parts> = OnceCell::const_new();
    PART.get_or_try_init(|| fetch("kubernetes")).await
}

/// Helm alone, for those who bring a cluster; built first where it is not there.
pub async fn helm() -> Result<&'static Parts> {
    static PART: OnceCell<Parts> = OnceCell::const_new();
    PART.get_or_try_init(|| fetch("helm")).await
}

pub(crate) async fn azurite() -> Result<&'static Parts> {
    static PART: OnceCell<Parts> = OnceCell::const_new();
    PART.get_or_try_init(|| fetch("azurite")).await
}

pub(crate) async fn hapi() -> Result<&'static Parts> {
    static PART: OnceCell<Parts> = OnceCell::const_new();
    PART.get_or_try_init(|| fetch("hapi")).await
}

pub(crate) async fn sekmet() -> Result<&'static Parts> {
    static PART: OnceCell<Parts> = OnceCell::const_new();
    PART.get_or_try_init(|| fetch("sekmet")).await
}

pub(crate) async fn synthea() -> Result<&'static Parts> {
    static PART: OnceCell<Parts> = OnceCell::const_new();
    PART.get_or_try_init(|| fetch("synthea")).await
}

/// promtool, which tests alerts.
pub async fn promtool() -> Result<&'static Parts> {
    static PART: OnceCell<Parts> = OnceCell::const_new();
    PART.get_or_try_init(|| fetch("promtool")).await
}

/// The library that a program is started with to have its clock moved; fetched first where it is not there.
pub async fn faketime() -> Result<PathBuf> {
    static PART: OnceCell<Parts> = OnceCell::const_new();
    Ok(PART.get_or_try_init(|| fetch("faketime")).await?.program("FAKETIME")?.to_owned())
}

impl Parts {
    /// The program by the name that `tests/parts/fetch` gives it, `KUBECTL` say.
    pub fn program(&self, name: &str) -> Result<&Path> {
        self.0.get(name).map(PathBuf::as_path).ok_or_else(|| Error::Parts(format!("there is no {name}")))
    }
}

async fn fetch(part: &str) -> Result<Parts> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../parts/fetch");
    // Its progress goes to our own stderr: a first build takes minutes.
    let output = Command::new(&script)
        .arg(part)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .await
        .map_err(|error| Error::Parts(format!("{}: {error}", script.display())))?;
    if !output.status.success() {
        return Err(Error::Parts(format!("'fetch {part}' ended with {}", output.status)));
    }
    Ok(Parts(
        String::from_utf8_lossy(&output.stdout)
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(name, path)| (name.to_owned(), path.into()))
            .collect(),
    ))
}
