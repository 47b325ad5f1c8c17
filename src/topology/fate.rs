//! What becomes of a message that fails in a queue, in a few words for people.

use crate::broker::rules::Unroutable;
use crate::queue::retry::Then;
use crate::topology::declared::Exchange;
use crate::topology::declared::Mode;
use crate::topology::declared::Queue;
use crate::topology::declared::RetryPolicy;

/// Waits that are written out; a policy with more of them ends in an ellipsis.
const WAITS_SHOWN: u32 = 6;

/// The waits of a policy: `1s 2s 4s 8s`.
pub fn waits(policy: &RetryPolicy) -> String {
    let machine = policy.to_machine();
    let n = match policy.attempts.value {
        0 => u32::MAX,
        attempts => attempts - 1,
    };
    let shown: Vec<String> =
        (1..=n.min(WAITS_SHOWN)).map(|it| machine.wait(it).to_string()).collect();
    let more = if n > WAITS_SHOWN { " …" } else { "" };
    format!("{}{more}", shown.join(" "))
}

/// How failed deliveries end: `retry 1s 2s 4s → parked`.
pub fn of_failed(queue: &Queue) -> String {
    let letter = || match &queue.dead_letter {
        Some(letter) if letter.exchange.value.is_empty() => match &letter.key {
            Some(key) => format!("queue {}", key.value),
            None => "its own queue".to_owned(),
        },
        Some(letter) => format!("exchange {}", letter.exchange.value),
        None => "nowhere".to_owned(),
    };
    match &queue.retry {
        Some(policy) => {
            let end = match policy.then.value {
                Then::Park => "parked".to_owned(),
                Then::DeadLetter => letter(),
                Then::Drop => "dropped".to_owned(),
            };
            match waits(policy) {
                waits if waits.is_empty() => format!("no retry → {end}"),
                waits => format!("retry {waits} → {end}"),
            }
        }
        None if queue.dead_letter.is_some() => format!("rejected → {}", letter()),
        None if queue.parking.is_some() => "rejected → parked".to_owned(),
        None => "rejected → dropped".to_owned(),
    }
}

/// Who takes the messages of a queue: `instances of member compete`.
pub fn of_consumers(queue: &Queue) -> String {
    let who = match queue.service() {
        Some(service) => format!("instances of {service}"),
        None => "consumers".to_owned(),
    };
    match &queue.mode {
        Mode::Compete => format!("{who} compete"),
        Mode::SingleActive => format!("one of the {who} at a time"),
        Mode::Keyed(_) => format!("{who} compete, in order per key"),
        Mode::Tap => format!("{who} look at a copy"),
    }
}

/// What becomes of a message that no queue takes.
pub fn of_unroutable(exchange: Option<&Exchange>) -> String {
    match exchange.map(Exchange::unroutable) {
        Some(Unroutable::Park) => {
            let lot = exchange.and_then(Exchange::parking_name);
            format!("it is parked in {}", lot.as_deref().unwrap_or_default())
        }
        Some(Unroutable::Reject) => "it is refused: a confirming publisher gets a nack".to_owned(),
        Some(Unroutable::Drop) => "it is dropped, and counted".to_owned(),
        Some(Unroutable::Return) | None => {
            "it is returned if it is mandatory, else it is lost".to_owned()
        }
    }
}
