//! Metrics of the process, under the names that the client libraries of Prometheus give them. They are read when they
//! are scraped. Those that the system does not tell are left out: besides the time of the processor and the start, all
//! come from `/proc`, which only Linux has.

use std::fmt;
use std::fs;
use std::time::Duration;

use jiff::Timestamp;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use rustix::time::{ClockId, clock_gettime};

/// Reads the metrics of this process.
#[derive(Debug)]
pub(super) struct Process {
    started: Timestamp,
}

impl Process {
    /// The metrics of a process that has just started.
    pub(super) fn started_now() -> Self {
        Self { started: Timestamp::now() }
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let time = ConstCounter::new(processor_time().as_secs_f64());
        let help = "Time that all processors have spent on the process.";
        let metric = encoder.encode_descriptor("process_cpu_seconds", help, None, time.metric_type())?;
        time.encode(metric)?;
        let help = "When the process started, in seconds since 1970.";
        gauge(&mut encoder, "process_start_time_seconds", help, Some(self.started.as_second()))?;
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let help = "Memory that the process has in use.";
        gauge(&mut encoder, "process_resident_memory_bytes", help, kibibytes(&status, "VmRSS:"))?;
        let help = "Size of the address space of the process.";
        gauge(&mut encoder, "process_virtual_memory_bytes", help, kibibytes(&status, "VmSize:"))?;
        gauge(&mut encoder, "process_threads", "Threads of the process.", number(&status, "Threads:"))?;
        gauge(&mut encoder, "process_open_fds", "Open files and connections.", open_files())?;
        let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
        let help = "The most files and connections that the process may open.";
        gauge(&mut encoder, "process_max_fds", help, number(&limits, "Max open files"))
    }
}

/// Writes a gauge, if its value is known.
fn gauge<N: EncodeGaugeValue>(
    encoder: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    value: Option<N>,
) -> Result<(), fmt::Error> {
    let Some(value) = value else { return Ok(()) };
    let value = ConstGauge::new(value);
    let metric = encoder.encode_descriptor(name, help, None, value.metric_type())?;
    value.encode(metric)
}

fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap_or(0), time.tv_nsec.try_into().unwrap_or(0))
}

/// The first number in the line of a file below `/proc` that begins with `name`.
fn number(text: &str, name: &str) -> Option<i64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The same, where the line counts KiB, in bytes.
fn kibibytes(text: &str, name: &str) -> Option<i64> {
    number(text, name)?.checked_mul(1024)
}

fn open_files() -> Option<i64> {
    // One of them is the directory that is read here.
    let listed = fs::read_dir("/proc/self/fd").ok()?.count();
    i64::try_from(listed).ok()?.checked_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_linux_writes_them() {
        let status = "Name:\tsleep\nVmSize:\t    5580 kB\nVmRSS:\t     808 kB\nThreads:\t1\n";
        assert_eq!(kibibytes(status, "VmRSS:"), Some(808 * 1024));
        assert_eq!((number(status, "Threads:"), number(status, "VmPeak:")), (Some(1), None));
        let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
            Max open files            1024                 524288               files\n";
        assert_eq!(number(limits, "Max open files"), Some(1024));
    }

    #[test]
    fn what_the_process_uses_is_told() {
        assert!(open_files().is_none_or(|files| files > 0));
        assert!(processor_time() > Duration::ZERO);
    }
}
