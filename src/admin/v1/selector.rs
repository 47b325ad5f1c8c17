//! Which parked messages somebody means.

use std::collections::BTreeSet;

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::admin::request::Problem;
use crate::admin::request::flag_of;
use crate::admin::request::integer_of;
use crate::admin::request::text_of;
use crate::amqp::id::Seq;
use crate::amqp::message::Message;
use crate::amqp::time::Timestamp;
use crate::broker::redrive::parked_for;

/// Each part that is there must fit.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Selector {
    pub ids: Option<BTreeSet<Seq>>,
    pub reason: Option<String>,
    pub older_than_secs: Option<u64>,
}

impl Selector {
    /// # Errors
    /// When nothing is chosen and not `all` said either.
    pub fn parse(fields: &Map<String, Value>) -> Result<Selector, Problem> {
        let older = integer_of(fields, "older_than_secs")?;
        let older = older.map(u64::try_from).transpose();
        let selector = Selector {
            ids: ids(fields)?,
            reason: text_of(fields, "reason")?.map(str::to_owned),
            older_than_secs: older.map_err(|_| Problem::bad("`older_than_secs` is below 0"))?,
        };
        if selector == Selector::default() && !flag_of(fields, "all")? {
            let reason = "choose by `ids`, `reason` or `older_than_secs`, or say `all`";
            return Err(Problem::bad(reason));
        }
        Ok(selector)
    }

    pub fn matches(&self, seq: Seq, message: &Message, now: Timestamp) -> bool {
        if self.ids.as_ref().is_some_and(|it| !it.contains(&seq)) {
            return false;
        }
        let (reason, at) = parked_for(message);
        if self.reason.as_ref().is_some_and(|it| *it != reason) {
            return false;
        }
        let age_ms = now.as_millis().saturating_sub(at.unwrap_or_default());
        self.older_than_secs.is_none_or(|it| age_ms >= it.saturating_mul(1000))
    }

    pub fn to_json(&self) -> Value {
        let ids = self.ids.as_ref().map(|all| all.iter().map(Seq::to_string).collect::<Vec<_>>());
        json!({ "ids": ids, "reason": self.reason, "older_than_secs": self.older_than_secs })
    }
}

/// The field `ids`: numbers, as texts or not.
pub fn ids(fields: &Map<String, Value>) -> Result<Option<BTreeSet<Seq>>, Problem> {
    let wrong = || Problem::bad("`ids` must be an array of ids");
    let all = match fields.get("ids") {
        None | Some(Value::Null) => return Ok(None),
        Some(all) => all.as_array().ok_or_else(wrong)?,
    };
    let ids = all.iter().map(|it| match it.as_str() {
        Some(text) => text.parse().ok(),
        None => it.as_u64(),
    });
    let ids: Option<BTreeSet<Seq>> = ids.map(|it| it.map(Seq)).collect();
    ids.map(Some).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_not_everything() {
        let parse = |value: Value| Selector::parse(value.as_object().expect("an object"));
        assert!(parse(json!({})).is_err());
        assert!(parse(json!({ "ids": "3" })).is_err());
        assert!(parse(json!({ "older_than_secs": -1 })).is_err());
        assert_eq!(parse(json!({ "all": true })), Ok(Selector::default()));
        let ids = Some([Seq(3), Seq(4)].into_iter().collect());
        let expected = Selector { ids, ..Selector::default() };
        assert_eq!(parse(json!({ "ids": ["3", 4] })), Ok(expected));
    }
}
