//! Patterns over names: in permissions and policies.

use std::fmt;

use fancy_regex::Regex;
use fancy_regex::RegexBuilder;

use crate::amqp::limit;

/// A regular expression that is searched for in a name.
///
/// COMPAT: as PCRE does it for RabbitMQ, with look-around and back-references; not anchored; the
/// empty pattern fits only the empty name.
#[derive(Clone)]
pub struct Pattern {
    text: Box<str>,
    test: Test,
}

#[derive(Clone)]
enum Test {
    /// Fits nothing but the empty name.
    Empty,
    /// Fits everything; the usual permission, and not worth a search.
    All,
    Regex(Box<Regex>),
}

/// Why a text is no pattern.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PatternError {
    #[error("longer than {} bytes", limit::PATTERN_BYTES)]
    TooLong,
    #[error("{0}")]
    Syntax(String),
}

impl Pattern {
    pub fn new(text: &str) -> Result<Pattern, PatternError> {
        if text.len() > limit::PATTERN_BYTES {
            return Err(PatternError::TooLong);
        }
        let test = match text {
            "" | "^$" => Test::Empty,
            ".*" | "^.*" | "^.*$" | ".*$" => Test::All,
            _ => {
                let regex = RegexBuilder::new(text)
                    .backtrack_limit(limit::PATTERN_STEPS)
                    .delegate_size_limit(limit::PATTERN_PROGRAM_BYTES)
                    .delegate_dfa_size_limit(limit::PATTERN_PROGRAM_BYTES)
                    .build()
                    .map_err(|error| PatternError::Syntax(error.to_string()))?;
                Test::Regex(Box::new(regex))
            }
        };
        Ok(Pattern { text: text.into(), test })
    }

    /// The pattern that fits every name.
    pub fn all() -> Pattern {
        Pattern { text: ".*".into(), test: Test::All }
    }

    /// Whether the pattern is found in `name`. One that takes too many steps is not found: what it
    /// would allow is refused.
    pub fn matches(&self, name: &str) -> bool {
        match &self.test {
            Test::Empty => name.is_empty(),
            Test::All => true,
            Test::Regex(regex) => regex.is_match(name).unwrap_or(false),
        }
    }

    /// Whether it fits every name.
    pub fn is_all(&self) -> bool {
        matches!(self.test, Test::All)
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// A text as a pattern that fits only itself.
pub fn escape(text: &str) -> String {
    fancy_regex::escape(text).into_owned()
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.text == other.text
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.text, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_searched_as_rabbitmq_does() {
        let cases = [
            ("", "", true),
            ("", "a", false),
            ("^$", "a", false),
            (".*", "", true),
            ("^.*$", "anything", true),
            ("order", "my.orders", true),
            ("^order", "my.orders", false),
            ("^(amq\\.gen.*|amq\\.default)$", "amq.default", true),
            ("^(amq\\.gen.*|amq\\.default)$", "xamq.default", false),
            ("^(?!amq\\.).*", "amq.topic", false),
            ("^(?!amq\\.).*", "orders", true),
            ("^(.)\\1$", "aa", true),
            ("é+", "caféé", true),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(Pattern::new(pattern).unwrap().matches(name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn what_would_take_for_ever_is_refused() {
        assert!(matches!(Pattern::new("("), Err(PatternError::Syntax(_))));
        assert!(matches!(Pattern::new("(a{1000}){1000}"), Err(PatternError::Syntax(_))));
        assert_eq!(Pattern::new(&"a".repeat(5000)), Err(PatternError::TooLong));
        let slow = Pattern::new("^(?=(a+)+$)(a|aa)+\\1b").unwrap();
        assert!(!slow.matches(&"a".repeat(200)));
    }
}
