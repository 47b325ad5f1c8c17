//! Connections, channels and consumers.

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::access::user::Role;
use crate::admin::caller::Caller;
use crate::admin::estate::ChannelView;
use crate::admin::estate::ConnectionView;
use crate::admin::estate::Estate;
use crate::admin::list;
use crate::admin::rates;
use crate::admin::rates::ChannelCount;
use crate::admin::rates::History;
use crate::admin::rates::Stat;
use crate::admin::rates::Traffic;
use crate::admin::request::Method;
use crate::admin::request::Outcome;
use crate::admin::request::Problem;
use crate::admin::request::Request;
use crate::admin::request::Response;
use crate::amqp::id::ChannelId;
use crate::amqp::id::ConsumerId;
use crate::amqp::json;
use crate::broker::host::Host;
use crate::broker::vhost::QueueRecord;

/// A consumer as its queue knows it.
#[derive(Clone, Debug)]
pub struct ConsumerView {
    id: ConsumerId,
    tag: String,
    no_ack: bool,
    exclusive: bool,
    active: bool,
    prefetch: u16,
    priority: Option<i32>,
    queue: String,
    vhost: String,
}

pub fn connections<E: Estate>(
    estate: &E,
    caller: &Caller,
    request: &Request,
    rest: &[&str],
) -> Outcome {
    let (node, history) = (estate.vitals().node, estate.history());
    match (request.method, rest) {
        (Method::Get, []) => {
            let all = visible(estate, caller);
            list::paged(all.iter().map(|it| view(it, &node, &history)).collect(), request)
        }
        (Method::Get, ["username", user]) => {
            let all = visible(estate, caller).into_iter().filter(|it| it.user == **user);
            list::whole(all.map(|it| view(&it, &node, &history)).collect(), request)
        }
        (Method::Delete, ["username", user]) => {
            for connection in visible(estate, caller).iter().filter(|it| it.user == **user) {
                close(estate, request, connection);
            }
            Ok(Response::no_content())
        }
        (Method::Get, [name]) => {
            list::single(view(&find(estate, caller, name)?, &node, &history), request)
        }
        (Method::Delete, [name]) => {
            close(estate, request, &find(estate, caller, name)?);
            Ok(Response::no_content())
        }
        (Method::Get, [name, "channels"]) => {
            let connection = find(estate, caller, name)?;
            let channels = connection.channels.iter();
            list::whole(
                channels.map(|it| channel_view(it, &connection, &node, &history)).collect(),
                request,
            )
        }
        (_, _) => Err(Problem::NotFound),
    }
}

/// COMPAT: who does not monitor sees his own.
fn visible<E: Estate>(estate: &E, caller: &Caller) -> Vec<ConnectionView> {
    let all = estate.connections().into_iter();
    let sees =
        |it: &ConnectionView| caller.user.is(Role::Monitoring) || it.user == caller.user.name;
    let mut all: Vec<ConnectionView> = all.filter(sees).collect();
    all.sort_by_key(|it| it.id);
    all
}

fn find<E: Estate>(estate: &E, caller: &Caller, name: &str) -> Result<ConnectionView, Problem> {
    let all = visible(estate, caller).into_iter();
    all.into_iter().find(|it| it.name() == name).ok_or(Problem::NotFound)
}

fn close<E: Estate>(estate: &E, request: &Request, connection: &ConnectionView) {
    let reason = request.reason.as_deref().unwrap_or("Closed via management plugin");
    estate.close_connection(connection.id, reason);
}

pub fn list_of_vhost<E: Estate>(
    estate: &E,
    caller: &Caller,
    request: &Request,
    vhost: &str,
) -> Outcome {
    caller.vhost(estate, vhost)?;
    let (node, history) = (estate.vitals().node, estate.history());
    let all = visible(estate, caller).into_iter().filter(|it| it.vhost == *vhost);
    list::paged(all.map(|it| view(&it, &node, &history)).collect(), request)
}

fn view(connection: &ConnectionView, node: &str, history: &History) -> Value {
    let (id, traffic) = (connection.id, connection.traffic);
    let rate = |of: fn(&Traffic) -> u64| history.counter_rate(|it| it.connections.get(&id).map(of));
    json!({
        "name": connection.name(),
        "node": node,
        "protocol": "AMQP 0-9-1",
        "type": "network",
        "state": "running",
        "user": connection.user.as_str(),
        "user_who_performed_action": connection.user.as_str(),
        "user_provided_name": connection.client_name,
        "vhost": connection.vhost.as_str(),
        "auth_mechanism": "PLAIN",
        "connected_at": connection.connected_at.as_millis(),
        "client_properties": json::from_table(&connection.properties),
        "channels": connection.channels.len(),
        "channel_max": connection.channel_max,
        "frame_max": connection.frame_max,
        "timeout": connection.heartbeat_secs,
        "host": connection.host,
        "port": connection.port,
        "peer_host": connection.peer_host,
        "peer_port": connection.peer_port,
        "ssl": false,
        "ssl_protocol": null,
        "ssl_key_exchange": null,
        "ssl_cipher": null,
        "ssl_hash": null,
        "peer_cert_subject": null,
        "peer_cert_issuer": null,
        "peer_cert_validity": null,
        "recv_oct": traffic.received_bytes,
        "recv_oct_details": { "rate": rate(|it| it.received_bytes) },
        "recv_cnt": traffic.n_reads,
        "send_oct": traffic.sent_bytes,
        "send_oct_details": { "rate": rate(|it| it.sent_bytes) },
        "send_cnt": traffic.n_writes,
        "send_pend": connection.unsent_bytes,
    })
}

