//! Conditions on the lines of a list: `ready>1000 and consumers=0`.

use std::cmp::Ordering;

use serde_json::Value;

use crate::cli::client::failure::Failure;
use crate::cli::client::output::cell;

/// All of its comparisons hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Condition(Vec<Comparison>);

#[derive(Clone, PartialEq, Eq, Debug)]
struct Comparison {
    column: String,
    operator: Operator,
    value: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Operator {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    More,
    MoreOrEqual,
    Contains,
}

/// Longer ones first, so that `<=` is not `<`.
const OPERATORS: [(&str, Operator); 7] = [
    ("!=", Operator::Unequal),
    ("<=", Operator::LessOrEqual),
    (">=", Operator::MoreOrEqual),
    ("=", Operator::Equal),
    ("<", Operator::Less),
    (">", Operator::More),
    ("~", Operator::Contains),
];

impl Condition {
    /// # Errors
    /// When a part is no comparison.
    pub(super) fn parse(text: &str) -> Result<Condition, Failure> {
        text.split(" and ").map(comparison).collect::<Result<_, _>>().map(Condition)
    }

    /// `look` gives the value of a column.
    pub(super) fn holds<'a>(&self, look: impl Fn(&str) -> &'a Value) -> bool {
        self.0.iter().all(|it| it.holds(look(&it.column)))
    }
}

fn comparison(text: &str) -> Result<Comparison, Failure> {
    let places = OPERATORS.iter().filter_map(|(sign, it)| Some((text.find(sign)?, *sign, *it)));
    let first = places.min_by_key(|(at, sign, _)| (*at, usize::MAX - sign.len()));
    let Some((at, sign, operator)) = first else {
        return Err(Failure::usage(format!("`{text}` compares nothing; write ready>1000")));
    };
    let column = text[..at].trim().to_owned();
    let value = text[at + sign.len()..].trim().trim_matches(['\'', '"']).to_owned();
    Ok(Comparison { column, operator, value })
}

impl Comparison {
    fn holds(&self, found: &Value) -> bool {
        let text = cell(found);
        let numbers = (found.as_f64(), self.value.parse::<f64>());
        let order = match numbers {
            (Some(found), Ok(wanted)) => found.partial_cmp(&wanted),
            _ => Some(text.as_str().cmp(self.value.as_str())),
        };
        match self.operator {
            Operator::Equal => order == Some(Ordering::Equal),
            Operator::Unequal => order != Some(Ordering::Equal),
            Operator::Less => order == Some(Ordering::Less),
            Operator::LessOrEqual => order.is_some_and(|it| it != Ordering::Greater),
            Operator::More => order == Some(Ordering::Greater),
            Operator::MoreOrEqual => order.is_some_and(|it| it != Ordering::Less),
            Operator::Contains => text.contains(&self.value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn comparisons() {
        let line = json!({ "ready": 9, "name": "billing", "durable": true });
        let cases = [
            ("ready>8", true),
            ("ready > 10", false),
            ("ready>=9 and name~ill", true),
            ("ready<=8", false),
            ("name=billing and durable=true", true),
            ("name!='billing'", false),
            ("absent=", true),
        ];
        for (text, expected) in cases {
            let condition = Condition::parse(text).expect("a condition");
            assert_eq!(condition.holds(|it| &line[it]), expected, "{text}");
        }
        assert!(Condition::parse("ready").is_err());
    }
}
