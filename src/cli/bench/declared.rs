//! The exchange, queues and bindings of a run: made before it, removed after it.

use crate::amqp::table::Table;
use crate::cli::bench::connection::CHANNEL;
use crate::cli::bench::connection::Call;
use crate::cli::bench::connection::Connection;
use crate::cli::bench::fault::Fault;
use crate::cli::bench::plan::ExchangePlan;
use crate::cli::bench::plan::Plan;
use crate::cli::bench::plan::QueuePlan;
use crate::cli::bench::request::Request;
use crate::cli::bench::target::Target;

const NOT_FOUND: u16 = 404;
/// Bindings sent before an answer is waited for.
const BINDINGS_PER_ANSWER: usize = 500;

/// What a run has made and is to remove. What was there before is not in it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Declared {
    exchange: Option<String>,
    queues: Vec<String>,
}

impl Declared {
    /// Makes what the plan needs and the broker does not have. After an error, what was made so
    /// far is still to be removed.
    pub(super) async fn declare(
        &mut self,
        connection: &mut Connection,
        target: &Target,
        plan: &Plan,
    ) -> Result<(), Fault> {
        if plan.predeclared {
            return Ok(());
        }
        let is_durable = plan.queues.iter().any(|it| it.durable);
        if let Some(exchange) = &plan.exchange
            && !(is_given(plan, &exchange.name)
                && exists(target, declare_exchange(exchange, is_durable, true)).await?)
        {
            connection.call(declare_exchange(exchange, is_durable, false)).await?;
            self.exchange = Some(exchange.name.clone());
        }
        for queue in &plan.queues {
            if is_given(plan, &queue.name) && exists(target, declare_queue(queue, true)).await? {
                continue;
            }
            connection.call(declare_queue(queue, false)).await?;
            self.queues.push(queue.name.clone());
        }
        bind(connection, plan).await
    }

    /// Removes what was made, as far as it works; returns the first thing that went wrong, with
    /// the names of what may be left.
    pub(super) async fn remove(self, target: &Target) -> Option<String> {
        if self == Declared::default() {
            return None;
        }
        let mut rest = self.names();
        let Err(fault) = remove_all(self, target, &mut rest).await else { return None };
        Some(format!("could not remove {}: {fault}", listed(&rest)))
    }

    fn names(&self) -> Vec<String> {
        self.queues.iter().chain(&self.exchange).cloned().collect()
    }
}

/// Removes the queues and then the exchange; `rest` keeps the names of what is not yet removed.
async fn remove_all(
    declared: Declared,
    target: &Target,
    rest: &mut Vec<String>,
) -> Result<(), Fault> {
    let mut connection = Connection::open(target).await?;
    for queue in declared.queues {
        let request = Request::new(CHANNEL, 50, 40).short(0).text(&queue).bits(&[false; 3]);
        let delete = Call { name: "queue.delete", request, answer: (50, 41) };
        match connection.call(delete).await {
            // A queue that went with its last consumer is gone, and the channel with it.
            Err(fault) if fault.reply_code() == Some(NOT_FOUND) => {
                connection = Connection::open(target).await?;
            }
            other => {
                other?;
            }
        }
        rest.retain(|it| *it != queue);
    }
    if let Some(exchange) = declared.exchange {
        let request = Request::new(CHANNEL, 40, 20).short(0).text(&exchange).bits(&[false; 2]);
        let delete = Call { name: "exchange.delete", request, answer: (40, 21) };
        connection.call(delete).await?;
    }
    connection.close().await;
    Ok(())
}

/// The first names, and how many more there are.
fn listed(names: &[String]) -> String {
    const SHOWN: usize = 3;
    let shown: Vec<String> = names.iter().take(SHOWN).map(|it| format!("`{it}`")).collect();
    match names.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Whether a name was given by the person, and may name something that is there already.
fn is_given(plan: &Plan, name: &str) -> bool {
    !name.starts_with(&plan.run.name)
}

/// Asks on a connection of its own, since "no" closes the channel.
async fn exists(target: &Target, passive: Call) -> Result<bool, Fault> {
    let mut connection = Connection::open(target).await?;
    match connection.call(passive).await {
        Ok(_) => {
            connection.close().await;
            Ok(true)
        }
        Err(fault) if fault.reply_code() == Some(NOT_FOUND) => Ok(false),
        Err(fault) => Err(fault),
    }
}

fn declare_exchange(exchange: &ExchangePlan, durable: bool, passive: bool) -> Call {
    let request = Request::new(CHANNEL, 40, 10)
        .short(0)
        .text(&exchange.name)
        .text(&exchange.kind)
        .bits(&[passive, durable, false, false, false])
        .table(&Table::default());
    Call { name: "exchange.declare", request, answer: (40, 11) }
}

fn declare_queue(queue: &QueuePlan, passive: bool) -> Call {
    let request = Request::new(CHANNEL, 50, 10)
        .short(0)
        .text(&queue.name)
        .bits(&[passive, queue.durable, false, queue.auto_delete, false])
        .table(&queue.arguments);
    Call { name: "queue.declare", request, answer: (50, 11) }
}

async fn bind(connection: &mut Connection, plan: &Plan) -> Result<(), Fault> {
    let exchange = plan.exchange.as_ref().map_or("", |it| it.name.as_str());
    for (at, binding) in plan.bindings.iter().enumerate() {
        let is_last = at + 1 == plan.bindings.len() || (at + 1) % BINDINGS_PER_ANSWER == 0;
        let request = Request::new(CHANNEL, 50, 20)
            .short(0)
            .text(&plan.queues[binding.queue].name)
            .text(exchange)
            .text(&binding.key)
            .bits(&[!is_last])
            .table(&Table::default());
        if is_last {
            connection.call(Call { name: "queue.bind", request, answer: (50, 21) }).await?;
        } else {
            connection.out.extend_from_slice(&request.finish());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_of_names_are_cut() {
        let names: Vec<String> = ["a", "b", "c", "d", "e"].map(String::from).to_vec();
        assert_eq!(listed(&names[..2]), "`a`, `b`");
        assert_eq!(listed(&names), "`a`, `b`, `c` and 2 more");
    }
}
