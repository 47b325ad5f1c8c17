//! Headers exchanges: the binding's arguments are compared with the message's headers.

use crate::amqp::property::Properties;
use crate::amqp::table::Table as Arguments;
use crate::amqp::table::Value;
use crate::routing::route::Routes;
use crate::routing::table::Binding;

/// What a binding of a headers exchange asks of a message.
///
/// COMPAT: RabbitMQ's `x-match` of `all` (default), `any`, `all-with-x`, `any-with-x`; the first
/// two skip every argument whose name starts with `x-`, the others only `x-match` itself.
#[derive(Clone, PartialEq, Debug)]
pub struct Criteria {
    all: bool,
    /// A void value asks only that the header is there.
    headers: Vec<(String, Value)>,
}

#[derive(Clone, PartialEq, Debug)]
pub enum CriteriaError {
    UnknownMatch(String),
    MatchNotText { type_name: &'static str, value: String },
}

#[derive(Clone, Debug, Default)]
pub(in crate::routing) struct HeadersMatcher {
    bindings: Vec<(Binding, Criteria)>,
}

impl Criteria {
    pub fn parse(arguments: &Arguments) -> Result<Criteria, CriteriaError> {
        let (all, with_x) = match arguments.get("x-match") {
            None => (true, false),
            Some(value) => match value.as_text() {
                Some("all") => (true, false),
                Some("any") => (false, false),
                Some("all-with-x") => (true, true),
                Some("any-with-x") => (false, true),
                Some(other) => return Err(CriteriaError::UnknownMatch(other.to_owned())),
                None => {
                    return Err(CriteriaError::MatchNotText {
                        type_name: value.type_name(),
                        value: value.to_string(),
                    });
                }
            },
        };
        let counts = |key: &str| {
            if with_x { key != "x-match" } else { !key.starts_with("x-") }
        };
        let headers = arguments.iter().filter(|(key, _)| counts(key));
        let headers = headers.map(|(key, value)| (key.to_owned(), value.clone())).collect();
        Ok(Criteria { all, headers })
    }

    /// Nothing asked for matches everything under `all` and nothing under `any`.
    pub fn matches(&self, headers: &Arguments) -> bool {
        let mut each = self.headers.iter().map(|(key, wanted)| {
            headers.get(key).is_some_and(|it| *wanted == Value::Void || it.equivalent(wanted))
        });
        if self.all { each.all(|it| it) } else { each.any(|it| it) }
    }

    /// The first header that keeps a message from matching under `all`.
    pub fn first_mismatch(&self, headers: &Arguments) -> Option<&str> {
        let differs = |(key, wanted): &&(String, Value)| match headers.get(key) {
            Some(it) => *wanted != Value::Void && !it.equivalent(wanted),
            None => true,
        };
        self.headers.iter().find(differs).map(|(key, _)| key.as_str())
    }

    pub fn is_all(&self) -> bool {
        self.all
    }
}

impl HeadersMatcher {
    pub(in crate::routing) fn add(&mut self, binding: &Binding) {
        if let Ok(criteria) = Criteria::parse(&binding.arguments()) {
            self.bindings.push((binding.clone(), criteria));
        }
    }

    pub(in crate::routing) fn remove(&mut self, binding: &Binding) {
        self.bindings.retain(|(it, _)| it != binding);
    }

    pub(in crate::routing) fn collect(
        &self,
        properties: Properties<'_>,
        routes: &mut Routes,
    ) -> bool {
        let headers = properties.headers().unwrap_or_default();
        let mut any = false;
        for (binding, criteria) in &self.bindings {
            if criteria.matches(&headers) {
                routes.add_one(&binding.destination);
                any = true;
            }
        }
        any
    }
}
