//! The same conversations with railpost and with RabbitMQ, and every answer compared.
//!
//! A seed makes a script: steps in the words of `tests/wire`, some of them wrong on purpose. Both
//! brokers are led through it step by step; after each, everything both have said to every
//! connection must be the same, and so must what is in every queue. What is different on purpose is
//! listed in `meant.rs`, by name and with a reason; `script.rs` says what is left out.
//!
//! Needs RabbitMQ's server as Debian packages it; without, the test says so and passes.
//!
//! - `RAILPOST_DIFFERENTIAL_SEEDS=7..20`: other scripts than the ones of every test run
//! - `RAILPOST_DIFFERENTIAL_STEPS=500`: longer ones
//! - `RAILPOST_DIFFERENTIAL_RABBITMQ=127.0.0.1:5672`: a node that runs already; its `/` is emptied

#![allow(
    unreachable_pub,
    dead_code,
    clippy::disallowed_methods,
    clippy::wildcard_enum_match_arm,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    reason = "modules of one test program, which says what it did"
)]

mod brokers;
#[path = "../nodes/rabbitmq.rs"]
mod node;

mod client;
mod meant;
mod player;
mod script;
#[path = "../wire/words.rs"]
mod words;

use std::env;
use std::ops::Range;

use player::Player;
use script::Script;

const SEEDS: Range<u64> = 1..6;
const STEPS: usize = 120;

#[test]
fn railpost_answers_as_rabbitmq_does() {
    let Some(rabbitmq) = brokers::rabbitmq() else {
        eprintln!("no RabbitMQ here: skipped");
        return;
    };
    let railpost = brokers::railpost();
    let seeds = env::var("RAILPOST_DIFFERENTIAL_SEEDS").ok().map_or(SEEDS, |it| {
        let (first, end) = it.split_once("..").expect("FIRST..END");
        first.parse().expect("a number")..end.parse().expect("a number")
    });
    let steps = env::var("RAILPOST_DIFFERENTIAL_STEPS").ok();
    let steps = steps.map_or(STEPS, |it| it.parse().expect("a number"));
    let mut problems = Vec::new();
    let (mut n_steps, mut n_answers) = (0, 0);
    for seed in seeds {
        let mut player = Player::new(rabbitmq.address, railpost.address);
        let mut script = Script::new(seed);
        let mut said = Vec::new();
        for _ in 0..steps {
            let step = script.step(|client, channel| player.tags(client, channel));
            said.push(step.to_string());
            n_steps += 1;
            match player.play(&step) {
                Ok(answers) => {
                    let answers = answers.iter().filter(|it| !it.starts_with('1'));
                    said.extend(answers.map(|it| format!("  {it}")));
                }
                Err(problem) => {
                    problems.push(format!("seed {seed}:\n{}\n{problem}", said.join("\n")));
                    break;
                }
            }
        }
        n_answers += player.n_answers;
        player.tidy_up();
    }
    eprintln!("{n_steps} steps, {n_answers} answers compared");
    assert!(problems.is_empty(), "\n{}", problems.join("\n\n"));
}
