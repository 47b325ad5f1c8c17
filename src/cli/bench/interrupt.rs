//! Ctrl-C: the first ends a run in good order, the second at once.

use std::process;

use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;
use tokio::sync::watch;

const EXIT_INTERRUPTED: i32 = 130;

/// Tells whether a person, or the system, asked the program to end.
#[derive(Clone, Debug)]
pub(super) struct Interrupt {
    count: watch::Receiver<u32>,
}

impl Interrupt {
    /// Begins to listen for SIGINT and SIGTERM.
    pub(super) fn listen() -> std::io::Result<Interrupt> {
        let (sender, count) = watch::channel(0);
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                sender.send_modify(|it| *it += 1);
                if *sender.borrow() > 1 {
                    eprintln!("error: stopped at once; the queues of the run may be left");
                    process::exit(EXIT_INTERRUPTED);
                }
                eprintln!("stopping; once more stops at once and leaves the queues");
            }
        });
        Ok(Interrupt { count })
    }

    /// Waits until it was asked for.
    pub(super) async fn came(&mut self) {
        if self.count.wait_for(|it| *it > 0).await.is_err() {
            // Nobody can ask any more.
            std::future::pending::<()>().await;
        }
    }

    pub(super) fn has_come(&self) -> bool {
        *self.count.borrow() > 0
    }
}
