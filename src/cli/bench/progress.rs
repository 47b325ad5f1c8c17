//! What is told while a run goes on: a line on stderr and a row of the CSV file each second.

use std::fs::File;
use std::io::Write;
use std::time::Duration;

use crate::cli::bench::live::Live;
use crate::cli::bench::numeral;
use crate::cli::bench::pace;
use crate::cli::bench::plan::Plan;
use crate::cli::bench::report;
use crate::cli::bench::snapshot::Processes;
use crate::cli::bench::snapshot::Snapshot;
use crate::cli::bench::snapshot::Span;
use crate::cli::bench::target::Target;

const COLUMNS: &str = "round,target,phase,seconds,published_per_s,confirmed_per_s,\
    received_per_s,behind,confirm_p50_us,confirm_p99_us,end_to_end_p50_us,end_to_end_p95_us,\
    end_to_end_p99_us,end_to_end_p999_us,end_to_end_max_us,broker_cpu_cores,broker_rss_bytes";

/// Tells how runs go, one after the other.
#[derive(Debug)]
pub(super) struct Progress {
    interval: Duration,
    is_quiet: bool,
    csv: Option<File>,
    /// From 1.
    round: usize,
    target: String,
    phase: &'static str,
    /// Nothing of this run has been looked at yet.
    is_fresh: bool,
    last: Snapshot,
    next_at: u64,
    resident_peak: u64,
}

impl Progress {
    /// Tells every `interval`. The CSV file gets its first line.
    pub(super) fn new(
        interval: Duration,
        is_quiet: bool,
        csv: Option<File>,
    ) -> std::io::Result<Progress> {
        let mut this = Progress {
            interval: interval.max(Duration::from_millis(100)),
            is_quiet,
            csv,
            round: 0,
            target: String::new(),
            phase: "",
            is_fresh: true,
            last: Snapshot::default(),
            next_at: 0,
            resident_peak: 0,
        };
        if let Some(file) = &mut this.csv {
            writeln!(file, "{COLUMNS}")?;
        }
        Ok(this)
    }

    /// The next run begins.
    pub(super) fn begin(&mut self, plan: &Plan, target: &Target, product: &str) {
        self.round += 1;
        self.target = target.to_string();
        self.is_fresh = true;
        self.next_at = pace::nanos(self.interval);
        self.resident_peak = 0;
        if !self.is_quiet {
            eprintln!("{}", report::headline(plan, &self.target, product));
        }
    }

    pub(super) fn enter(&mut self, phase: &'static str) {
        self.phase = phase;
    }

    /// Tells what happened since the last time, when it is time.
    pub(super) fn look(&mut self, live: &Live, processes: &Processes) {
        if self.is_fresh {
            self.is_fresh = false;
            self.last = Snapshot::take(live, processes);
        }
        if live.clock.now() < self.next_at {
            return;
        }
        let now = Snapshot::take(live, processes);
        self.note_peak(&now);
        self.next_at = now.at + pace::nanos(self.interval);
        let span = Span::between(self.phase, &self.last, &now, false);
        let behind = now.behind(live.plan.n_copies(0));
        if !self.is_quiet {
            eprintln!("{}", line(&now, &span, behind));
        }
        self.write_row(&now, &span, behind);
        self.last = now;
    }

    /// Remembers the largest memory of the broker in this run.
    pub(super) fn note_peak(&mut self, snapshot: &Snapshot) {
        let resident = snapshot.broker.map_or(0, |it| it.resident_bytes);
        self.resident_peak = self.resident_peak.max(resident);
    }

    pub(super) fn resident_peak(&self) -> u64 {
        self.resident_peak
    }

    fn write_row(&mut self, now: &Snapshot, span: &Span, behind: u64) {
        let Some(file) = &mut self.csv else { return };
        let row = row(now, span, behind);
        if let Err(error) = writeln!(file, "{},{},{row}", self.round, self.target) {
            eprintln!("note: the CSV file ends here: {error}");
            self.csv = None;
        }
    }
}

/// As ` t=10s  pub 71 204/s  recv 71 190/s  confirm p50 1.1 p99 4.8 ms  …  behind 212`.
fn line(now: &Snapshot, span: &Span, behind: u64) -> String {
    let mut line = format!(
        " t={:.0}s  pub {}/s  recv {}/s",
        now.at as f64 / 1e9,
        numeral::grouped(span.per_second(span.published)),
        numeral::grouped(span.per_second(span.delivered)),
    );
    for (name, latency) in [("confirm", &span.confirm_latency), ("end-to-end", &span.latency)] {
        if latency.total() > 0 {
            let [p50, p99] = [0.5, 0.99].map(|it| numeral::millis(latency.quantile(it)));
            line.push_str(&format!("  {name} p50 {p50} p99 {p99} ms"));
        }
    }
    line.push_str(&format!("  behind {}", numeral::grouped(behind as f64)));
    if span.name != "run" {
        line.push_str(&format!("  ({})", span.name));
    }
    if let Some(reason) = &now.blocked {
        line.push_str(&format!("  BLOCKED by the broker: {reason}"));
    }
    line
}

fn row(now: &Snapshot, span: &Span, behind: u64) -> String {
    let micros = |nanos: u64| format!("{:.1}", nanos as f64 / 1e3);
    let mut fields = vec![
        span.name.to_owned(),
        format!("{:.3}", now.at as f64 / 1e9),
        format!("{:.1}", span.per_second(span.published)),
        format!("{:.1}", span.per_second(span.confirmed)),
        format!("{:.1}", span.per_second(span.delivered)),
        behind.to_string(),
    ];
    fields.extend([0.5, 0.99].map(|it| micros(span.confirm_latency.quantile(it))));
    fields.extend([0.5, 0.95, 0.99, 0.999].map(|it| micros(span.latency.quantile(it))));
    fields.push(micros(span.latency.max()));
    // Empty where the broker's process is not known.
    fields.push(span.broker.map_or(String::new(), |it| format!("{:.3}", span.cores(it))));
    fields.push(span.broker.map_or(String::new(), |it| it.resident_bytes.to_string()));
    fields.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::bench::histogram::Histogram;
    use crate::cli::bench::process::Usage;

    fn moments() -> (Snapshot, Span) {
        let mut latency = Histogram::default();
        latency.record(1_500_000);
        let now = Snapshot {
            at: 10_000_000_000,
            published: 30_000,
            delivered: 25_000,
            latency,
            broker: Some(Usage { cpu_nanos: 0, resident_bytes: 4096 }),
            ..Snapshot::default()
        };
        let before =
            Snapshot { at: 8_000_000_000, broker: Some(Usage::default()), ..Snapshot::default() };
        let span = Span::between("run", &before, &now, false);
        (now, span)
    }

    #[test]
    fn a_line_tells_rates_latencies_and_what_is_behind() {
        let (mut now, mut span) = moments();
        let text = " t=10s  pub 15 000/s  recv 12 500/s  end-to-end p50 1.50 p99 1.50 ms  \
                    behind 5 000";
        assert_eq!(line(&now, &span, 5000), text);
        now.blocked = Some("low on disk".to_owned());
        span.name = "end";
        let text = format!("{text}  (end)  BLOCKED by the broker: low on disk");
        assert_eq!(line(&now, &span, 5000), text);
    }

    #[test]
    fn a_row_has_a_field_for_each_column() {
        let (now, mut span) = moments();
        let n_columns = COLUMNS.split(',').count();
        for broker in [span.broker, None] {
            span.broker = broker;
            let row = row(&now, &span, 5000);
            assert_eq!(row.split(',').count() + 2, n_columns, "{row}");
        }
    }
}
