//! A rollout for people, for programs, and for the comments of a pull request.

use crate::topology::rollout::Handover;
use crate::topology::rollout::Rollout;
use crate::topology::rollout::Stake;
use crate::topology::rollout::StepAction;

impl StepAction {
    fn as_str(self) -> &'static str {
        match self {
            StepAction::ReplaceQueue | StepAction::ReplaceExchange => "replace",
            StepAction::Create => "create",
            StepAction::Change => "change",
            StepAction::Bind => "bind",
            StepAction::Hold => "hold to",
            StepAction::Unbind => "unbind",
            StepAction::Delete => "delete",
        }
    }
}

impl Rollout {
    /// The saved form: what `apply` takes.
    pub fn json(&self) -> String {
        let text = serde_json::to_string_pretty(self).expect("strings and numbers only");
        text + "\n"
    }

    /// The plan, its steps, and what speaks against it.
    pub fn text(&self) -> String {
        let mut text = self.plan.text();
        let mut section = |title: &str, lines: Vec<String>| {
            if !lines.is_empty() {
                text.push_str(&format!("\n{title}\n"));
                lines.iter().for_each(|it| text.push_str(&format!("  {it}\n")));
            }
        };
        section("steps", self.step_lines());
        section("replaced with what is in it", self.handovers.iter().map(handover).collect());
        section("at stake", self.stakes.iter().map(stake).collect());
        section("on the broker and in no file", self.undeclared_lines());
        section("not as the files say", self.losses.clone());
        section("refused", self.refusals.iter().map(|it| format!("! {it}")).collect());
        text
    }

    /// For a comment of a pull request.
    pub fn markdown(&self) -> String {
        let mut text = self.plan.markdown();
        let mut section = |title: &str, lines: Vec<String>| {
            if !lines.is_empty() {
                text.push_str(&format!("\n#### {title}\n\n"));
                lines.iter().for_each(|it| text.push_str(&format!("- {it}\n")));
            }
        };
        section("Replaced with what is in it", self.handovers.iter().map(handover).collect());
        section("At stake", self.stakes.iter().map(stake).collect());
        section("On the broker and in no file", self.undeclared_lines());
        section("Not as the files say", self.losses.clone());
        section("Refused", self.refusals.clone());
        text
    }

    /// What differs between the broker and the files, for `drift`.
    pub fn drift(&self) -> String {
        let mut text = String::new();
        if !self.is_empty() {
            text.push_str(&self.plan.text());
        }
        for line in self.undeclared_lines() {
            text.push_str(&format!("  ? {line}\n"));
        }
        if text.is_empty() { "no drift\n".to_owned() } else { text }
    }

    fn step_lines(&self) -> Vec<String> {
        let line = |(at, it): (usize, &crate::topology::rollout::Step)| {
            format!("{:>3}. {} {} {}", at + 1, it.action.as_str(), it.kind.as_str(), it.name)
        };
        self.steps.iter().enumerate().map(line).collect()
    }

    fn undeclared_lines(&self) -> Vec<String> {
        let line = |it: &crate::topology::rollout::removal::Undeclared| {
            format!("{} `{}` in the vhost `{}`", it.kind, it.name, it.vhost)
        };
        self.undeclared.iter().map(line).collect()
    }
}

fn handover(it: &Handover) -> String {
    let Handover { queue, n_messages, n_consumers, cancels, .. } = it;
    let fate = if *cancels { "are cancelled and subscribe again" } else { "stay" };
    format!(
        "queue `{queue}`: {n_messages} messages are kept in their order, {n_consumers} consumers \
         {fate}"
    )
}

fn stake(it: &Stake) -> String {
    let Stake { queue, n_messages, n_consumers, .. } = it;
    format!("queue `{queue}`: {n_messages} messages, {n_consumers} consumers")
}
