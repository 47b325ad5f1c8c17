//! The types of exchanges, and of those that hold messages back before they route them.

use crate::amqp::table::Table as Arguments;
use crate::amqp::table::Value;
use crate::routing::table::Kind;

/// COMPAT: the exchange type of the `rabbitmq_delayed_message_exchange` plugin.
pub const TYPE: &str = "x-delayed-message";

/// The argument that says how an exchange of that type routes.
pub const ROUTES_AS: &str = "x-delayed-type";

/// Why the type of an exchange is refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TypeError {
    Unknown(String),
    /// `x-delayed-type` is missing or names no type.
    DelayedUnknown,
    /// An exchange that holds messages back before it holds them back.
    DelayedTwice,
}

/// How an exchange of this type and with these arguments routes, and whether it delays before.
pub fn exchange_type(text: &str, arguments: &Arguments) -> Result<(Kind, bool), TypeError> {
    if text != TYPE {
        let kind = Kind::parse(text).ok_or_else(|| TypeError::Unknown(text.to_owned()))?;
        return Ok((kind, false));
    }
    match arguments.get(ROUTES_AS).and_then(Value::as_text) {
        Some(TYPE) => Err(TypeError::DelayedTwice),
        other => {
            let kind = other.and_then(Kind::parse).ok_or(TypeError::DelayedUnknown)?;
            Ok((kind, true))
        }
    }
}