/// `message_stats` of a channel.
const OF_CHANNELS: [Stat<ChannelCount>; 3] = [
    ("publish", |it| it.published),
    ("confirm", |it| it.confirmed),
    ("deliver_get", |it| it.delivered),
];

pub fn channels<E: Estate>(
    estate: &E,
    caller: &Caller,
    request: &Request,
    rest: &[&str],
) -> Outcome {
    let all = all_channels(estate, caller, |_| true);
    match (request.method, rest) {
        (Method::Get, []) => list::paged(all, request),
        (Method::Get, [name]) => {
            let found = all.into_iter().find(|it| it["name"] == **name);
            list::single(found.ok_or(Problem::NotFound)?, request)
        }
        (_, _) => Err(Problem::NotFound),
    }
}

pub fn channels_of_vhost<E: Estate>(
    estate: &E,
    caller: &Caller,
    request: &Request,
    vhost: &str,
) -> Outcome {
    caller.vhost(estate, vhost)?;
    list::paged(all_channels(estate, caller, |it| it.vhost == *vhost), request)
}

fn all_channels<E: Estate>(
    estate: &E,
    caller: &Caller,
    wanted: impl Fn(&ConnectionView) -> bool,
) -> Vec<Value> {
    let (node, history) = (estate.vitals().node, estate.history());
    let mut all = Vec::new();
    for connection in visible(estate, caller).iter().filter(|it| wanted(it)) {
        let channels = connection.channels.iter();
        all.extend(channels.map(|it| channel_view(it, connection, &node, &history)));
    }
    all
}

fn channel_view(
    channel: &ChannelView,
    connection: &ConnectionView,
    node: &str,
    history: &History,
) -> Value {
    let name = connection.name();
    let mut stats = Map::new();
    let id = (connection.id, ChannelId(channel.number));
    for (key, of) in OF_CHANNELS {
        let rate = history.counter_rate(|it| it.channels.get(&id).map(of));
        rates::insert(&mut stats, key, of(&channel.count), rate);
    }
    json!({
        "name": format!("{name} ({})", channel.number),
        "number": channel.number,
        "node": node,
        "user": connection.user.as_str(),
        "user_who_performed_action": connection.user.as_str(),
        "vhost": connection.vhost.as_str(),
        "state": "running",
        "consumer_count": channel.n_consumers,
        "messages_unacknowledged": channel.n_unacked,
        "messages_unconfirmed": channel.count.published - channel.count.confirmed,
        "messages_uncommitted": 0,
        "acks_uncommitted": 0,
        "message_stats": stats,
        "prefetch_count": channel.prefetch,
        "global_prefetch_count": channel.global_prefetch,
        "confirm": channel.confirms,
        "transactional": channel.transactional,
        "connection_details": {
            "name": name,
            "peer_host": connection.peer_host,
            "peer_port": connection.peer_port,
        },
    })
}

pub fn consumers<E: Estate>(
    estate: &E,
    caller: &Caller,
    request: &Request,
    rest: &[&str],
) -> Outcome {
    let connections = estate.connections();
    let node = estate.vitals().node;
    let mut all = Vec::new();
    for vhost in caller.vhosts(estate, rest.first().copied())? {
        let consumers = estate.in_vhost(&vhost, |turn| {
            let records: Vec<QueueRecord> = turn.vhost().queues().cloned().collect();
            records.iter().flat_map(|it| consumers_of(turn, it)).collect::<Vec<_>>()
        });
        let consumers = consumers.unwrap_or_default();
        all.extend(consumers.iter().map(|it| it.view(&connections, &node)));
    }
    list::paged(all, request)
}

pub fn consumers_of<H: Host>(turn: &mut H, record: &QueueRecord) -> Vec<ConsumerView> {
    let vhost = turn.vhost().name.to_string();
    let consumers = turn.queue(record.id, |queue, _| {
        let view = |(consumer, active): (&crate::queue::consumer::Consumer, bool)| ConsumerView {
            id: consumer.spec.id,
            tag: consumer.spec.tag.to_string(),
            no_ack: consumer.spec.no_ack,
            exclusive: consumer.spec.exclusive,
            active,
            prefetch: consumer.spec.prefetch,
            priority: consumer.spec.priority,
            queue: record.name.to_string(),
            vhost: vhost.clone(),
        };
        queue.consumers().map(view).collect()
    });
    consumers.unwrap_or_default()
}

impl ConsumerView {
    pub fn view(&self, connections: &[ConnectionView], node: &str) -> Value {
        let connection = connections.iter().find(|it| it.id == self.id.connection);
        let name = connection.map(ConnectionView::name).unwrap_or_default();
        let arguments = self.priority.map_or(json!({}), |it| json!({ "x-priority": it }));
        json!({
            "consumer_tag": self.tag,
            "active": self.active,
            "activity_status": if self.active { "up" } else { "waiting" },
            "ack_required": !self.no_ack,
            "exclusive": self.exclusive,
            "prefetch_count": self.prefetch,
            "arguments": arguments,
            "consumer_timeout": 0,
            "queue": { "name": self.queue, "vhost": self.vhost },
            "channel_details": {
                "name": format!("{name} ({})", self.id.channel.0),
                "number": self.id.channel.0,
                "connection_name": name,
                "node": node,
                "peer_host": connection.map(|it| it.peer_host.as_str()),
                "peer_port": connection.map(|it| it.peer_port),
                "user": connection.map(|it| it.user.as_str()),
            },
        })
    }
}
