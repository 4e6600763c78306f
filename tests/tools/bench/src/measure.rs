//! The memory of a process, as the kernel counts it.

use crate::{Error, Result};

/// Memory from now on.
#[derive(Debug)]
pub struct Memory {
    pid: u32,
    /// Resident now, in bytes.
    pub idle: u64,
}

impl Memory {
    /// Counts the peak of a process anew from here.
    pub fn idle(pid: u32) -> Result<Self> {
        std::fs::write(format!("/proc/{pid}/clear_refs"), "5")?;
        Ok(Self { pid, idle: field(pid, "VmRSS:")? })
    }

    /// The most that was resident since, in bytes.
    pub fn peak(&self) -> Result<u64> {
        field(self.pid, "VmHWM:")
    }
}

fn field(pid: u32, name: &str) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with(name));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kib.map(|kib| kib << 10).ok_or_else(|| Error::Other(format!("no {name} of process {pid}")))
}
