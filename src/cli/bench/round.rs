//! One run against one broker: everybody is started, watched, and brought home.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinError;
use tokio::task::JoinSet;

use crate::cli::bench::args::Workload;
use crate::cli::bench::connection::Connection;
use crate::cli::bench::consumer::Consumer;
use crate::cli::bench::crowd;
use crate::cli::bench::declared::Declared;
use crate::cli::bench::fault::Fault;
use crate::cli::bench::interrupt::Interrupt;
use crate::cli::bench::live::Live;
use crate::cli::bench::outcome::Counts;
use crate::cli::bench::outcome::Ending;
use crate::cli::bench::outcome::Outcome;
use crate::cli::bench::pace;
use crate::cli::bench::plan::Plan;
use crate::cli::bench::process::Process;
use crate::cli::bench::producer::Producer;
use crate::cli::bench::progress::Progress;
use crate::cli::bench::quantity::Rate;
use crate::cli::bench::snapshot::Processes;
use crate::cli::bench::snapshot::Snapshot;
use crate::cli::bench::snapshot::Span;
use crate::cli::bench::target::Target;
use crate::cli::bench::template::Template;

/// How often it is looked whether a run is over.
const LOOK: Duration = Duration::from_millis(20);
/// How long messages are waited for after Ctrl-C.
const HURRY: Duration = Duration::from_secs(2);
/// How long connections may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(5);

/// Why watching a run ended.
#[derive(Debug)]
enum Pause {
    /// It was time.
    Due,
    /// Everything that was to be sent has arrived.
    Finished,
    /// Nothing moves any more.
    Stalled(Duration),
    Interrupted,
    Broken(Fault),
}

/// A run that goes on, and those who watch it.
struct Round<'a> {
    live: Arc<Live>,
    target: &'a Target,
    producers: JoinSet<Result<(), Fault>>,
    consumers: JoinSet<Result<(), Fault>>,
    processes: Processes,
    progress: &'a mut Progress,
    interrupt: &'a mut Interrupt,
    /// What [`Live::n_moved`] was, and when it last changed.
    moved: (u64, u64),
    has_consumers: bool,
    /// Nanoseconds at the end of what was measured in which nothing moved.
    stood: u64,
}

/// Runs a plan against a broker. What was made for it is removed again, whatever happens.
///
/// # Errors
///
/// When the run could not begin; what happens later is part of the outcome.
pub(super) async fn run(
    target: &Target,
    plan: &Plan,
    broker_pid: Option<u32>,
    progress: &mut Progress,
    interrupt: &mut Interrupt,
) -> Result<Outcome, Fault> {
    let mut connection = Connection::open(target).await?;
    let broker = match broker_pid {
        Some(pid) => Process::with_pid(pid),
        None if connection.is_local => Process::listening_on(target.port),
        None => None,
    };
    let processes = Processes { broker, own: Process::with_pid(std::process::id()) };
    let product = connection.product.clone();
    progress.begin(plan, target, &product);
    if plan.workload == Some(Workload::Connections) {
        connection.close().await;
        return Ok(run_crowd(target, plan, product, processes, interrupt).await);
    }
    let mut declared = Declared::default();
    let result = match declared.declare(&mut connection, target, plan).await {
        Ok(()) => {
            let template = Template::new(plan, connection.frame_max);
            connection.close().await;
            let mut round = Round {
                live: Arc::new(Live::new(plan.clone(), template)),
                target,
                producers: JoinSet::new(),
                consumers: JoinSet::new(),
                processes,
                progress,
                interrupt,
                moved: (0, 0),
                has_consumers: false,
                stood: 0,
            };
            round.go(product).await
        }
        Err(fault) => Err(fault),
    };
    let left = declared.remove(target).await;
    match result {
        Ok(outcome) => Ok(Outcome { left, ..outcome }),
        Err(fault) => {
            if let Some(left) = left {
                eprintln!("note: {left}");
            }
            Err(fault)
        }
    }
}

async fn run_crowd(
    target: &Target,
    plan: &Plan,
    product: String,
    processes: Processes,
    interrupt: &mut Interrupt,
) -> Outcome {
    let broker = processes.broker;
    let idle = plan.load.time.unwrap_or_default();
    let (crowd, fault) =
        crowd::gather(target, plan.load.connections, idle, broker.as_ref(), interrupt).await;
    let ending = match fault {
        Some(fault) => broken(&fault, crowd.opening_nanos),
        None if interrupt.has_come() => Ending::Interrupted,
        None => Ending::Complete,
    };
    Outcome {
        target: target.to_string(),
        product,
        process: broker,
        spans: Vec::new(),
        resident_peak: crowd.idled.map_or(0, |it| it.resident_bytes),
        crowd: Some(crowd),
        counts: Counts::default(),
        ending,
        stood: Duration::ZERO,
        left: None,
    }
}

