//! What the kernel counts of a process and of the machine.

use stage::memory;

use crate::{Error, Result};

/// The figures of a process from now on.
#[derive(Debug)]
pub struct Measured {
    pid: u32,
    /// Resident now, in bytes.
    pub idle: u64,
    cpu: f64,
}

/// What a process used.
#[derive(Clone, Copy, Debug)]
pub struct Used {
    /// CPU time in seconds.
    pub cpu: f64,
    /// The most memory that was resident, in bytes, beyond what was resident at the beginning.
    pub memory: u64,
}

impl Measured {
    /// Counts from here.
    pub fn begin(pid: u32) -> Result<Self> {
        std::fs::write(format!("/proc/{pid}/clear_refs"), "5")?;
        Ok(Self { pid, idle: memory(pid, "VmRSS")?, cpu: cpu(pid)? })
    }

    /// What was used since.
    pub fn used(&self) -> Result<Used> {
        let memory = memory(self.pid, "VmHWM")?.saturating_sub(self.idle);
        Ok(Used { cpu: cpu(self.pid)? - self.cpu, memory })
    }
}

/// The CPU time that a process has used, in seconds.
pub fn cpu(pid: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name, which comes before, is in parentheses and may hold any character.
    let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
    ticks(fields.split(' ').skip(11).take(2))
}

/// The CPU time that all processes have used since the machine started, in seconds.
pub fn machine() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/stat")?;
    let fields = stat.lines().next().unwrap_or_default().split_whitespace().skip(1);
    // user, nice and system, without idle and waiting, and then interrupts.
    let busy = fields.enumerate().filter(|(nth, _)| matches!(nth, 0..=2 | 5..=6)).map(|(_, ticks)| ticks);
    ticks(busy)
}

#[allow(clippy::cast_precision_loss)] // of figures for people
fn ticks<'t>(fields: impl Iterator<Item = &'t str>) -> Result<f64> {
    let ticks: std::result::Result<Vec<u64>, _> = fields.map(str::parse).collect();
    let ticks = ticks.map_err(|error| Error::Other(format!("the kernel's CPU time: {error}")))?;
    Ok(ticks.iter().sum::<u64>() as f64 / rustix::param::clock_ticks_per_second() as f64)
}
