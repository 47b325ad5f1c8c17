//! RabbitMQ's definitions as rules look at them: each object with its place in the text, and what a
//! topology file would say of it.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::ops::Range;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Map;
use serde_json::Value as Json;
use serde_json::value::RawValue;

use crate::access::password::PasswordHash;
use crate::access::pattern::Pattern;
use crate::amqp::argument::QueueType;
use crate::broker::policy::Policies;
use crate::broker::policy::Policy;
use crate::broker::policy::PolicyError;
use crate::broker::policy::Side;
use crate::routing::Kind;
use crate::topology::Source;
use crate::topology::declared::Binding;
use crate::topology::declared::Topology;
use crate::topology::load;
use crate::topology::login::Login;
use crate::topology::rabbitmq::import;
use crate::topology::rabbitmq::import::ImportError;
use crate::topology::rabbitmq::write;
use crate::topology::rabbitmq::write::Hints;
use crate::topology::source::Located;
use crate::topology::source::Origin;

/// One text.
#[derive(Clone, Debug)]
pub(in crate::topology) struct Definitions {
    pub(in crate::topology) vhosts: BTreeMap<String, DefinedVhost>,
    pub(in crate::topology) users: Vec<Login>,
}

#[derive(Clone, Debug, Default)]
pub(in crate::topology) struct DefinedVhost {
    /// Queues and exchanges, in the order of the text.
    pub(in crate::topology) objects: Vec<Object>,
    pub(in crate::topology) policies: Policies,
    places: BTreeMap<(Side, String), PolicyPlace>,
    pub(in crate::topology) permissions: Vec<Permission>,
    /// How many queues the vhost may have.
    pub(in crate::topology) queues_max: Option<Located<u64>>,
    /// What the files that are imported from this would declare, with the users' policies as
    /// arguments.
    pub(in crate::topology) topology: Topology,
    written: Written,
}

/// A queue or an exchange.
#[derive(Clone, Debug)]
pub(in crate::topology) struct Object {
    pub(in crate::topology) name: String,
    /// `None` is an exchange.
    pub(in crate::topology) queue_type: Option<QueueType>,
    pub(in crate::topology) arguments: Map<String, Json>,
    pub(in crate::topology) origin: Origin,
}

#[derive(Clone, Copy, Debug, Default)]
pub(in crate::topology) struct PolicyPlace {
    pub(in crate::topology) origin: Origin,
    pub(in crate::topology) pattern: Origin,
}

/// What one user may make and delete.
#[derive(Clone, Debug)]
pub(in crate::topology) struct Permission {
    pub(in crate::topology) user: String,
    pub(in crate::topology) configure: Pattern,
    pub(in crate::topology) origin: Origin,
}

/// Which object of the definitions stands where in the file that is made of them.
#[derive(Clone, Debug, Default)]
struct Written(Vec<(Range<u32>, Origin)>);

impl Object {
    /// "queue `orders`".
    pub(in crate::topology) fn subject(&self) -> String {
        match self.queue_type {
            Some(_) => format!("queue `{}`", self.name),
            None => format!("exchange `{}`", self.name),
        }
    }
}

impl DefinedVhost {
    /// The policies that are for an object, that of the highest priority first.
    pub(in crate::topology) fn matching(&self, side: Side, object: &Object) -> Vec<&Policy> {
        let is_for = |it: &&Policy| match object.queue_type {
            Some(queue_type) => it.is_for_queue(&object.name, queue_type),
            None => it.is_for_exchange(&object.name),
        };
        let mut found: Vec<&Policy> = self.policies.iter(side).filter(is_for).collect();
        found.sort_by_key(|it| std::cmp::Reverse(it.priority));
        found
    }

    pub(in crate::topology) fn place(&self, side: Side, policy: &Policy) -> PolicyPlace {
        self.places.get(&(side, policy.name.clone())).copied().unwrap_or_default()
    }

    /// All policies, with the side they are on.
    pub(in crate::topology) fn all_policies(&self) -> impl Iterator<Item = (Side, &Policy)> {
        let of = |side| self.policies.iter(side).map(move |it| (side, it));
        of(Side::User).chain(of(Side::Operator))
    }

    /// Where in the definitions the object stands that a place in the imported file is about.
    pub(in crate::topology) fn origin(&self, imported: Origin) -> Option<Origin> {
        let holds = |it: &&(Range<u32>, Origin)| it.0.contains(&imported.start);
        self.written.0.iter().filter(holds).min_by_key(|it| it.0.len()).map(|it| it.1)
    }
}

