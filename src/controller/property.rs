//! Properties of messages that are published again.

use lapin::BasicProperties;

use crate::amqp::table::Table;
use crate::amqp::table::Value;
use crate::codec::field::to_fields;
use crate::codec::field::to_table;
use crate::topology::rabbitmq::detour::USER_ID;

/// The headers of a message.
pub(super) fn headers(properties: &BasicProperties) -> Table {
    properties.headers().as_ref().map(to_table).unwrap_or_default()
}

/// The properties with other headers; without the user when somebody else publishes them.
pub(super) fn with_headers(
    it: &BasicProperties,
    headers: &Table,
    keeps_user: bool,
) -> BasicProperties {
    if keeps_user || it.user_id().is_none() {
        return it.clone().with_headers(to_fields(headers));
    }
    let mut new = BasicProperties::default().with_headers(to_fields(headers));
    macro_rules! copy {
        ($($get:ident $with:ident),*) => {
            $(if let Some(value) = it.$get().clone() { new = new.$with(value); })*
        };
    }
    copy!(
        content_type with_content_type,
        content_encoding with_content_encoding,
        delivery_mode with_delivery_mode,
        priority with_priority,
        correlation_id with_correlation_id,
        reply_to with_reply_to,
        expiration with_expiration,
        message_id with_message_id,
        timestamp with_timestamp,
        kind with_type,
        app_id with_app_id,
        cluster_id with_cluster_id
    );
    new
}

/// Notes the user who published a message, before somebody else publishes it again.
pub(super) fn note_user(it: &BasicProperties, headers: &mut Table) {
    if let Some(user) = it.user_id() {
        headers.set(USER_ID, Value::text(user.as_str()));
    }
}

/// The properties as somebody can publish them who is not the user they name: a header says who was.
pub(super) fn by_another(it: &BasicProperties) -> BasicProperties {
    if it.user_id().is_none() {
        return it.clone();
    }
    let mut headers = headers(it);
    note_user(it, &mut headers);
    with_headers(it, &headers, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_who_cannot_publish_again_is_taken_out() {
        let properties = BasicProperties::default()
            .with_user_id("shop".into())
            .with_message_id("m".into())
            .with_type("t".into());
        let kept = with_headers(&properties, &Table::default(), true);
        assert_eq!(kept.user_id().as_ref().map(|it| it.as_str()), Some("shop"));
        let left = with_headers(&properties, &Table::default(), false);
        assert!(left.user_id().is_none());
        let id = left.message_id().as_ref().map(|it| it.as_str());
        let kind = left.kind().as_ref().map(|it| it.as_str());
        assert_eq!((id, kind), (Some("m"), Some("t")));
        let noted = headers(&by_another(&properties));
        assert_eq!(noted.get(USER_ID).and_then(Value::as_text), Some("shop"));
    }
}
