//! What is wrong with a topology: collected, never thrown, each with its place and its remedy.

use std::fmt;

use crate::topology::fix::Fix;
use crate::topology::fix::FixChange;
use crate::topology::source::Origin;

/// One thing to change in a topology file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diagnostic {
    pub rule: Code,
    pub severity: Severity,
    /// One sentence that names the object; names stand in backticks.
    pub title: String,
    /// The place to change.
    pub primary: Span,
    /// Other places that belong to it.
    pub further: Vec<Span>,
    pub notes: Vec<String>,
    /// What to do.
    pub help: Option<String>,
    /// What corrects it, where that cannot do harm.
    pub fix: Option<Fix>,
    /// The objects it is about, as the origins of their names: an `allow` there suppresses it.
    pub about: Vec<Origin>,
}

/// A rule's stable id, and its name for people.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Code {
    /// For example `FAN-002`.
    pub id: &'static str,
    /// For example `fanout-shared-queue`.
    pub name: &'static str,
}

/// How bad it is; the worst first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Severity {
    /// The topology cannot be used, or messages are lost or handled twice.
    Error,
    Warning,
    Info,
}

/// A place and what it has to do with it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Span {
    pub origin: Origin,
    pub label: String,
}

/// How many findings there are of each severity.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    pub errors: usize,
    pub warnings: usize,
    pub infos: usize,
}

impl Severity {
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Info => "info",
        }
    }
}

impl Diagnostic {
    pub(in crate::topology) fn new(
        rule: Code,
        severity: Severity,
        title: impl Into<String>,
        (origin, label): (Origin, impl Into<String>),
    ) -> Diagnostic {
        Diagnostic {
            rule,
            severity,
            title: title.into(),
            primary: Span { origin, label: label.into() },
            further: Vec::new(),
            notes: Vec::new(),
            help: None,
            fix: None,
            about: Vec::new(),
        }
    }

    pub(in crate::topology) fn also(
        mut self,
        origin: Origin,
        label: impl Into<String>,
    ) -> Diagnostic {
        self.further.push(Span { origin, label: label.into() });
        self
    }

    pub(in crate::topology) fn help(mut self, text: impl Into<String>) -> Diagnostic {
        self.help = Some(text.into());
        self
    }

    pub(in crate::topology) fn fix(mut self, origin: Origin, change: FixChange) -> Diagnostic {
        self.fix = Some(Fix { origin, change });
        self
    }

    pub(in crate::topology) fn note(mut self, text: impl Into<String>) -> Diagnostic {
        self.notes.push(text.into());
        self
    }

    /// Names an object it is about.
    pub(in crate::topology) fn about(mut self, origin: Origin) -> Diagnostic {
        self.about.push(origin);
        self
    }

    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl Tally {
    pub fn of(diagnostics: &[Diagnostic]) -> Tally {
        let count = |severity| diagnostics.iter().filter(|it| it.severity == severity).count();
        Tally {
            errors: count(Severity::Error),
            warnings: count(Severity::Warning),
            infos: count(Severity::Info),
        }
    }
}

/// Where findings are collected while files are read.
#[derive(Debug, Default)]
pub(in crate::topology) struct Report {
    pub(in crate::topology) diagnostics: Vec<Diagnostic>,
    /// Nothing is added: the file at hand is broken, and what it seems to say may not be meant.
    pub(in crate::topology) muted: bool,
    /// Something was left out of the topology, so that what is absent proves nothing.
    pub(in crate::topology) left_out: bool,
}

impl Report {
    pub(in crate::topology) fn add(&mut self, diagnostic: Diagnostic) {
        if !self.muted {
            self.diagnostics.push(diagnostic);
        }
    }
}

/// The order in which people read them: by file and place, at one place the worst first.
pub(in crate::topology) fn sort(diagnostics: &mut Vec<Diagnostic>) {
    diagnostics.sort_by(|a, b| key(a).cmp(&key(b)));
    diagnostics.dedup();
}

fn key(it: &Diagnostic) -> impl Ord + '_ {
    let Origin { file, start, end } = it.primary.origin;
    (file, start, it.severity, it.rule, end, &it.title, &it.primary.label)
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = [(self.errors, "error"), (self.warnings, "warning"), (self.infos, "info")];
        let mut first = true;
        for (n, word) in counts.into_iter().filter(|(n, _)| *n > 0) {
            let comma = if first { "" } else { ", " };
            let plural = if n > 1 && word != "info" { "s" } else { "" };
            write!(f, "{comma}{n} {word}{plural}")?;
            first = false;
        }
        if first { f.write_str("no findings") } else { Ok(()) }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id)
    }
}
