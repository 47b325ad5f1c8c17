//! The workload `connections`: many connections with a channel each, and nothing else.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::cli::bench::connection::Connection;
use crate::cli::bench::fault::Fault;
use crate::cli::bench::histogram::Histogram;
use crate::cli::bench::interrupt::Interrupt;
use crate::cli::bench::pace::Clock;
use crate::cli::bench::process::Process;
use crate::cli::bench::process::Usage;
use crate::cli::bench::target::Target;

/// Connections that are being opened at the same time.
const OPENING_MAX: usize = 16;
const CLOSE_SECS: u64 = 10;

/// What opening many connections, and having them, cost.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Crowd {
    pub(super) n_asked: usize,
    pub(super) n_opened: usize,
    /// Nanoseconds from the first to the last.
    pub(super) opening_nanos: u64,
    /// From connecting to the open channel.
    pub(super) opening: Histogram,
    /// The broker's memory before and with the connections, and its processor time in between.
    pub(super) before: Option<Usage>,
    pub(super) opened: Option<Usage>,
    /// After the connections stood idle for so long.
    pub(super) idle_nanos: u64,
    pub(super) idled: Option<Usage>,
}

impl Crowd {
    /// Bytes of the broker's memory per connection with a channel.
    pub(super) fn bytes_each(&self) -> Option<f64> {
        let more = self.idled?.resident_bytes as f64 - self.before?.resident_bytes as f64;
        (self.n_opened > 0).then(|| more / self.n_opened as f64)
    }

    /// Microseconds of the broker's processor time per connection.
    pub(super) fn cpu_micros_each(&self) -> Option<f64> {
        let used = self.opened?.cpu_nanos.saturating_sub(self.before?.cpu_nanos);
        (self.n_opened > 0).then(|| used as f64 / self.n_opened as f64 / 1e3)
    }

    /// Cores the broker used while nothing happened.
    pub(super) fn idle_cores(&self) -> Option<f64> {
        let used = self.idled?.cpu_nanos.saturating_sub(self.opened?.cpu_nanos);
        (self.idle_nanos > 0).then(|| used as f64 / self.idle_nanos as f64)
    }

    pub(super) fn per_second(&self) -> f64 {
        match self.opening_nanos {
            0 => 0.0,
            nanos => self.n_opened as f64 * 1e9 / nanos as f64,
        }
    }

    /// What is wrong with it, if it is not whole.
    pub(super) fn shortfall(&self) -> Option<String> {
        let missing = self.n_asked - self.n_opened;
        (missing > 0).then(|| format!("{missing} of {} connections are missing", self.n_asked))
    }
}

/// Opens `n` connections, lets them idle, and closes them. The fault is the first there was.
pub(super) async fn gather(
    target: &Target,
    n: usize,
    idle: Duration,
    broker: Option<&Process>,
    interrupt: &mut Interrupt,
) -> (Crowd, Option<Fault>) {
    let usage = || broker.and_then(Process::usage);
    let mut crowd = Crowd {
        n_asked: n,
        n_opened: 0,
        opening_nanos: 0,
        opening: Histogram::default(),
        before: usage(),
        opened: None,
        idle_nanos: 0,
        idled: None,
    };
    let clock = Clock::start();
    let mut open = VecDeque::new();
    let fault = tokio::select! {
        opened = open_all(target, n, clock, &mut crowd.opening, &mut open) => opened.err(),
        () = interrupt.came() => None,
    };
    crowd.n_opened = open.len();
    crowd.opening_nanos = clock.now();
    crowd.opened = usage();
    if fault.is_none() {
        tokio::select! {
            () = tokio::time::sleep(idle) => {}
            () = interrupt.came() => {}
        }
    }
    crowd.idle_nanos = clock.now() - crowd.opening_nanos;
    crowd.idled = usage();
    let mut closing: JoinSet<()> = open.into_iter().map(Connection::close).collect();
    let all_closed = async { while closing.join_next().await.is_some() {} };
    tokio::time::timeout(Duration::from_secs(CLOSE_SECS), all_closed).await.ok();
    (crowd, fault)
}

async fn open_all(
    target: &Target,
    n: usize,
    clock: Clock,
    times: &mut Histogram,
    open: &mut VecDeque<Connection>,
) -> Result<(), Fault> {
    let mut opening = JoinSet::new();
    let mut n_begun = 0;
    while open.len() < n {
        while n_begun < n && opening.len() < OPENING_MAX {
            let target = target.clone();
            opening.spawn(async move {
                let began = clock.now();
                let connection = Connection::open(&target).await;
                (connection, clock.now() - began)
            });
            n_begun += 1;
        }
        match opening.join_next().await {
            Some(Ok((connection, nanos))) => {
                open.push_back(connection?);
                times.record(nanos);
            }
            Some(Err(panicked)) => std::panic::resume_unwind(panicked.into_panic()),
            None => return Ok(()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_shared_out_among_the_connections() {
        let usage = |cpu_nanos, resident_bytes| Some(Usage { cpu_nanos, resident_bytes });
        let crowd = Crowd {
            n_asked: 12,
            n_opened: 10,
            opening_nanos: 2_000_000_000,
            opening: Histogram::default(),
            before: usage(1000, 50_000),
            opened: usage(2_001_000, 60_000),
            idle_nanos: 1_000_000_000,
            idled: usage(12_001_000, 70_000),
        };
        assert_eq!((crowd.bytes_each(), crowd.per_second()), (Some(2000.0), 5.0));
        assert_eq!((crowd.cpu_micros_each(), crowd.idle_cores()), (Some(200.0), Some(0.01)));
        assert_eq!(crowd.shortfall().as_deref(), Some("2 of 12 connections are missing"));
        let none = Crowd { n_asked: 0, n_opened: 0, before: None, ..crowd };
        assert_eq!((none.bytes_each(), none.shortfall()), (None, None));
    }
}