/// The lists that are read with their places.
#[derive(Deserialize)]
struct Outline<'t> {
    #[serde(borrow, default)]
    vhosts: Vec<&'t RawValue>,
    #[serde(borrow, default)]
    queues: Vec<&'t RawValue>,
    #[serde(borrow, default)]
    exchanges: Vec<&'t RawValue>,
    #[serde(borrow, default)]
    bindings: Vec<&'t RawValue>,
    #[serde(borrow, default)]
    policies: Vec<&'t RawValue>,
    #[serde(borrow, default)]
    parameters: Vec<&'t RawValue>,
    #[serde(borrow, default)]
    users: Vec<&'t RawValue>,
    #[serde(borrow, default)]
    permissions: Vec<&'t RawValue>,
}

impl Outline<'_> {
    fn is_empty(&self) -> bool {
        let objects = [&self.vhosts, &self.queues, &self.exchanges, &self.bindings];
        let others = [&self.policies, &self.parameters, &self.users, &self.permissions];
        objects.iter().chain(&others).all(|it| it.is_empty())
    }

    /// The vhost of objects that name none.
    ///
    /// COMPAT: in an export of one vhost queues and exchanges name none; RabbitMQ 3.10 says which
    /// it is only in its policies and parameters.
    fn vhost(&self, parsed: &import::Definitions) -> String {
        #[derive(Deserialize)]
        struct Of {
            vhost: Option<String>,
        }
        let named = self.policies.iter().chain(&self.parameters).find_map(|it| {
            let of: Of = serde_json::from_str(it.get()).ok()?;
            of.vhost
        });
        parsed.original_vhost_name.clone().or(named).unwrap_or_else(|| "/".to_owned())
    }
}

#[derive(Deserialize)]
struct PolicyEntry {
    pattern: String,
    #[serde(rename = "apply-to", default = "all")]
    apply_to: String,
    #[serde(default)]
    priority: i64,
    definition: Map<String, Json>,
}

fn all() -> String {
    "all".to_owned()
}

#[derive(Deserialize)]
struct ParameterEntry {
    component: String,
    #[serde(default)]
    value: Json,
}

#[derive(Deserialize)]
struct UserEntry {
    #[serde(default)]
    password_hash: String,
    /// A list, or words with commas between them.
    #[serde(default)]
    tags: Json,
}

#[derive(Deserialize)]
struct PermissionEntry {
    user: String,
    configure: String,
}

/// One object of a list.
struct Element<'t> {
    list: &'static str,
    reader: &'t Reader<'t>,
    raw: &'t RawValue,
    fields: BTreeMap<String, &'t RawValue>,
}

struct Reader<'t> {
    file: u32,
    text: &'t str,
    default_vhost: String,
}

impl<'t> Reader<'t> {
    fn elements(
        &'t self,
        list: &'static str,
        raws: &[&'t RawValue],
    ) -> Result<Vec<Element<'t>>, ImportError> {
        let one = |raw: &&'t RawValue| {
            let fields = serde_json::from_str(raw.get());
            let fields = fields.map_err(|it| self.wrong(list, raw, &it))?;
            Ok(Element { list, reader: self, raw, fields })
        };
        raws.iter().map(one).collect()
    }

    fn origin(&self, raw: &RawValue) -> Origin {
        // What is raw is a part of the text it was read from.
        let start = raw.get().as_ptr() as usize - self.text.as_ptr() as usize;
        Origin::new(self.file, start..start + raw.get().len())
    }

    /// The place is that of the object: within it, the error would count from there.
    fn wrong(&self, list: &'static str, raw: &RawValue, error: &serde_json::Error) -> ImportError {
        let before = &self.text[..self.origin(raw).start as usize];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        let cause = error.to_string();
        let cause = cause.split(" at line ").next().unwrap_or_default().to_owned();
        ImportError::Object { list, line, column, cause }
    }
}

impl Element<'_> {
    fn typed<T: DeserializeOwned>(&self) -> Result<T, ImportError> {
        let typed = serde_json::from_str(self.raw.get());
        typed.map_err(|it| self.reader.wrong(self.list, self.raw, &it))
    }

    fn text(&self, key: &str) -> Option<String> {
        serde_json::from_str(self.fields.get(key)?.get()).ok()
    }

    fn vhost(&self) -> String {
        self.text("vhost").unwrap_or_else(|| self.reader.default_vhost.clone())
    }

    /// Where a value stands, or else the object.
    fn origin(&self, key: &str) -> Origin {
        self.reader.origin(self.fields.get(key).copied().unwrap_or(self.raw))
    }
}

