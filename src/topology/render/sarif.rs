//! Findings in SARIF 2.1.0, which code scanning services read.

use serde_json::Value;
use serde_json::json;

use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Severity;
use crate::topology::diagnostic::Span;
use crate::topology::lint::RULES;
use crate::topology::load::mistake;
use crate::topology::source::Sources;

/// One SARIF log with one run, and all rules in it, so that numbers of rules do not depend on what
/// was found.
pub fn sarif(diagnostics: &[Diagnostic], sources: &Sources) -> String {
    let mistakes = mistake::ALL.iter().map(|it| (it.code, it.page));
    let rules: Vec<_> = mistakes.chain(RULES.iter().map(|it| (it.code, it.page))).collect();
    let descriptors: Vec<Value> = rules
        .iter()
        .map(|(code, page)| {
            let first = page.split_inclusive(['.', ':']).next().unwrap_or(page);
            json!({
                "id": code.id,
                "name": code.name,
                "shortDescription": { "text": first.trim_end_matches(':') },
                "fullDescription": { "text": page },
                "help": { "text": format!("{page}\n\nrailpost explain {}", code.id) },
            })
        })
        .collect();
    let results: Vec<Value> = diagnostics
        .iter()
        .map(|it| {
            let level = match it.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
                Severity::Info => "note",
            };
            let mut text = it.title.clone();
            for more in it.notes.iter().chain(&it.help) {
                text.push_str(&format!("\n{more}"));
            }
            json!({
                "ruleId": it.rule.id,
                "ruleIndex": rules.iter().position(|(code, _)| *code == it.rule),
                "level": level,
                "message": { "text": text },
                "locations": [location(&it.primary, sources)],
                "relatedLocations":
                    it.further.iter().map(|it| location(it, sources)).collect::<Vec<_>>(),
            })
        })
        .collect();
    let document = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "railpost",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": descriptors,
            } },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    });
    format!("{document:#}\n")
}

fn location(span: &Span, sources: &Sources) -> Value {
    let place = sources.place(span.origin);
    json!({
        "physicalLocation": {
            "artifactLocation": { "uri": uri(place.path) },
            "region": {
                "startLine": place.line,
                "startColumn": place.column,
                "endLine": place.end_line,
                "endColumn": place.end_column,
            },
        },
        "message": { "text": span.label },
    })
}

/// A path as a relative reference: with slashes, and with everything else escaped.
fn uri(path: &str) -> String {
    let mut uri = String::new();
    for byte in path.trim_start_matches("./").bytes() {
        match byte {
            b'\\' => uri.push('/'),
            b'/' | b'-' | b'_' | b'.' | b'~' => uri.push(char::from(byte)),
            it if it.is_ascii_alphanumeric() => uri.push(char::from(it)),
            it => uri.push_str(&format!("%{it:02X}")),
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::Source;
    use crate::topology::load;

    #[test]
    fn findings_have_their_rule_and_place() {
        let path = "a folder/ü.toml".to_owned();
        let loaded = load(&[Source { path, text: "[queues.q]\nservce = \"a\"\n".into() }]);
        let text = sarif(&loaded.diagnostics, &loaded.topology.sources);
        let json: Value = serde_json::from_str(&text).expect("it is JSON");
        let (run, result) = (&json["runs"][0], &json["runs"][0]["results"][0]);
        assert_eq!((&result["level"], &result["ruleId"]), (&json!("error"), &json!("TOP-002")));
        let index = result["ruleIndex"].as_u64().and_then(|it| usize::try_from(it).ok());
        assert_eq!(run["tool"]["driver"]["rules"][index.unwrap_or(99)]["id"], "TOP-002");
        let place = &result["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uri"], "a%20folder/%C3%BC.toml");
        assert_eq!(place["region"]["startLine"], 2);
    }
}
