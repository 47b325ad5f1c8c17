//! Corrections that cannot change where a message goes: what `check --fix` writes.

use crate::topology::diagnostic::Diagnostic;
use crate::topology::source::Origin;
use crate::topology::source::Source;
use crate::topology::source::Sources;

/// A correction of one place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fix {
    pub origin: Origin,
    pub change: FixChange,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FixChange {
    /// This instead.
    Write(&'static str),
    /// Nothing: it is an element of a list, whose comma goes with it.
    DropElement,
}

/// The files that the findings correct, as they are then, and how many findings that were. Of two
/// corrections of one place the first is made.
pub fn fixed(sources: &Sources, found: &[Diagnostic]) -> (Vec<Source>, usize) {
    let mut n_fixed = 0;
    let mut changed = Vec::new();
    for (file, mut source) in (0..).zip(sources.texts()) {
        let fixes = found.iter().filter_map(|it| it.fix.as_ref());
        let mut fixes: Vec<&Fix> = fixes.filter(|it| it.origin.file == file).collect();
        fixes.sort_by_key(|it| it.origin);
        fixes.dedup_by(|later, first| later.origin.start < first.origin.end);
        // From the end, so that the places before stay where they are.
        for fix in fixes.iter().rev() {
            let bytes = fix.origin.bytes();
            let (bytes, text) = match fix.change {
                FixChange::Write(text) => (bytes, text),
                FixChange::DropElement => (with_comma(&source.text, bytes), ""),
            };
            if source.text.get(bytes.clone()).is_some() {
                source.text.replace_range(bytes, text);
                n_fixed += 1;
            }
        }
        if !fixes.is_empty() {
            changed.push(source);
        }
    }
    (changed, n_fixed)
}

/// An element of a list with the comma behind it and the space up to it or, if it is the last one,
/// with the comma before it.
fn with_comma(text: &str, bytes: std::ops::Range<usize>) -> std::ops::Range<usize> {
    let (before, after) = (&text[..bytes.start], &text[bytes.end..]);
    let trimmed = before.trim_end();
    if after.trim_start().starts_with(',') {
        let comma = after.find(',').unwrap_or_default() + 1;
        return trimmed.len()..bytes.end + comma;
    }
    match trimmed.strip_suffix(',') {
        Some(first) => first.len()..bytes.end,
        None => bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::check;
    use crate::topology::day::Day;

    const BEFORE: &str = "[services.a]\n[services.b]\n\
        [exchanges.f]\ntype = \"fanout\"\n[exchanges.t]\ntype = \"topic\"\n\
        [queues.q]\nservice = \"a\"\nlimits = { age = \"1d\" }\nretry = {}\n\
        allow = [{ rule = \"QUE-001\", reason = \"small\" }]\n\
        bindings = [\n  { exchange = \"f\", key = \"eu\" },\n  { exchange = \"t\", key = \"#\" },\n  \
        { exchange = \"t\", key = \"a.b\" },\n]\n\
        [queues.r]\nservice = \"b\"\nlimits = { age = \"1d\" }\nretry = {}\n\
        bindings = [{ exchange = \"f\" }, { exchange = \"t\", key = \"a\" }]\n";

    const AFTER: &str = "[services.a]\n[services.b]\n\
        [exchanges.f]\ntype = \"fanout\"\n[exchanges.t]\ntype = \"topic\"\n\
        [queues.q]\nservice = \"a\"\nlimits = { age = \"1d\" }\nretry = {}\n\
        allow = []\n\
        bindings = [\n  { exchange = \"f\", key = \"\" },\n  { exchange = \"t\", key = \"#\" },\n]\n\
        [queues.r]\nservice = \"b\"\nlimits = { age = \"1d\" }\nretry = {}\n\
        bindings = [{ exchange = \"f\" }, { exchange = \"t\", key = \"a\" }]\n";

    #[test]
    fn what_is_fixed_is_found_no_more() {
        let day = Day::parse("2026-06-01").expect("it is a day");
        let source = |text: &str| Source { path: "t.toml".to_owned(), text: text.to_owned() };
        let loaded = check(&[source(BEFORE)], day);
        let (changed, n_fixed) = fixed(&loaded.topology.sources, &loaded.diagnostics);
        assert_eq!(changed[0].text, AFTER, "{:?}", loaded.diagnostics);
        assert_eq!(n_fixed, 3);
        let loaded = check(&changed, day);
        assert_eq!(fixed(&loaded.topology.sources, &loaded.diagnostics), (vec![], 0));
    }

    #[test]
    fn commas_go_with_elements() {
        let cases = [("[a, b, c]", 1, "[ b, c]"), ("[a, b, c]", 4, "[a, c]"), ("[a, b]", 4, "[a]")];
        for (text, at, expected) in cases.into_iter().chain([("[a]", 1, "[]")]) {
            let mut text = text.to_owned();
            let range = with_comma(&text, at..at + 1);
            text.replace_range(range, "");
            assert_eq!(text, expected);
        }
    }
}