/// Reads definitions; `file` is the text's place among the sources.
///
/// # Errors
/// When the text is no JSON, or no definitions.
pub(in crate::topology) fn read(file: u32, source: &Source) -> Result<Definitions, ImportError> {
    let mut parsed = import::parse(&source.text)?;
    let outline: Outline<'_> = serde_json::from_str(&source.text)?;
    if outline.is_empty() {
        return Err(ImportError::Empty);
    }
    let default_vhost = outline.vhost(&parsed);
    parsed.original_vhost_name = Some(default_vhost.clone());
    let reader = Reader { file, text: &source.text, default_vhost };
    let mut vhosts: BTreeMap<String, DefinedVhost> = BTreeMap::new();
    for it in reader.elements("queues", &outline.queues)? {
        let queue: import::Queue = it.typed()?;
        let object = Object {
            queue_type: Some(queue.queue_type()),
            origin: it.origin("name"),
            name: queue.name,
            arguments: queue.arguments,
        };
        vhosts.entry(it.vhost()).or_default().objects.push(object);
    }
    for it in reader.elements("exchanges", &outline.exchanges)? {
        let exchange: import::Exchange = it.typed()?;
        let object = Object {
            queue_type: None,
            origin: it.origin("name"),
            name: exchange.name,
            arguments: exchange.arguments,
        };
        vhosts.entry(it.vhost()).or_default().objects.push(object);
    }
    for it in reader.elements("policies", &outline.policies)? {
        let name = it.text("name").unwrap_or_default();
        let place = PolicyPlace { origin: it.origin("name"), pattern: it.origin("pattern") };
        let vhost = vhosts.entry(it.vhost()).or_default();
        vhost.add_policy(Side::User, &name, it.typed()?, place);
    }
    for it in reader.elements("parameters", &outline.parameters)? {
        parameter(&it, vhosts.entry(it.vhost()).or_default())?;
    }
    for it in reader.elements("permissions", &outline.permissions)? {
        let entry: PermissionEntry = it.typed()?;
        // What is no pattern permits nothing.
        let Ok(configure) = Pattern::new(&entry.configure) else { continue };
        let origin = it.origin("configure");
        let permission = Permission { user: entry.user, configure, origin };
        vhosts.entry(it.vhost()).or_default().permissions.push(permission);
    }
    let users = reader.elements("users", &outline.users)?;
    let users = users.iter().map(user).collect::<Result<_, _>>()?;
    let bindings = reader.elements("bindings", &outline.bindings)?;
    imported(parsed, &binding_places(&bindings), &mut vhosts);
    Ok(Definitions { vhosts, users })
}

/// Operators' policies and the limits of a vhost.
fn parameter(it: &Element<'_>, vhost: &mut DefinedVhost) -> Result<(), ImportError> {
    let entry: ParameterEntry = it.typed()?;
    let origin = it.origin("name");
    match entry.component.as_str() {
        "operator_policy" => {
            let policy = serde_json::from_value(entry.value)
                .map_err(|error| it.reader.wrong(it.list, it.raw, &error))?;
            let name = it.text("name").unwrap_or_default();
            let place = PolicyPlace { origin, pattern: origin };
            vhost.add_policy(Side::Operator, &name, policy, place);
        }
        "vhost-limits" => {
            let most = entry.value.get("max-queues").and_then(Json::as_u64);
            vhost.queues_max = most.map(|it| Located::new(it, origin));
        }
        _ => {}
    }
    Ok(())
}

fn user(it: &Element<'_>) -> Result<Login, ImportError> {
    let entry: UserEntry = it.typed()?;
    let tags: BTreeSet<String> = match &entry.tags {
        Json::String(text) => text.split(',').map(|it| it.trim().to_owned()).collect(),
        Json::Array(all) => all.iter().filter_map(Json::as_str).map(str::to_owned).collect(),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::Object(_) => BTreeSet::new(),
    };
    Ok(Login {
        name: it.text("name").unwrap_or_default(),
        origin: it.origin("name"),
        password: PasswordHash::parse(&entry.password_hash),
        tags,
        loopback_only: false,
    })
}

impl DefinedVhost {
    /// Keys that mean nothing to us are left out, and a policy that cannot be.
    fn add_policy(&mut self, side: Side, name: &str, it: PolicyEntry, place: PolicyPlace) {
        let PolicyEntry { pattern, apply_to, priority, mut definition } = it;
        loop {
            let new = Policy::new(side, name, &pattern, &apply_to, priority, definition.clone());
            let unknown = match new {
                Ok(policy) => {
                    self.places.insert((side, name.to_owned()), place);
                    // Too many to be counted are too many to be looked at.
                    let _ = self.policies.put(side, policy);
                    return;
                }
                Err(PolicyError::UnknownKey(key) | PolicyError::NotForOperators(key)) => key,
                Err(PolicyError::WrongValue { key, .. }) => key.to_owned(),
                Err(
                    PolicyError::Pattern(_)
                    | PolicyError::ApplyTo(_)
                    | PolicyError::Empty
                    | PolicyError::TooMany,
                ) => return,
            };
            if definition.remove(&unknown).is_none() {
                return;
            }
        }
    }
}

