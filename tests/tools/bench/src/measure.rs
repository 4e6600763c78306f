//! The memory of a process, as the kernel counts it.

use stage::memory;

use crate::Result;

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
        Ok(Self { pid, idle: memory(pid, "VmRSS")? })
    }

    /// The most that was resident since, in bytes.
    pub fn peak(&self) -> Result<u64> {
        Ok(memory(self.pid, "VmHWM")?)
    }
}
