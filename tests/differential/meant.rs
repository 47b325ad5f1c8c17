//! What is different on purpose.

use crate::script::Step;

/// A difference that is meant.
struct Meant {
    name: &'static str,
    reason: &'static str,
    steps: &'static [&'static str],
    /// The line, from RabbitMQ or from railpost, says nothing to compare.
    left_out: fn(&str) -> bool,
}

const MEANT: &[Meant] = &[Meant {
    name: "methods nobody knows are answered",
    reason: "RabbitMQ resets the socket; 503 says what was wrong",
    steps: &["an unknown class", "an unknown method"],
    left_out: |line| {
        line.ends_with(" 0 socket has gone") || line.contains(" 0 connection.close code=503 ")
    },
}];

/// The answers without what may differ.
pub fn leave_out(
    step: &Step,
    theirs: Vec<String>,
    ours: Vec<String>,
) -> (Vec<String>, Vec<String>) {
    let keep = |lines: Vec<String>| {
        let here = MEANT.iter().filter(|it| it.steps.contains(&step.name()));
        let here: Vec<_> = here.collect();
        let left = |line: &String| !here.iter().any(|it| (it.left_out)(line));
        lines.into_iter().filter(left).map(|it| newer(&it)).collect::<Vec<_>>()
    };
    (keep(theirs), keep(ours))
}

/// A line without what RabbitMQ has since version 4 only, and without the time of day.
fn newer(line: &str) -> String {
    let words = line.split(' ').filter(|it| !it.starts_with("x-last-death-"));
    let words = words.map(|word| match word.split_once(",time:") {
        Some((before, after)) => {
            let after = after.trim_start_matches(|it: char| it.is_ascii_digit());
            format!("{before},time:*{after}")
        }
        None => word.to_owned(),
    });
    words.collect::<Vec<_>>().join(" ")
}
