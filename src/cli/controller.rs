//! `railpost controller`: retries and parking for a topology on RabbitMQ.

use tokio::runtime::Runtime;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;
use tokio::sync::watch;

use crate::cli::args::ControllerArgs;
use crate::cli::exit::Exit;
use crate::cli::serve::start_logging;
use crate::cli::sound;
use crate::controller;
use crate::controller::ControllerConfig;
use crate::controller::ControllerError;
use crate::controller::Counts;
use crate::controller::moving;
use crate::topology::rabbitmq::detour;
use crate::topology::rabbitmq::detour::Detour;

pub(in crate::cli) fn run(args: &ControllerArgs) -> Exit {
    let topology = match sound::read(&args.paths) {
        Ok(topology) => topology,
        Err(exit) => return exit,
    };
    let detours = detour::all(&topology);
    if detours.is_empty() {
        println!("no queue of these files retries or parks: there is nothing to do");
        return Exit::Fine;
    }
    let runtime = match Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start threads: {error}");
            return Exit::Unusable;
        }
    };
    if let Some(queue) = &args.redrive {
        return runtime.block_on(redrive(args, queue, &detours));
    }
    // The library tells of each connection that is closed; what matters is logged here.
    start_logging(args.log_format, "info,lapin=off");
    runtime.block_on(work(args, detours))
}

async fn redrive(args: &ControllerArgs, queue: &str, detours: &[Detour]) -> Exit {
    let is_one = |it: &&Detour| {
        *it.queue == *queue && args.vhost.as_ref().is_none_or(|vhost| *it.vhost == **vhost)
    };
    let mut all = detours.iter().filter(is_one);
    let (Some(detour), None) = (all.next(), all.next()) else {
        eprintln!("error: `{queue}` is not one queue that parks; --vhost says which of several");
        return Exit::Unusable;
    };
    match moving::redrive(&args.url, detour, args.count.unwrap_or(u64::MAX)).await {
        Ok(n) => {
            println!("sent {n} messages back to `{queue}`");
            Exit::Fine
        }
        Err(error) => {
            eprintln!("error: {error}");
            if error.is_unreachable() { Exit::Unreachable } else { Exit::Partial }
        }
    }
}

async fn work(args: &ControllerArgs, detours: Vec<Detour>) -> Exit {
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        eprintln!("error: cannot listen for signals");
        return Exit::Unusable;
    };
    let (stop, stopped) = watch::channel(false);
    let config = ControllerConfig {
        url: args.url.clone(),
        window: args.window,
        impersonates: args.impersonate,
    };
    println!("retries for {} queues", detours.len());
    let working = controller::run(detours, config, stopped);
    tokio::pin!(working);
    let mut exit = Exit::Fine;
    let done = loop {
        tokio::select! {
            done = &mut working => break done,
            _ = terminate.recv() => {
                let _ = stop.send(true);
            }
            _ = interrupt.recv() => {
                exit = Exit::Interrupted;
                let _ = stop.send(true);
            }
        }
    };
    match done {
        Ok(counts) => {
            tell(&counts);
            exit
        }
        Err(error) => {
            eprintln!("error: {error}");
            match error {
                ControllerError::NotApplied { .. } => Exit::Findings,
                ControllerError::Address(..) => Exit::Unusable,
                ControllerError::Unreachable(_) | ControllerError::Silent => Exit::Unreachable,
            }
        }
    }
}

fn tell(counts: &Counts) {
    for (queue, it) in counts {
        println!(
            "{queue}: {} retried, {} parked, {} dead-lettered, {} dropped",
            it.retried, it.parked, it.dead_lettered, it.dropped
        );
    }
}
