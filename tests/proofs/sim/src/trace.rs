//! What happened in a simulation: always a hash of it, and its lines if they are requested.

/// The trace of one simulation.
#[derive(Debug)]
pub struct Trace {
    hash: u64,
    lines: Option<Vec<String>>,
}

impl Trace {
    /// An empty trace. With `told`, it keeps its lines.
    pub fn new(told: bool) -> Self {
        Self { hash: 0xCBF2_9CE4_8422_2325, lines: told.then(Vec::new) }
    }

    /// Records that something happened.
    pub fn note(&mut self, now: i64, code: u64, text: impl FnOnce() -> String) {
        for word in [now.unsigned_abs(), code] {
            self.hash = (self.hash ^ word).wrapping_mul(0x0000_0100_0000_01B3).rotate_left(23);
        }
        if let Some(lines) = &mut self.lines {
            let (seconds, rest) = (now / 1_000_000, now % 1_000_000);
            lines.push(format!("{seconds:>9}.{rest:06} {}", text()));
        }
    }

    /// The hash of everything that happened.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// The lines of the trace; empty if they were not requested.
    pub fn lines(&self) -> &[String] {
        self.lines.as_deref().unwrap_or_default()
    }
}
