//! What this connection's user may do, asked before everything else.

use std::sync::Arc;

use crate::access::permission::Grant;
use crate::access::permission::Right;
use crate::amqp::limit;
use crate::amqp::message::Message;
use crate::amqp::table::Value;
use crate::broker::declare::Resource;
use crate::routing::Kind;
use crate::session::connection::Connection;
use crate::session::desk::Desk;
use crate::session::refusal;
use crate::session::refusal::Refusal;

/// What a connection knows of its user's rights, for as long as nobody changes any.
#[derive(Debug, Default)]
pub(in crate::session) struct Access {
    /// 0 before anything was asked.
    generation: u64,
    grant: Arc<Grant>,
    /// Searches that found their pattern, so that they are not made again for every message.
    allowed: Vec<(Right, Box<str>)>,
    /// Which of them goes next.
    oldest: usize,
}

impl Access {
    fn knows(&self, right: Right, name: &str) -> bool {
        self.allowed.iter().any(|(it, known)| *it == right && **known == *name)
    }

    fn remember(&mut self, right: Right, name: &str) {
        if self.allowed.len() < limit::VERDICTS_KEPT {
            self.allowed.push((right, name.into()));
            return;
        }
        self.allowed[self.oldest] = (right, name.into());
        self.oldest = (self.oldest + 1) % limit::VERDICTS_KEPT;
    }
}

impl Connection {
    /// Brings the rights up to date; one comparison when nothing has changed.
    fn refresh_access<D: Desk>(&mut self, desk: &mut D) {
        let generation = desk.access_generation();
        if self.access.generation != generation {
            let grant = desk.grant(&self.client().user);
            self.access = Access { generation, grant, ..Access::default() };
        }
    }

    fn may<D: Desk>(&mut self, right: Right, name: &str, desk: &mut D) -> bool {
        self.refresh_access(desk);
        let access = &mut self.access;
        if access.grant.allows_any(right) || access.knows(right, name) {
            return true;
        }
        let allowed = access.grant.allows(right, name);
        if allowed {
            access.remember(right, name);
        }
        allowed
    }

    /// Refuses what the user has no right to.
    pub(in crate::session) fn check_right<D: Desk>(
        &mut self,
        right: Right,
        of: &Resource,
        desk: &mut D,
    ) -> Result<(), Refusal> {
        if self.may(right, of.name(), desk) {
            return Ok(());
        }
        Err(refusal::denied(right, of, &self.vhost, &self.client().user))
    }

    /// COMPAT: any right will do for a passive declare; the refusal speaks of the first.
    pub(in crate::session) fn check_any_right<D: Desk>(
        &mut self,
        of: &Resource,
        desk: &mut D,
    ) -> Result<(), Refusal> {
        let any = [Right::Configure, Right::Write, Right::Read];
        if any.into_iter().any(|right| self.may(right, of.name(), desk)) {
            return Ok(());
        }
        Err(refusal::denied(Right::Configure, of, &self.vhost, &self.client().user))
    }

    /// Whether a message may be published where it is addressed to.
    ///
    /// COMPAT: on a topic exchange every key counts, those of CC and BCC too.
    pub(in crate::session) fn check_publish<D: Desk>(
        &mut self,
        message: &Message,
        desk: &mut D,
    ) -> Result<(), Refusal> {
        let exchange = message.exchange();
        if !self.may(Right::Write, exchange, desk) {
            let of = Resource::Exchange(exchange.to_owned());
            return Err(refusal::denied(Right::Write, &of, &self.vhost, &self.client().user));
        }
        if self.access.grant.topics.is_empty() {
            return Ok(());
        }
        self.check_key(Right::Write, exchange, message.routing_key().0, desk)?;
        if !message.properties().may_have_header(b"CC") {
            return Ok(());
        }
        let headers = message.properties().headers().unwrap_or_default();
        for header in ["CC", "BCC"] {
            let Some(Value::Array(keys)) = headers.get(header) else { continue };
            for key in keys.iter().filter_map(Value::as_text) {
                self.check_key(Right::Write, exchange, key, desk)?;
            }
        }
        Ok(())
    }

    /// Whether a key may be used on an exchange; only keys of topic exchanges are ever refused.
    pub(in crate::session) fn check_key<D: Desk>(
        &mut self,
        right: Right,
        exchange: &str,
        key: &str,
        desk: &mut D,
    ) -> Result<(), Refusal> {
        self.refresh_access(desk);
        let Some(topic) = self.access.grant.topic(exchange) else { return Ok(()) };
        let kind = desk.vhost().table.exchange(exchange).map(|it| it.kind);
        if kind != Some(Kind::Topic) || topic.allows(right, key) {
            return Ok(());
        }
        Err(refusal::denied_key(right, key, exchange, &self.vhost, &self.client().user))
    }

    /// COMPAT: channels of all connections of the user count.
    pub(in crate::session) fn check_channels<D: Desk>(
        &mut self,
        desk: &mut D,
    ) -> Result<(), Refusal> {
        self.refresh_access(desk);
        let Some(max) = self.access.grant.channels_max else { return Ok(()) };
        let user = self.client().user.clone();
        let n = desk.n_channels_elsewhere(&user) + self.n_channels();
        if (n as u64) < max { Ok(()) } else { Err(refusal::too_many_channels(&user, max)) }
    }
}
