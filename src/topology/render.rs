//! Findings as text for people, as JSON for programs, and as annotations for pull requests.

mod sarif;

use annotate_snippets::AnnotationKind;
use annotate_snippets::Level;
use annotate_snippets::Renderer;
use annotate_snippets::Snippet;
use annotate_snippets::renderer::DecorStyle;
use serde_json::Value;
use serde_json::json;

use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Severity;
use crate::topology::diagnostic::Span;
use crate::topology::diagnostic::Tally;
use crate::topology::source::Origin;
use crate::topology::source::Sources;

pub use crate::topology::render::sarif::sarif;

/// Whether text for people has colours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Color {
    Plain,
    Ansi,
}

/// Each finding with its lines, a caret, and its remedy; a blank line behind each.
pub fn text(diagnostics: &[Diagnostic], sources: &Sources, color: Color) -> String {
    let renderer = match color {
        Color::Plain => Renderer::plain(),
        Color::Ansi => Renderer::styled(),
    };
    let renderer = renderer.decor_style(DecorStyle::Ascii);
    let mut text = String::new();
    for diagnostic in diagnostics {
        text.push_str(&one(diagnostic, sources, &renderer));
        text.push_str("\n\n");
    }
    text
}

fn one(diagnostic: &Diagnostic, sources: &Sources, renderer: &Renderer) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Info => Level::INFO,
    };
    let snippets = snippets(diagnostic, sources);
    let notes = diagnostic.notes.iter().map(|it| Level::NOTE.message(it.as_str()));
    let help = diagnostic.help.iter().map(|it| Level::HELP.message(it.as_str()));
    let group = level
        .primary_title(diagnostic.title.as_str())
        .id(diagnostic.rule.id)
        .elements(snippets)
        .elements(notes)
        .elements(help);
    renderer.render(&[group])
}

/// The lines around every place, one snippet per file, that of the primary place first.
fn snippets<'s>(
    diagnostic: &'s Diagnostic,
    sources: &'s Sources,
) -> Vec<Snippet<'s, annotate_snippets::Annotation<'s>>> {
    let mut places: Vec<(&Span, AnnotationKind)> =
        vec![(&diagnostic.primary, AnnotationKind::Primary)];
    places.extend(diagnostic.further.iter().map(|it| (it, AnnotationKind::Context)));
    let mut files: Vec<u32> = Vec::new();
    for (span, _) in &places {
        if !files.contains(&span.origin.file) {
            files.push(span.origin.file);
        }
    }
    files.into_iter().map(|file| snippet(file, &places, sources)).collect()
}

fn snippet<'s>(
    file: u32,
    places: &[(&'s Span, AnnotationKind)],
    sources: &'s Sources,
) -> Snippet<'s, annotate_snippets::Annotation<'s>> {
    let here = || places.iter().filter(|(span, _)| span.origin.file == file);
    let starts = here().map(|(span, _)| span.origin.start).min().unwrap_or(0) as usize;
    let ends = here().map(|(span, _)| span.origin.end).max().unwrap_or(0) as usize;
    let (lines, start, first) = sources.lines_around(file, starts..ends.max(starts));
    let annotations = here().map(|(span, kind)| {
        let bytes = within(span.origin, start, lines.len());
        kind.span(bytes).label(span.label.as_str())
    });
    Snippet::source(lines)
        .line_start(first)
        .path(sources.path(file))
        .annotations(annotations.collect::<Vec<_>>())
}

/// The bytes of `origin`, counted from `start`; at least one where there is one.
fn within(origin: Origin, start: usize, length: usize) -> std::ops::Range<usize> {
    let bytes = origin.bytes();
    let from = bytes.start.saturating_sub(start).min(length);
    let to = bytes.end.saturating_sub(start).min(length);
    from..to.max(from)
}

/// One document, `"schema": "railpost.check/1"`.
pub fn json(diagnostics: &[Diagnostic], sources: &Sources) -> String {
    let findings: Vec<Value> = diagnostics
        .iter()
        .map(|it| {
            json!({
                "rule": it.rule.id,
                "name": it.rule.name,
                "severity": it.severity.as_str(),
                "title": it.title,
                "place": span(&it.primary, sources),
                "further": it.further.iter().map(|it| span(it, sources)).collect::<Vec<_>>(),
                "notes": it.notes,
                "help": it.help,
            })
        })
        .collect();
    let tally = Tally::of(diagnostics);
    let document = json!({
        "schema": "railpost.check/1",
        "errors": tally.errors,
        "warnings": tally.warnings,
        "infos": tally.infos,
        "findings": findings,
    });
    format!("{document:#}\n")
}

fn span(span: &Span, sources: &Sources) -> Value {
    let place = sources.place(span.origin);
    json!({
        "file": place.path,
        "line": place.line,
        "column": place.column,
        "end_line": place.end_line,
        "end_column": place.end_column,
        "label": span.label,
    })
}

/// Workflow commands of GitHub Actions, errors first, since it shows only so many.
pub fn github(diagnostics: &[Diagnostic], sources: &Sources) -> String {
    let mut all: Vec<&Diagnostic> = diagnostics.iter().collect();
    all.sort_by_key(|it| it.severity);
    let mut text = String::new();
    for it in all {
        let place = sources.place(it.primary.origin);
        let command = match it.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Info => "notice",
        };
        let help = it.help.as_ref().map(|help| format!("\nhelp: {help}")).unwrap_or_default();
        text.push_str(&format!(
            "::{command} file={},line={},col={},title={}::{}\n",
            escaped_property(place.path),
            place.line,
            place.column,
            escaped_property(&format!("{} {}", it.rule.id, it.rule.name)),
            escaped(&format!("{}{help}", it.title)),
        ));
    }
    text
}

fn escaped(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn escaped_property(text: &str) -> String {
    escaped(text).replace(':', "%3A").replace(',', "%2C")
}
