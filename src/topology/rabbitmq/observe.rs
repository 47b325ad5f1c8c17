//! What a node of RabbitMQ has, read from its management API.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Map;
use serde_json::Value as Json;

use crate::access::pattern::Pattern;
use crate::amqp::json::to_table;
use crate::amqp::table::Table;
use crate::broker::definition::Hex;
use crate::routing::delay;
use crate::topology::engine::Engine;
use crate::topology::observed;
use crate::topology::observed::Observed;
use crate::topology::rabbitmq::node::Node;
use crate::topology::rabbitmq::node::Version;
use crate::topology::rabbitmq::policy;
use crate::topology::source::Source;

/// Answers of the management API, each as it came.
#[derive(Debug, Default)]
pub struct Answers {
    /// `/api/overview`
    pub overview: Json,
    /// `/api/vhosts`
    pub vhosts: Json,
    /// `/api/exchanges`
    pub exchanges: Json,
    /// `/api/queues`
    pub queues: Json,
    /// `/api/bindings`
    pub bindings: Json,
    /// `/api/policies`
    pub policies: Json,
}

/// A node, and what is on it.
#[derive(Debug)]
pub struct Seen {
    pub node: Node,
    /// Without the files it was made by, which it does not know by itself.
    pub observed: Observed,
    pub policies: Vec<Policy>,
    /// The type of queues that say none, by vhost, where it is another than `classic`.
    pub usual_types: BTreeMap<String, String>,
    /// Queues, by vhost and name, whose replacement was begun and not ended.
    pub moving: BTreeSet<(String, String)>,
}

/// What a queue's messages are in while it is replaced, and the exchange that brings them there.
pub const MOVING_SUFFIX: &str = ".railpost-moving";

