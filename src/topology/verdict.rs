//! The results of `[[tests]]`, for people, for programs, and in JUnit's XML.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;
use serde_json::json;

use crate::topology::coverage::Coverage;
use crate::topology::declared::Topology;
use crate::topology::graph::escaped;
use crate::topology::run::Failure;
use crate::topology::scenario::Scenario;

/// What became of one test.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Verdict {
    pub name: String,
    pub file: String,
    pub line: usize,
    pub failures: Vec<Reason>,
    pub micros: u128,
}

/// An expectation that did not hold.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Reason {
    /// `path:line`.
    pub place: String,
    pub text: String,
}

impl Verdict {
    pub fn new(
        topology: &Topology,
        scenario: &Scenario,
        failures: &[Failure],
        took: Duration,
    ) -> Verdict {
        let place = topology.sources.place(scenario.origin);
        let reason = |it: &Failure| Reason {
            place: topology.sources.cite(it.origin).to_string(),
            text: it.text.clone(),
        };
        Verdict {
            name: scenario.name.value.clone(),
            file: place.path.to_owned(),
            line: place.line,
            failures: failures.iter().map(reason).collect(),
            micros: took.as_micros(),
        }
    }

    pub fn passed(&self) -> bool {
        self.failures.is_empty()
    }

    /// A line, and one for each failure.
    pub fn text(&self) -> String {
        let word = if self.passed() { "ok    " } else { "FAILED" };
        let mut text = format!("{word} {} ({}:{})\n", self.name, self.file, self.line);
        for it in &self.failures {
            text.push_str(&format!("       {}: {}\n", it.place, it.text));
        }
        text
    }
}

/// One document, `"schema": "railpost.test/1"`.
pub fn json(all: &[Verdict], coverage: Option<&Coverage>) -> String {
    let passed = all.iter().filter(|it| it.passed()).count();
    let document = json!({
        "schema": "railpost.test/1",
        "passed": passed,
        "failed": all.len() - passed,
        "tests": all,
        "coverage": coverage,
    });
    format!("{document:#}\n")
}

/// JUnit's XML: one suite per file.
pub fn junit(all: &[Verdict]) -> String {
    let mut suites: BTreeMap<&str, Vec<&Verdict>> = BTreeMap::new();
    for it in all {
        suites.entry(&it.file).or_default().push(it);
    }
    let mut xml = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".to_owned();
    let _ = writeln!(xml, "<testsuites name=\"railpost\" {}>", counts(all.iter()));
    for (file, tests) in suites {
        let file = escaped(file);
        let counts = counts(tests.iter().copied());
        let _ = writeln!(xml, "  <testsuite name=\"{file}\" {counts}>");
        for it in tests {
            let (name, line, time) = (escaped(&it.name), it.line, seconds(it.micros));
            let _ = write!(
                xml,
                "    <testcase name=\"{name}\" classname=\"{file}\" file=\"{file}\" \
                 line=\"{line}\" time=\"{time}\""
            );
            if it.passed() {
                xml.push_str("/>\n");
                continue;
            }
            xml.push_str(">\n");
            for reason in &it.failures {
                let (text, place) = (escaped(&reason.text), escaped(&reason.place));
                let _ =
                    writeln!(xml, "      <failure message=\"{text}\">{place}: {text}</failure>");
            }
            xml.push_str("    </testcase>\n");
        }
        xml.push_str("  </testsuite>\n");
    }
    xml + "</testsuites>\n"
}

fn counts<'v>(all: impl Iterator<Item = &'v Verdict>) -> String {
    let (mut n, mut failed, mut micros) = (0, 0, 0);
    for it in all {
        n += 1;
        failed += usize::from(!it.passed());
        micros += it.micros;
    }
    format!("tests=\"{n}\" failures=\"{failed}\" time=\"{}\"", seconds(micros))
}

fn seconds(micros: u128) -> String {
    format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn junit_counts_and_escapes() {
        let verdict = |failures| Verdict {
            name: "a < b & \"c\"".to_owned(),
            file: "t.toml".to_owned(),
            line: 3,
            failures,
            micros: 1500,
        };
        let reason = Reason { place: "t.toml:4".to_owned(), text: "1 > 0".to_owned() };
        let xml = junit(&[verdict(vec![]), verdict(vec![reason])]);
        assert!(xml.contains("tests=\"2\" failures=\"1\" time=\"0.003000\""), "{xml}");
        assert!(xml.contains("name=\"a &lt; b &amp; &quot;c&quot;\""), "{xml}");
        assert!(
            xml.contains("<failure message=\"1 &gt; 0\">t.toml:4: 1 &gt; 0</failure>"),
            "{xml}"
        );
    }
}
