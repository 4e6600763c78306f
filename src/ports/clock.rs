//! The ports to time and randomness, and their implementation by the machine.

use std::time::Duration;

use jiff::Timestamp;

/// A clock that can be read and waited on.
pub trait Clock: Send + Sync {
    /// The current time.
    fn now(&self) -> Timestamp;
    /// Completes after `time` has passed. Only tasks that run beside the reconciles wait.
    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + Send;
}

/// A source of random numbers.
pub trait Randomness: Send + Sync {
    /// A number from 0 (included) to 1 (excluded).
    fn unit(&self) -> f64;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

/// The machine's random numbers.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandomness;

impl Randomness for SystemRandomness {
    fn unit(&self) -> f64 {
        rand::random()
    }
}
