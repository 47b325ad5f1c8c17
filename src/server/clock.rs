//! Wall time that never jumps: read once at the start, then carried on by the boot clock.

use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use crate::amqp::time::Timestamp;

/// The clock every timer of the broker goes by.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
    started_micros: u64,
}

impl Clock {
    pub fn start() -> Clock {
        Clock { started: Instant::now(), started_micros: wall_micros() }
    }

    pub fn now(&self) -> Timestamp {
        let elapsed = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        Timestamp(self.started_micros.saturating_add(elapsed))
    }

    /// Milliseconds since [`Clock::start`].
    pub fn uptime_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// How long until `at`; zero when it has passed.
    pub fn until(&self, at: Timestamp) -> Duration {
        Duration::from_micros(at.micros_since(self.now()))
    }

    /// How far the system's own time is ahead of this clock, in milliseconds.
    pub fn skew_ms(&self) -> i64 {
        let (wall, own) = (wall_micros() / 1000, self.now().as_millis());
        i64::try_from(wall).unwrap_or(i64::MAX) - i64::try_from(own).unwrap_or(0)
    }
}

fn wall_micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
