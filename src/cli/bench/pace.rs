//! When messages are due, and waiting for it to the microsecond.

use std::io;
use std::time::Duration;
use std::time::Instant;

#[cfg(target_os = "linux")]
use rustix::time;
#[cfg(target_os = "linux")]
use tokio::io::unix::AsyncFd;

/// The time of a run: nanoseconds since it began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    began: Instant,
}

impl Clock {
    pub(super) fn start() -> Clock {
        Clock { began: Instant::now() }
    }

    pub(super) fn now(&self) -> u64 {
        nanos(self.began.elapsed())
    }
}

/// Whole nanoseconds, up to 584 years.
pub(super) fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// Moments at equal distances.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Schedule {
    start: u64,
    gap: f64,
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "nanoseconds of a run are positive and exact in a double for 104 days"
)]
impl Schedule {
    /// One of `n_schedules` that begin evenly spread over the first gap, so that producers of one
    /// rate do not all send at once.
    pub(super) fn new(start: u64, gap: f64, at: usize, n_schedules: usize) -> Schedule {
        let offset = gap * at as f64 / n_schedules.max(1) as f64;
        Schedule { start: start + offset as u64, gap }
    }

    /// When the message after `n_before` others is due.
    pub(super) fn due(&self, n_before: u64) -> u64 {
        self.start + (n_before as f64 * self.gap) as u64
    }

    /// How many are due by now.
    pub(super) fn n_due(&self, now: u64) -> u64 {
        match now.checked_sub(self.start) {
            Some(span) => (span as f64 / self.gap) as u64 + 1,
            None => 0,
        }
    }
}

/// A timer for one task. tokio's own timers round to milliseconds, which would show as latency.
#[derive(Debug)]
pub(super) struct Alarm {
    #[cfg(target_os = "linux")]
    timer: AsyncFd<std::os::fd::OwnedFd>,
}

#[cfg(target_os = "linux")]
impl Alarm {
    #[allow(
        deprecated,
        reason = "its successor is unsafe and asks for what an OwnedFd keeps: the same descriptor"
    )]
    pub(super) fn new() -> io::Result<Alarm> {
        let flags = time::TimerfdFlags::NONBLOCK | time::TimerfdFlags::CLOEXEC;
        let timer = time::timerfd_create(time::TimerfdClockId::Monotonic, flags)?;
        Ok(Alarm { timer: AsyncFd::new(timer)? })
    }

    /// Waits for `span`; at once when it is zero.
    pub(super) async fn ring_after(&self, span: Duration) -> io::Result<()> {
        if span.is_zero() {
            return Ok(());
        }
        let once = time::Itimerspec {
            it_interval: time::Timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: time::Timespec {
                tv_sec: i64::try_from(span.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: i64::from(span.subsec_nanos()),
            },
        };
        // Setting a timer also forgets that it rang before, when nobody waited.
        time::timerfd_settime(&self.timer, time::TimerfdTimerFlags::empty(), &once)?;
        loop {
            let mut guard = self.timer.readable().await?;
            let rang = guard.try_io(|it| Ok(rustix::io::read(it, &mut [0; 8])?));
            if let Ok(rang) = rang {
                return rang.map(|_| ());
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
impl Alarm {
    pub(super) fn new() -> io::Result<Alarm> {
        Ok(Alarm {})
    }

    /// Waits for `span`, rounded up to milliseconds on this system.
    pub(super) async fn ring_after(&self, span: Duration) -> io::Result<()> {
        tokio::time::sleep(span).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn producers_of_one_rate_take_turns() {
        let due = |at| Schedule::new(1000, 100.0, at, 4).due(2);
        assert_eq!([due(0), due(1), due(2), due(3)], [1200, 1225, 1250, 1275]);
    }

    #[test]
    fn an_alarm_rings_when_it_should() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let alarm = Alarm::new().unwrap();
            for micros in [0, 300, 50] {
                let clock = Clock::start();
                alarm.ring_after(Duration::from_micros(micros)).await.unwrap();
                assert!(clock.now() >= micros * 1000);
            }
        });
    }

    proptest! {
        #[test]
        fn what_is_due_is_due(gap in 10.0..1e9f64, n in 0..1_000_000u64, start in 0..1u64 << 40) {
            let schedule = Schedule::new(start, gap, 0, 1);
            let due = schedule.due(n);
            // One nanosecond of rounding either way.
            prop_assert!(schedule.n_due(due + 1) > n);
            prop_assert!(due == start || schedule.n_due(due - 1) <= n + 1);
            prop_assert_eq!(schedule.n_due(start.saturating_sub(1)), u64::from(start == 0));
        }
    }
}
