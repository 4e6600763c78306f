use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::{Result, Tool, parts};

/// A quarter of a minute for some twenty people on two idle cores.
const DONE_WITHIN: Duration = Duration::from_mins(5);

/// Makes up so many living people, and those that died on the way, with what happened to them within two years.
/// Gives the folder with the files: NDJSON by type. The same seed gives the same people.
pub async fn synthea(seed: u32, people: u32, into: &Path) -> Result<PathBuf> {
    let program = parts::synthea().await?.program("SYNTHEA")?;
    let (seed, people) = (seed.to_string(), people.to_string());
    let day = "20260101";
    // The old ones have charts of tens of thousands of resources.
    let arguments = ["-s", &seed, "-cs", &seed, "-p", &people, "-a", "3-45", "-r", day, "-e", day];
    let tool = Tool::new(program, arguments.map(str::to_owned).into_iter().chain(options(into)))?;
    tool.directory(into).timeout(DONE_WITHIN).run().await?.ok()?;
    Ok(into.join("fhir"))
}

fn options(into: &Path) -> [String; 4] {
    [
        "--exporter.fhir.bulk_data=true".to_owned(),
        format!("--exporter.baseDirectory={}", into.display()),
        "--exporter.years_of_history=2".to_owned(),
        // One thread draws, so that the people stay the same.
        "--generate.thread_pool_size=1".to_owned(),
    ]
}