#[derive(Deserialize)]
struct Overview {
    rabbitmq_version: String,
    #[serde(default)]
    cluster_name: String,
    #[serde(default)]
    exchange_types: Vec<Named>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
struct Vhost {
    name: String,
    #[serde(default)]
    default_queue_type: Option<String>,
}

#[derive(Deserialize)]
struct Exchange {
    name: String,
    vhost: String,
    #[serde(rename = "type")]
    kind: String,
    durable: bool,
    auto_delete: bool,
    internal: bool,
    arguments: Json,
}

#[derive(Deserialize)]
struct Queue {
    name: String,
    vhost: String,
    #[serde(rename = "type")]
    #[serde(default)]
    kind: Option<String>,
    durable: bool,
    auto_delete: bool,
    #[serde(default)]
    exclusive: bool,
    arguments: Json,
    #[serde(default)]
    messages: u64,
    #[serde(default)]
    consumers: u64,
}

#[derive(Deserialize)]
struct Binding {
    source: String,
    vhost: String,
    destination: String,
    destination_type: String,
    routing_key: String,
    arguments: Json,
}

/// A policy as it is there.
#[derive(Clone, PartialEq, Debug, Deserialize)]
pub struct Policy {
    pub name: String,
    pub vhost: String,
    pub pattern: String,
    #[serde(rename = "apply-to")]
    pub apply_to: String,
    pub priority: i64,
    pub definition: Map<String, Json>,
}

/// What of an answer cannot be understood.
#[derive(Debug, thiserror::Error)]
pub enum Unclear {
    #[error("{what}: {cause}")]
    Json { what: &'static str, cause: serde_json::Error },
    #[error("`{0}` is no version of RabbitMQ")]
    Version(String),
    #[error("{0}")]
    Arguments(#[from] crate::amqp::json::JsonError),
}

/// Makes sense of the answers.
///
/// # Errors
/// When one of them is not what RabbitMQ answers.
pub fn observe(answers: Answers) -> Result<Seen, Unclear> {
    let overview: Overview = read("the overview", answers.overview)?;
    let version = Version::parse(&overview.rabbitmq_version)
        .ok_or_else(|| Unclear::Version(overview.rabbitmq_version.clone()))?;
    let vhosts: Vec<Vhost> = read("the vhosts", answers.vhosts)?;
    let usual = |it: &Vhost| Some((it.name.clone(), it.default_queue_type.clone()?));
    let is_another = |it: &(String, String)| it.1 != "classic" && it.1 != "undefined";
    let usual_types = vhosts.iter().filter_map(usual).filter(is_another).collect();
    let policies: Vec<Policy> = read("the policies", answers.policies)?;
    let by_object = Policies::new(&policies);
    let mut all: BTreeMap<String, observed::Vhost> =
        vhosts.into_iter().map(|it| (it.name, observed::Vhost::default())).collect();
    for it in read::<Vec<Exchange>>("the exchanges", answers.exchanges)? {
        let is_ours = it.name.ends_with(MOVING_SUFFIX);
        if !it.name.is_empty() && !it.name.starts_with("amq.") && !is_ours {
            let vhost = all.entry(it.vhost.clone()).or_default();
            vhost.exchanges.insert(it.name.clone(), exchange(&it, &by_object)?);
        }
    }
    let (mut queue_types, mut moving) = (BTreeMap::new(), BTreeSet::new());
    for it in read::<Vec<Queue>>("the queues", answers.queues)? {
        // Of one connection, or one instance: no file could declare it.
        if it.exclusive || it.name.starts_with("amq.") {
            continue;
        }
        if let Some(queue) = it.name.strip_suffix(MOVING_SUFFIX) {
            moving.insert((it.vhost.clone(), queue.to_owned()));
            continue;
        }
        let key = (it.vhost.clone(), it.name.clone());
        queue_types.insert(key, it.kind.clone().unwrap_or_else(|| "classic".to_owned()));
        let vhost = all.entry(it.vhost.clone()).or_default();
        vhost.queues.insert(it.name.clone(), queue(&it, &by_object)?);
    }
    for it in read::<Vec<Binding>>("the bindings", answers.bindings)? {
        let vhost = all.entry(it.vhost.clone()).or_default();
        let to_exchange = it.destination_type == "exchange";
        let is_there = match to_exchange {
            true => vhost.exchanges.contains_key(&it.destination),
            false => vhost.queues.contains_key(&it.destination),
        };
        // Every queue is bound to the default exchange without anybody's doing.
        let is_ours = it.source.ends_with(MOVING_SUFFIX);
        if is_there && !it.source.is_empty() && !is_ours {
            vhost.bindings.push(observed::Binding {
                source: it.source,
                to_exchange,
                destination: it.destination,
                key: it.routing_key,
                arguments: Hex::new(&to_table(Some(&it.arguments))?),
            });
        }
    }
    all.values_mut().for_each(|it| it.bindings.sort());
    let observed = Observed {
        engine: Engine::Rabbitmq,
        broker: overview.cluster_name.clone(),
        vhosts: all,
        sources: Vec::<Source>::new(),
    };
    let exchange_types = overview.exchange_types.into_iter().map(|it| it.name).collect();
    let node = Node { name: overview.cluster_name, version, exchange_types, queue_types };
    Ok(Seen { node, observed, policies, usual_types, moving })
}

fn read<T: serde::de::DeserializeOwned>(what: &'static str, json: Json) -> Result<T, Unclear> {
    serde_json::from_value(json).map_err(|cause| Unclear::Json { what, cause })
}

fn exchange(it: &Exchange, policies: &Policies<'_>) -> Result<observed::Exchange, Unclear> {
    let mut arguments = to_table(Some(&it.arguments))?;
    let own = arguments.remove("alternate-exchange");
    let own = own.and_then(|it| it.as_text().map(str::to_owned));
    let given = policies.governing(&it.vhost, &it.name, "exchanges");
    let given = given.and_then(|it| it.definition.get("alternate-exchange")?.as_str());
    let delays = it.kind == delay::TYPE;
    let routes_as = arguments.get(delay::ROUTES_AS).and_then(|it| it.as_text());
    let kind = routes_as.filter(|_| delays).unwrap_or(&it.kind).to_owned();
    Ok(observed::Exchange {
        kind,
        delays,
        durable: it.durable,
        auto_delete: it.auto_delete,
        internal: it.internal,
        alternate: own.or(given.map(str::to_owned)),
        arguments: Hex::new(&arguments),
    })
}

fn queue(it: &Queue, policies: &Policies<'_>) -> Result<observed::Queue, Unclear> {
    let declared = to_table(Some(&it.arguments))?;
    let kind = it.kind.as_deref().unwrap_or("classic");
    let given = policies.governing(&it.vhost, &it.name, kind);
    let given = given.map(|it| Json::Object(it.definition.clone()));
    let mut arguments: Table = declared.clone();
    // COMPAT: what it was declared with counts before what a policy says.
    for (key, value) in to_table(given.as_ref())?.0 {
        let key = format!("x-{key}");
        if arguments.get(&key).is_none() {
            arguments.set(&key, value);
        }
    }
    Ok(observed::Queue {
        durable: it.durable,
        auto_delete: it.auto_delete,
        is_lot: false,
        arguments: Hex::new(&arguments),
        declared_with: Some(Hex::new(&declared)),
        n_messages: it.messages,
        n_consumers: it.consumers,
        unused_ms: None,
    })
}

/// Policies, found by what they apply to.
pub(in crate::topology) struct Policies<'p> {
    /// Of one object each, by vhost and the object's name.
    exact: BTreeMap<(&'p str, &'p str), Vec<&'p Policy>>,
    others: Vec<(&'p Policy, Pattern)>,
}

impl<'p> Policies<'p> {
    pub(in crate::topology) fn new(all: &'p [Policy]) -> Policies<'p> {
        let mut policies = Policies { exact: BTreeMap::new(), others: Vec::new() };
        for it in all {
            match policy::object(&it.name).filter(|name| policy::pattern_of(name) == it.pattern) {
                Some(name) => policies.exact.entry((&it.vhost, name)).or_default().push(it),
                None => policies.others.extend(Pattern::new(&it.pattern).ok().map(|p| (it, p))),
            }
        }
        policies
    }

    /// The policy that an object is under. `kind` is `exchanges`, or a queue's type.
    fn governing(&self, vhost: &str, name: &str, kind: &str) -> Option<&'p Policy> {
        let exact = self.exact.get(&(vhost, name)).into_iter().flatten().copied();
        let others =
            self.others.iter().filter(|(it, pattern)| it.vhost == vhost && pattern.matches(name));
        let all = exact.chain(others.map(|it| it.0));
        all.filter(|it| it.is_for(kind)).max_by_key(|it| it.priority)
    }

    /// The one that others have made which an object is under, or would be without ours.
    pub(in crate::topology) fn foreign(
        &self,
        vhost: &str,
        name: &str,
        kind: &str,
    ) -> Option<&'p Policy> {
        let others = self.others.iter().filter(|(it, pattern)| {
            it.vhost == vhost
                && !policy::is_ours(&it.name)
                && it.is_for(kind)
                && pattern.matches(name)
        });
        others.map(|it| it.0).max_by_key(|it| it.priority)
    }
}

impl Policy {
    /// `kind` is `exchanges`, or a queue's type.
    fn is_for(&self, kind: &str) -> bool {
        match self.apply_to.as_str() {
            "all" => true,
            "exchanges" => kind == "exchanges",
            "queues" => kind != "exchanges",
            "classic_queues" => kind == "classic",
            "quorum_queues" => kind == "quorum",
            "streams" => kind == "stream",
            _ => false,
        }
    }
}
