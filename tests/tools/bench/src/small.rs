//! Small figures that people feel: the size of the program, how soon it is ready, what it needs when idle.

use std::time::{Duration, Instant};

use stage::memory;

use crate::Result;
use crate::figures::{Bar, Figure, median};
use crate::landing::mib;
use crate::world::World;

/// How long anything that takes a moment may take.
pub const SOON: Duration = Duration::from_secs(60);
/// How long an operator that is ready is left alone before it counts as idle.
const SETTLED: Duration = Duration::from_secs(1);

/// Waits until an operator that was just started does nothing any more.
pub async fn settle() {
    tokio::time::sleep(SETTLED).await;
}

/// Measures the program and an operator without exports.
pub async fn measure(world: &World, rounds: u32) -> Result<Vec<Figure>> {
    let (mut ready, mut idle) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let started = Instant::now();
        let mut operator = world.operator(&format!("idle-{round}"))?;
        operator.wait_for_log("the operator is ready", SOON).await?;
        ready.push(started.elapsed().as_secs_f64() * 1_000.0);
        settle().await;
        idle.push(mib(memory(operator.pid(), "VmRSS")?));
        operator.stop(SOON).await?;
    }
    let program = mib(std::fs::metadata(world.program())?.len());
    Ok(vec![
        Figure::new("program", program, "MiB", Bar::None),
        Figure::new("from start to ready", median(ready), "ms", Bar::None),
        Figure::new("idle memory", median(idle), "MiB", Bar::AtMost(20.0)),
    ])
}