/// Makes the files of the definitions, and reads them.
fn imported(
    mut parsed: import::Definitions,
    bindings: &BindingPlaces,
    vhosts: &mut BTreeMap<String, DefinedVhost>,
) {
    let default = parsed.original_vhost_name.clone().unwrap_or_else(|| "/".to_owned());
    let of = |it: &Option<String>| it.clone().unwrap_or_else(|| default.clone());
    for queue in &mut parsed.queues {
        let queue_type = queue.queue_type();
        let Some(vhost) = vhosts.get(&of(&queue.vhost)) else { continue };
        if let Some(policy) = vhost.policies.of_queue(&queue.name, queue_type).policy {
            for key in POLICY_KEYS.iter().filter(|it| policy.definition.contains_key(**it)) {
                let argument = queue.arguments.entry(format!("x-{key}"));
                argument.or_insert(policy.definition[*key].clone());
            }
        }
    }
    let mut unknown = BTreeSet::new();
    for exchange in &mut parsed.exchanges {
        let vhost = of(&exchange.vhost);
        if let Some(vhost) = vhosts.get(&vhost)
            && let Some(alternate) = vhost.policies.of_exchange(&exchange.name).alternate_exchange()
        {
            let argument = exchange.arguments.entry("alternate-exchange");
            argument.or_insert(Json::from(alternate.as_str()));
        }
        if Kind::parse(&exchange.kind).is_none() {
            unknown.insert((vhost, exchange.name.clone()));
            exchange.kind = Kind::Fanout.as_str().to_owned();
        }
    }
    // The broker's own exchanges for its log and its events are in no vhost of ours.
    parsed.bindings.retain(|it| !it.source.starts_with("amq.rabbitmq."));
    // An exchange of a plugin's type is there, and may route to whatever is bound to it.
    for binding in &mut parsed.bindings {
        if unknown.contains(&(of(&binding.vhost), binding.source.clone())) {
            binding.routing_key.clear();
        }
    }
    for (name, contents) in import::contents(parsed, &mut Vec::new()) {
        let text = write::file("Definitions", &name, &contents, &Hints::default()).text;
        let topology = load(&[Source { path: name.clone(), text }]).topology;
        let vhost = vhosts.entry(name.clone()).or_default();
        vhost.written = written(&name, &topology, vhost, bindings);
        vhost.topology = topology;
    }
}

/// The keys of policies that are arguments of queues as well.
pub(in crate::topology) const POLICY_KEYS: [&str; 8] = [
    "message-ttl",
    "expires",
    "max-length",
    "max-length-bytes",
    "overflow",
    "dead-letter-exchange",
    "dead-letter-routing-key",
    "delivery-limit",
];

/// The bindings of all vhosts, each with its place, by what they lead to and from.
type BindingPlaces = BTreeMap<[String; 5], Origin>;

fn binding_places(bindings: &[Element<'_>]) -> BindingPlaces {
    let place = |it: &Element<'_>| {
        let text = |key| it.text(key).unwrap_or_default();
        let kind = text("destination_type");
        let ends = [it.vhost(), kind, text("destination"), text("source"), text("routing_key")];
        (ends, it.origin("source"))
    };
    bindings.iter().map(place).collect()
}

/// Notes where the objects stand in both texts.
fn written(
    name: &str,
    topology: &Topology,
    defined: &DefinedVhost,
    bindings: &BindingPlaces,
) -> Written {
    let Some(vhost) = topology.vhost(name) else { return Written::default() };
    let objects: BTreeMap<(bool, &str), Origin> = defined
        .objects
        .iter()
        .map(|it| ((it.queue_type.is_some(), it.name.as_str()), it.origin))
        .collect();
    let (mut places, mut starts) = (Vec::new(), Vec::new());
    let mut add = |kind: &str, object: &str, start: u32, own: &[Binding]| {
        let Some(origin) = objects.get(&(kind == "queue", object)) else { return };
        starts.push((start, *origin));
        for it in own {
            let (source, key) = (it.exchange.value.to_string(), it.key.value.to_string());
            let ends = [name.to_owned(), kind.to_owned(), object.to_owned(), source, key];
            if let Some(place) = bindings.get(&ends) {
                places.push((it.origin.start..it.origin.end, *place));
            }
        }
    };
    for it in vhost.exchanges.values() {
        add("exchange", &it.name, it.origin.start, &it.bindings);
    }
    for it in vhost.queues.values() {
        add("queue", &it.name, it.origin.start, &it.bindings);
    }
    starts.sort_unstable();
    for (at, (start, origin)) in starts.iter().enumerate() {
        let end = starts.get(at + 1).map_or(u32::MAX, |it| it.0);
        places.push((*start..end, *origin));
    }
    Written(places)
}