fn broken(fault: &Fault, after: u64) -> Ending {
    let is_unreachable = fault.is_unreachable();
    Ending::Broken { fault: fault.to_string(), after, is_unreachable }
}

impl Round<'_> {
    async fn go(&mut self, product: String) -> Result<Outcome, Fault> {
        let mut spans = Vec::new();
        let is_backlog = self.live.plan.workload == Some(Workload::Backlog);
        let pause = if is_backlog {
            self.fill_and_drain(&mut spans).await?
        } else {
            self.produce_and_consume(&mut spans).await?
        };
        let ended_at = self.live.clock.now();
        self.go_home().await;
        let load = &self.live.plan.load;
        let is_awaited = self.has_consumers
            && load.messages_per_consumer.is_none()
            && matches!(pause, Pause::Finished | Pause::Stalled(_));
        let ending = match pause {
            Pause::Due | Pause::Finished => Ending::Complete,
            Pause::Interrupted => Ending::Interrupted,
            Pause::Stalled(span) => Ending::Stalled(span),
            Pause::Broken(fault) => broken(&fault, ended_at),
        };
        Ok(Outcome {
            target: self.target.to_string(),
            product,
            process: self.processes.broker.clone(),
            spans,
            crowd: None,
            counts: Counts::of(&self.live, is_awaited),
            ending,
            stood: Duration::from_nanos(self.stood),
            resident_peak: self.progress.resident_peak(),
            left: None,
        })
    }

    /// Warm-up, measuring, and the end, when what is on its way still arrives.
    async fn produce_and_consume(&mut self, spans: &mut Vec<Span>) -> Result<Pause, Fault> {
        self.start_consumers().await?;
        self.start_producers().await?;
        let load = self.live.plan.load.clone();
        let mut pause = Pause::Due;
        let mut begin = self.snapshot();
        if !load.warm_up.is_zero() {
            self.progress.enter("warm-up");
            let until = self.live.clock.now() + pace::nanos(load.warm_up);
            pause = self.watch(Some(until), Self::is_finished, None).await;
        }
        // A run that ends in its warm-up has nothing else to tell.
        let mut name = "warm-up";
        if let Pause::Due = pause {
            name = "run";
            begin = self.snapshot();
            self.progress.enter("run");
            let until = load.time.map(|it| begin.at + pace::nanos(it));
            let is_counted =
                load.messages_per_producer.is_some() || load.messages_per_consumer.is_some();
            let patience = (load.time.is_none() && is_counted).then(|| self.patience());
            pause = self.watch(until, Self::is_finished, patience).await;
            self.stood = self.stands_for(self.live.clock.now());
        }
        let is_finished = matches!(pause, Pause::Finished);
        spans.push(Span::between(name, &begin, &self.snapshot(), is_finished));
        Ok(match pause {
            Pause::Due | Pause::Interrupted => self.settle(pause).await,
            Pause::Finished | Pause::Stalled(_) | Pause::Broken(_) => pause,
        })
    }

    /// Publishing ends; what is on its way may arrive. After Ctrl-C, only for a moment.
    async fn settle(&mut self, pause: Pause) -> Pause {
        self.progress.enter("end");
        self.live.end_publishing();
        let hurry =
            matches!(pause, Pause::Interrupted).then(|| self.live.clock.now() + pace::nanos(HURRY));
        let patience = self.live.plan.load.drain_time;
        let settled = self.watch(hurry, Self::is_finished, Some(patience)).await;
        match (settled, pause) {
            (Pause::Broken(fault), _) => Pause::Broken(fault),
            (_, Pause::Interrupted) => Pause::Interrupted,
            // That something is missing is said where messages are counted.
            (Pause::Stalled(_), _) => Pause::Finished,
            (settled, _) => settled,
        }
    }

    async fn fill_and_drain(&mut self, spans: &mut Vec<Span>) -> Result<Pause, Fault> {
        self.start_producers().await?;
        let pause = self.phase("fill", Self::is_published, spans).await;
        if !matches!(pause, Pause::Finished) || self.live.plan.consumers.is_empty() {
            return Ok(pause);
        }
        self.start_consumers().await?;
        Ok(self.phase("drain", Self::is_finished, spans).await)
    }

    /// Watches until it is over, however long that takes, and measures it.
    async fn phase(
        &mut self,
        name: &'static str,
        is_over: fn(&Self) -> bool,
        spans: &mut Vec<Span>,
    ) -> Pause {
        self.progress.enter(name);
        let begin = self.snapshot();
        let patience = self.patience();
        let pause = self.watch(None, is_over, Some(patience)).await;
        let is_finished = matches!(pause, Pause::Finished);
        spans.push(Span::between(name, &begin, &self.snapshot(), is_finished));
        pause
    }

    /// Opens all connections first, so that everybody begins at about the same time.
    async fn start_producers(&mut self) -> Result<(), Fault> {
        let mut producers = Vec::new();
        for at in 0..self.live.plan.producers.len() {
            let connection = Connection::open(self.target).await?;
            producers.push(Producer::new(self.live.clone(), connection, at).await?);
        }
        producers.into_iter().for_each(|it| drop(self.producers.spawn(it.run())));
        Ok(())
    }

    async fn start_consumers(&mut self) -> Result<(), Fault> {
        let mut consumers = Vec::new();
        for at in 0..self.live.plan.consumers.len() {
            let connection = Connection::open(self.target).await?;
            consumers.push(Consumer::new(self.live.clone(), connection, at).await?);
        }
        self.has_consumers = !consumers.is_empty();
        consumers.into_iter().for_each(|it| drop(self.consumers.spawn(it.run())));
        Ok(())
    }

    /// Looks on until it is time, it is over, or something goes wrong. Without `patience` nothing
    /// moving is no reason to end.
    async fn watch(
        &mut self,
        until: Option<u64>,
        is_over: fn(&Self) -> bool,
        patience: Option<Duration>,
    ) -> Pause {
        let heeds_interrupt = !self.interrupt.has_come();
        self.moved = (self.live.n_moved(), self.live.clock.now());
        loop {
            if let Some(fault) = self.collect_ended() {
                return Pause::Broken(fault);
            }
            if is_over(self) {
                return Pause::Finished;
            }
            let now = self.live.clock.now();
            if until.is_some_and(|it| now >= it) {
                return Pause::Due;
            }
            if let Some(patience) = patience.filter(|it| self.stands_for(now) > pace::nanos(*it)) {
                return Pause::Stalled(patience);
            }
            self.progress.look(&self.live, &self.processes);
            let rest = until.map_or(LOOK, |it| Duration::from_nanos(it - now));
            tokio::select! {
                () = tokio::time::sleep(LOOK.min(rest)) => {}
                () = self.interrupt.came(), if heeds_interrupt => return Pause::Interrupted,
            }
        }
    }

    /// The first fault among those who ended since the last look.
    fn collect_ended(&mut self) -> Option<Fault> {
        let Round { producers, consumers, .. } = self;
        let ended = std::iter::from_fn(|| producers.try_join_next().or(consumers.try_join_next()));
        ended.filter_map(fault_of).next()
    }

    /// For how long nothing has moved.
    fn stands_for(&mut self, now: u64) -> u64 {
        let n_moved = self.live.n_moved();
        if n_moved != self.moved.0 {
            self.moved = (n_moved, now);
        }
        now.saturating_sub(self.moved.1)
    }

    /// How long nothing may move: at a slow rate, longer.
    fn patience(&self) -> Duration {
        let load = &self.live.plan.load;
        let gaps = [load.rate, load.consumer_rate].map(|it| match it {
            Rate::Unlimited => 0.0,
            Rate::PerSecond(rate) => 2.0 / rate,
        });
        load.drain_time + Duration::from_secs_f64(gaps[0].max(gaps[1]))
    }

    fn is_published(&self) -> bool {
        self.producers.is_empty()
    }

    /// Whether nothing more is to come, or nobody is left to take it.
    fn is_finished(&self) -> bool {
        match self.live.plan.consumers.is_empty() {
            true => self.is_published(),
            false => {
                self.consumers.is_empty() || (self.is_published() && self.live.is_all_arrived())
            }
        }
    }

    fn snapshot(&mut self) -> Snapshot {
        let snapshot = Snapshot::take(&self.live, &self.processes);
        self.progress.note_peak(&snapshot);
        snapshot
    }

    /// Ends everybody; whoever does not come in time is left behind.
    async fn go_home(&mut self) {
        self.live.end();
        let all = async {
            while self.producers.join_next().await.is_some() {}
            while self.consumers.join_next().await.is_some() {}
        };
        tokio::time::timeout(GOODBYE, all).await.ok();
        self.producers.abort_all();
        self.consumers.abort_all();
    }
}

fn fault_of(ended: Result<Result<(), Fault>, JoinError>) -> Option<Fault> {
    match ended {
        Ok(result) => result.err(),
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => None,
    }
}
