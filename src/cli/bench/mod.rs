//! `railpost bench`: a load generator that works against any AMQP 0-9-1 broker.

pub(in crate::cli) mod args;
mod compare;
mod connection;
mod consumer;
mod crowd;
mod declared;
mod document;
mod fault;
mod histogram;
mod incoming;
mod input;
mod interrupt;
mod live;
mod numeral;
mod outcome;
mod pace;
mod plan;
mod process;
mod producer;
mod progress;
mod quantity;
mod report;
mod request;
mod round;
mod sequence;
mod snapshot;
mod stamp;
mod tally;
pub(in crate::cli) mod target;
mod template;
mod window;

use std::fs::File;
use std::io::Write;

use serde_json::Value;

use crate::cli::bench::args::BenchArgs;
use crate::cli::bench::args::Format;
use crate::cli::bench::fault::Fault;
use crate::cli::bench::interrupt::Interrupt;
use crate::cli::bench::outcome::Ending;
use crate::cli::bench::outcome::Limits;
use crate::cli::bench::outcome::Outcome;
use crate::cli::bench::outcome::Verdict;
use crate::cli::bench::plan::Plan;
use crate::cli::bench::plan::RunName;
use crate::cli::bench::progress::Progress;
use crate::cli::bench::target::Target;
use crate::cli::exit::Exit;

/// Runs what was asked for; the result is on stdout, all else on stderr.
pub(in crate::cli) fn run(args: &BenchArgs) -> Exit {
    let bench = match Bench::new(args) {
        Ok(bench) => bench,
        Err(message) => {
            eprintln!("error: {message}");
            return Exit::Unusable;
        }
    };
    allow_many_sockets();
    let runtime = match args.load.threads {
        1 => tokio::runtime::Builder::new_current_thread().enable_all().build(),
        n => tokio::runtime::Builder::new_multi_thread().worker_threads(n).enable_all().build(),
    };
    match runtime {
        Ok(runtime) => runtime.block_on(bench.run()),
        Err(error) => {
            eprintln!("error: cannot start threads: {error}");
            Exit::Findings
        }
    }
}

/// Every connection is a socket; many systems allow a program 1024 unless it asks for more.
fn allow_many_sockets() {
    let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current = limit.maximum;
    // Without it, opening a connection says what is wrong.
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).ok();
}

/// What was asked for, checked.
struct Bench<'a> {
    args: &'a BenchArgs,
    target: Target,
    other: Option<Target>,
    progress: Progress,
    limits: Limits,
}

/// One run with the plan it followed.
struct Run {
    plan: Plan,
    outcome: Outcome,
    verdict: Verdict,
}

impl<'a> Bench<'a> {
    fn new(args: &'a BenchArgs) -> Result<Bench<'a>, String> {
        let output = &args.output;
        plan(args)?;
        let parse = |url: &str| url.parse::<Target>().map_err(|it| it.to_string());
        if output.compare.is_some() && output.rounds == 0 {
            return Err("`--rounds` must be at least 1".to_owned());
        }
        let csv = match &output.csv {
            Some(path) => Some(
                File::create(path)
                    .map_err(|it| format!("cannot write {}: {it}", path.display()))?,
            ),
            None => None,
        };
        let progress = Progress::new(output.interval, output.no_progress, csv);
        Ok(Bench {
            args,
            target: parse(&args.url)?,
            other: output.compare.as_deref().map(parse).transpose()?,
            progress: progress.map_err(|it| format!("cannot write the CSV file: {it}"))?,
            limits: Limits { p99_max: output.max_p99, rate_min: output.min_rate },
        })
    }

    async fn run(mut self) -> Exit {
        let mut interrupt = match Interrupt::listen() {
            Ok(interrupt) => interrupt,
            Err(error) => {
                eprintln!("error: cannot listen for signals: {error}");
                return Exit::Findings;
            }
        };
        match self.other.take() {
            Some(other) => self.compare(&other, &mut interrupt).await,
            None => self.measure(&mut interrupt).await,
        }
    }

    async fn measure(&mut self, interrupt: &mut Interrupt) -> Exit {
        let target = self.target.clone();
        match self.run_once(&target, self.args.output.broker_pid, interrupt).await {
            Ok(run) => {
                match self.args.output.format {
                    Format::Text => print(&report::text(&run.plan, &run.outcome)),
                    Format::Json => print_document(&self.document(&run)),
                }
                tell(&run.verdict, "");
                run.verdict.exit
            }
            Err(exit) => exit,
        }
    }

    /// A, B, A, B…, so that what changes on the machine in the meantime meets both.
    async fn compare(&mut self, other: &Target, interrupt: &mut Interrupt) -> Exit {
        let first = self.target.clone();
        let mut sides = [Vec::new(), Vec::new()];
        let mut documents = Vec::new();
        let mut exit = Exit::Fine;
        'rounds: for _ in 0..self.args.output.rounds {
            let pid = self.args.output.broker_pid;
            for (at, target, pid) in [(0, &first, pid), (1, other, None)] {
                let run = match self.run_once(target, pid, interrupt).await {
                    Ok(run) => run,
                    Err(failed) => {
                        exit = failed;
                        break 'rounds;
                    }
                };
                documents.push(self.document(&run));
                tell(&run.verdict, ["A: ", "B: "][at]);
                if exit == Exit::Fine {
                    exit = run.verdict.exit;
                }
                let is_complete = run.outcome.ending == Ending::Complete;
                sides[at].push(run.outcome);
                if !is_complete {
                    break 'rounds;
                }
            }
        }
        let [a, b] = &sides;
        match self.args.output.format {
            Format::Text => print(&compare::text(a, b)),
            Format::Json => print_document(&compare::document(a, b, &documents)),
        }
        exit
    }

    /// One run; when it cannot even begin, says why and with which code to end.
    async fn run_once(
        &mut self,
        target: &Target,
        broker_pid: Option<u32>,
        interrupt: &mut Interrupt,
    ) -> Result<Run, Exit> {
        let plan = plan(self.args).map_err(|message| {
            eprintln!("error: {message}");
            Exit::Unusable
        })?;
        let outcome = round::run(target, &plan, broker_pid, &mut self.progress, interrupt).await;
        let outcome = outcome.map_err(|fault| {
            eprintln!("error: {fault}");
            exit_of(&fault)
        })?;
        // The limits are for the broker that is measured, not for the one it is compared with.
        let limits = if *target == self.target { self.limits } else { Limits::default() };
        let verdict = Verdict::new(&outcome, &plan, limits);
        Ok(Run { plan, outcome, verdict })
    }

    fn document(&self, run: &Run) -> Value {
        document::run(&run.plan, &run.outcome, &run.verdict, self.args.output.id.as_deref())
    }
}

fn plan(args: &BenchArgs) -> Result<Plan, String> {
    let mut random = [0; 4];
    getrandom::fill(&mut random).map_err(|it| format!("no randomness: {it}"))?;
    Plan::new(args, RunName::new(random)).map_err(|it| it.to_string())
}

fn exit_of(fault: &Fault) -> Exit {
    if fault.is_unreachable() { Exit::Unreachable } else { Exit::Findings }
}

fn tell(verdict: &Verdict, side: &str) {
    verdict.notes.iter().for_each(|it| eprintln!("note: {side}{it}"));
    verdict.errors.iter().for_each(|it| eprintln!("error: {side}{it}"));
}

fn print_document(document: &Value) {
    print(&format!("{document:#}\n"));
}

/// A reader that has gone away is not our concern.
fn print(text: &str) {
    std::io::stdout().write_all(text.as_bytes()).ok();
}
