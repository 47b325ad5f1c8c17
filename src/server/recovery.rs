//! Bringing vhosts and queues back from what the log kept.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;

use crate::access::directory::Directory;
use crate::access::password::PasswordHash;
use crate::access::pattern::PatternError;
use crate::access::permission::Permission;
use crate::access::permission::TopicPermission;
use crate::access::user::Origin;
use crate::access::user::User;
use crate::access::user::UserLimits;
use crate::amqp::argument::QueueArguments;
use crate::amqp::argument::QueueType;
use crate::amqp::id::QueueId;
use crate::amqp::id::Seq;
use crate::amqp::name::ExchangeName;
use crate::amqp::name::QueueName;
use crate::amqp::name::UserName;
use crate::amqp::name::VhostName;
use crate::amqp::time::Timestamp;
use crate::broker::deduplication::Scope;
use crate::broker::deduplication::parse_key;
use crate::broker::definition::Definition;
use crate::broker::policy::Policy;
use crate::broker::policy::Side;
use crate::broker::schedule;
use crate::broker::vhost::Profile;
use crate::broker::vhost::QueueKind;
use crate::broker::vhost::QueueRecord;
use crate::broker::vhost::Vhost;
use crate::queue::Numbering;
use crate::queue::Queue;
use crate::queue::Restored;
use crate::queue::effect::Effect;
use crate::queue::entry::Mark;
use crate::queue::settings::Settings;
use crate::routing::Binding;
use crate::routing::Destination;
use crate::routing::delay::exchange_type;
use crate::routing::route::SCHEDULE_PREFIX;
use crate::routing::table::ExchangeSpec;
use crate::server::declare::DeclaredSettings;
use crate::server::log::FetchRequest;
use crate::server::node::Node;
use crate::server::vhosts::LiveQueue;
use crate::server::vhosts::LiveVhost;
use crate::storage::disk::Disk;
use crate::storage::error::StorageError;
use crate::storage::store::Store;
use crate::storage::store::view::LiveMessage;
use crate::storage::store::view::MarkedMessage;

/// What a restart found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Recovered {
    pub vhosts: usize,
    pub queues: usize,
    pub messages: u64,
    /// Of the messages, those that wait for a retry.
    pub delayed: u64,
    /// Of the messages, those in parking lots.
    pub parked: u64,
}

/// The definitions the log has, nothing before what it refers to.
pub(in crate::server) fn definitions<D: Disk>(store: &Store<D>) -> Vec<Definition> {
    let parse = |(key, value): (&[u8], &[u8])| {
        let definition = Definition::parse(value);
        if definition.is_none() {
            let key = String::from_utf8_lossy(key).replace('\0', " ");
            tracing::error!(key, "a definition in the log cannot be read and is left out");
        }
        definition
    };
    let mut all: Vec<Definition> = store.defined().filter_map(parse).collect();
    all.sort_by_key(Definition::rank);
    all
}

/// The first queue id that was never given out.
pub(in crate::server) fn next_queue_id<D: Disk>(
    store: &Store<D>,
    definitions: &[Definition],
) -> u32 {
    let defined = definitions.iter().map(|it| match it {
        Definition::QueueIds { next } => *next,
        Definition::Queue { id, .. } => id + 1,
        Definition::Vhost { .. }
        | Definition::Exchange { .. }
        | Definition::Offsets { .. }
        | Definition::Binding { .. }
        | Definition::Seen { .. }
        | Definition::User { .. }
        | Definition::Permission { .. }
        | Definition::TopicPermission { .. }
        | Definition::Policy { .. }
        | Definition::DefaultUser { .. } => 1,
    });
    let stored = store.queues().into_iter().map(|it| it.id.0 + 1);
    defined.chain(stored).max().unwrap_or(1)
}

/// The users and permissions the log has; and whether there ever was a default user, and who.
pub(in crate::server) fn directory(definitions: &[Definition]) -> (Directory, Option<String>) {
    let mut directory = Directory::default();
    let mut default_user = None;
    for definition in definitions {
        if let Err(error) = restore_access(definition, &mut directory, &mut default_user) {
            tracing::error!(?definition, %error, "a permission in the log cannot be restored");
        }
    }
    (directory, default_user)
}

fn restore_access(
    definition: &Definition,
    directory: &mut Directory,
    default_user: &mut Option<String>,
) -> Result<(), PatternError> {
    match definition {
        Definition::User { name, password, tags, connections_max, channels_max } => {
            directory.put_user(User {
                name: UserName::new(name),
                password: password.as_deref().and_then(PasswordHash::parse),
                tags: tags.clone(),
                limits: UserLimits {
                    connections_max: *connections_max,
                    channels_max: *channels_max,
                },
                loopback_only: User::is_loopback_only(name),
                origin: Origin::Stored,
            });
        }
        Definition::Permission { user, vhost, configure, write, read } => {
            let permission = Permission::new(configure, write, read)?;
            directory.put_permission(user.as_str().into(), vhost.as_str().into(), permission);
        }
        Definition::TopicPermission { user, vhost, exchange, write, read } => {
            let permission = TopicPermission::new(write, read)?;
            let (user, vhost) = (user.as_str().into(), vhost.as_str().into());
            directory.put_topic_permission(user, vhost, exchange.as_str().into(), permission);
        }
        Definition::DefaultUser { name } => *default_user = Some(name.clone()),
        Definition::QueueIds { .. }
        | Definition::Vhost { .. }
        | Definition::Policy { .. }
        | Definition::Exchange { .. }
        | Definition::Queue { .. }
        | Definition::Seen { .. }
        | Definition::Offsets { .. }
        | Definition::Binding { .. } => {}
    }
    Ok(())
}

/// Restores every definition and every queue into `node`.
pub(in crate::server) fn restore<D: Disk>(
    node: &Node,
    store: &mut Store<D>,
    definitions: &[Definition],
    declared: &DeclaredSettings,
) -> Result<Recovered, StorageError> {
    let mut vhosts: BTreeMap<String, Vhost> = BTreeMap::new();
    let mut queues = Vec::new();
    for definition in definitions {
        restore_definition(definition, declared, &mut vhosts, &mut queues);
    }
    let mut recovered = Recovered { vhosts: vhosts.len(), ..Recovered::default() };
    let mut live = BTreeMap::new();
    for (name, mut vhost) in vhosts {
        vhost.refresh_exchanges();
        live.insert(name, node.add_vhost(LiveVhost::new(vhost)));
    }
    restore_windows(node, definitions, &live);
    let numberings: BTreeMap<QueueId, Numbering> =
        definitions.iter().filter_map(numbering).collect();
    let mut known = BTreeSet::new();
    for (vhost, record) in queues {
        let Some(vhost) = live.get(&vhost) else { continue };
        known.insert(record.id);
        recovered.queues += 1;
        let numbering = numberings.get(&record.id).cloned().unwrap_or_default();
        restore_queue(node, store, vhost, (&record, numbering), &mut recovered)?;
    }
    // Messages of queues that are not defined any more: a crash came between two records.
    for orphan in store.queues().into_iter().filter(|it| !known.contains(&it.id)) {
        if orphan.n_messages > 0 {
            tracing::warn!(queue = orphan.id.0, messages = orphan.n_messages, "queue is gone");
        }
        node.log.drop_queue(orphan.id);
    }
    Ok(recovered)
}

/// What queues and exchanges have seen that take each message once.
fn restore_windows(
    node: &Node,
    definitions: &[Definition],
    vhosts: &BTreeMap<String, Arc<LiveVhost>>,
) {
    let mut all = Vec::new();
    for definition in definitions {
        if let Definition::Seen { vhost, of_exchange, name, key, at_ms } = definition {
            all.push((*at_ms, vhost, *of_exchange, name, key, definition));
        }
    }
    all.sort_by_key(|it| it.0);
    for (at_ms, vhost, of_exchange, name, key, definition) in all {
        let vhost = vhosts.get(vhost);
        let scope = vhost.and_then(|vhost| {
            let table = &vhost.definitions.read().vhost.table;
            match of_exchange {
                true => table.exchange(name).map(|it| Scope::Exchange(it.name.clone())),
                false => table.queue(name).map(Scope::Queue),
            }
        });
        let (Some(vhost), Some(scope), Some(key)) = (vhost, scope, parse_key(key)) else {
            node.log.undefine(definition);
            continue;
        };
        vhost.windows.lock().restore(scope, key, Timestamp::from_millis(at_ms));
    }
}

/// One definition; those it refers to came before.
fn restore_definition(
    definition: &Definition,
    declared: &DeclaredSettings,
    vhosts: &mut BTreeMap<String, Vhost>,
    queues: &mut Vec<(String, QueueRecord)>,
) {
    match definition {
        Definition::QueueIds { .. }
        | Definition::Seen { .. }
        | Definition::User { .. }
        | Definition::Permission { .. }
        | Definition::TopicPermission { .. }
        | Definition::Offsets { .. }
        | Definition::DefaultUser { .. } => {}
        Definition::Vhost { name, .. } => {
            let mut vhost = Vhost::new(VhostName::new(name));
            vhost.profile = profile(definition);
            vhosts.insert(name.clone(), vhost);
        }
        Definition::Policy { vhost, .. } => {
            let Some(vhost) = vhosts.get_mut(vhost) else { return };
            restore_policy(definition, vhost);
        }
        Definition::Exchange { vhost, name, kind, auto_delete, internal, alternate, arguments } => {
            let arguments = arguments.table().unwrap_or_default();
            let exchange_type = exchange_type(kind, &arguments);
            let (Some(vhost), Ok((kind, delays))) = (vhosts.get_mut(vhost), exchange_type) else {
                return;
            };
            let spec = ExchangeSpec {
                name: ExchangeName::new(name),
                kind,
                delays,
                durable: true,
                auto_delete: *auto_delete,
                internal: *internal,
                alternate: alternate.as_deref().map(ExchangeName::new),
                arguments,
            };
            if vhost.table.declare(spec).is_err() {
                tracing::error!(exchange = name, "an exchange in the log cannot be restored");
            }
        }
        Definition::Queue { vhost: vhost_name, name, id, auto_delete, arguments, parks_for } => {
            let Some(vhost) = vhosts.get_mut(vhost_name) else { return };
            let arguments = arguments.table().unwrap_or_default();
            let typed = QueueArguments::parse(&arguments).unwrap_or_default();
            let settings = declared.of(vhost_name, name).cloned();
            let holds_for = name.strip_prefix(SCHEDULE_PREFIX);
            let kind = match (parks_for, &settings) {
                (Some(_), _) => QueueKind::ParkingLot,
                (None, Some(_)) => QueueKind::Declared,
                (None, None) if holds_for.is_some() => QueueKind::Schedule,
                (None, None) => QueueKind::Client,
            };
            let settings =
                settings.or_else(|| holds_for.map(|it| Arc::new(schedule::settings(it, true))));
            let settings = settings
                .unwrap_or_else(|| Arc::new(Settings::from_arguments(&typed, true, *auto_delete)));
            let mut record = QueueRecord {
                id: QueueId(*id),
                name: QueueName::new(name),
                durable: true,
                auto_delete: *auto_delete,
                exclusive: None,
                settings: Arc::clone(&settings),
                base: settings,
                arguments,
                kind,
                parked: None,
            };
            if let Some(exchange) = holds_for {
                vhost.table.set_schedule(exchange, record.id);
            }
            record.settings = vhost.settings_of(record.subject());
            vhost.insert(record.clone());
            queues.push((vhost_name.clone(), record));
        }
        Definition::Binding { vhost, source, to_exchange, destination, key, arguments } => {
            let Some(vhost) = vhosts.get_mut(vhost) else { return };
            let destination = match to_exchange {
                true => Some(Destination::Exchange(ExchangeName::new(destination))),
                false => vhost.table.queue(destination).map(Destination::Queue),
            };
            let Some(destination) = destination else { return };
            let arguments = arguments.table().unwrap_or_default();
            if vhost.table.bind(source, Binding::new(destination, key, &arguments)).is_err() {
                tracing::error!(source, key, "a binding in the log cannot be restored");
            }
        }
    }
}

fn profile(definition: &Definition) -> Profile {
    let Definition::Vhost {
        description,
        tags,
        default_queue_type,
        connections_max,
        queues_max,
        is_protected,
        ..
    } = definition
    else {
        return Profile::default();
    };
    Profile {
        description: description.clone(),
        tags: tags.clone(),
        default_queue_type: default_queue_type.as_deref().and_then(QueueType::parse),
        connections_max: *connections_max,
        queues_max: *queues_max,
        is_protected: *is_protected,
    }
}

fn restore_policy(definition: &Definition, vhost: &mut Vhost) {
    let Definition::Policy { operator, name, pattern, apply_to, priority, definition, .. } =
        definition
    else {
        return;
    };
    let side = if *operator { Side::Operator } else { Side::User };
    let policy = Policy::new(side, name, pattern, apply_to, *priority, definition.clone());
    if let Err(error) = policy.and_then(|it| vhost.policies.put(side, it)) {
        tracing::error!(policy = name, %error, "a policy in the log cannot be restored");
    }
}

/// One queue with its messages; their bodies stay on disk until they are wanted.
fn restore_queue<D: Disk>(
    node: &Node,
    store: &mut Store<D>,
    vhost: &Arc<LiveVhost>,
    (record, numbering): (&QueueRecord, Numbering),
    recovered: &mut Recovered,
) -> Result<(), StorageError> {
    let mut restored = read_queue(store, record)?;
    if record.is_stream() {
        number_stream(node, record, numbering, &mut restored);
    }
    let n_messages: u64 = restored.levels.iter().map(|(_, count, ..)| count).sum();
    recovered.messages += n_messages;
    recovered.delayed += restored.delayed.len() as u64;
    if record.kind == QueueKind::ParkingLot {
        recovered.parked += n_messages;
    }
    let mut effects = Vec::new();
    let (name, settings) = (record.name.clone(), (*record.settings).clone());
    let queue = Queue::restore(name, settings, restored, node.clock.now(), &mut effects);
    vhost.definitions.write().queues.insert(record.id, LiveQueue::new(queue));
    for effect in effects {
        match effect {
            Effect::Wake { at } => node.timers.add(vhost, record.id, at),
            Effect::Fetch(fetch) => {
                let vhost = Arc::clone(vhost);
                node.log.fetch(FetchRequest { vhost, queue: record.id, fetch, reader: None });
            }
            Effect::Erase { .. }
            | Effect::DeadLetter(_)
            | Effect::Park(_)
            | Effect::Remember { .. }
            | Effect::MayHaveDelivered { .. }
            | Effect::Purge { .. }
            | Effect::Late { .. }
            | Effect::Delete(_) => {}
        }
    }
    Ok(())
}

/// The offsets of a stream, as the log has them.
fn numbering(definition: &Definition) -> Option<(QueueId, Numbering)> {
    let Definition::Offsets { queue, jumps } = definition else { return None };
    Some((QueueId(*queue), Numbering::new(jumps)))
}

/// The log goes on with other numbers than those that follow the last message: the offsets of the
/// stream go on without a gap, and before the first message has one this is in the log.
fn number_stream(
    node: &Node,
    record: &QueueRecord,
    mut numbering: Numbering,
    restored: &mut Restored,
) {
    let before = numbering.clone();
    // A stream that has no message any more goes on at a later offset: which was its last is not
    // known.
    if let Some((_, _, first, end)) = restored.levels.first() {
        numbering.go_on(*first, *end, restored.next);
    }
    if numbering != before {
        let jumps = numbering.jumps();
        node.log.define(&Definition::Offsets { queue: record.id.0, jumps });
    }
    restored.numbering = numbering;
}

/// What the log says of a queue, without looking at the messages nothing is known of.
fn read_queue<D: Disk>(
    store: &mut Store<D>,
    record: &QueueRecord,
) -> Result<Restored, StorageError> {
    let Some(view) = store.queue(record.id) else { return Ok(Restored::default()) };
    let levels = store.levels(record.id).into_iter();
    let mut restored = Restored {
        next: view.next_seq,
        redelivered_up_to: (view.watermark.0 > 0).then_some(view.watermark),
        ready_bytes: view.body_bytes,
        levels: levels.map(|it| (it.priority, it.n_messages, it.first, it.end)).collect(),
        ..Restored::default()
    };
    if record.is_stream() {
        // The levels only know that none comes before; a time is looked for from the very first.
        // There are several if it was a queue with priorities once.
        let first = store.live(record.id, Seq(0), 1)?;
        let n_messages = restored.levels.iter().map(|it| it.1).sum();
        let end = restored.levels.iter().map(|it| it.3).max().unwrap_or_default();
        let first = first.first().map(|it| (0, n_messages, it.seq, end));
        restored.levels = first.into_iter().collect();
        return Ok(restored);
    }
    let mut from = Seq(0);
    loop {
        let marked = store.marked(record.id, from, AT_A_TIME)?;
        let Some(last) = marked.last() else { break };
        from = last.message.seq.next();
        for MarkedMessage { message, mark } in marked {
            if let Some((mark, Some(due))) = Mark::decode(&mark) {
                restored.delayed.push((message.seq, message.priority, due, mark));
                let bytes = u64::from(message.body_bytes);
                restored.ready_bytes = restored.ready_bytes.saturating_sub(bytes);
            }
        }
    }
    let mut from = Seq(0);
    loop {
        let expiring = store.expiring(record.id, from, AT_A_TIME)?;
        let Some(last) = expiring.last() else { break };
        from = last.seq.next();
        let at = |it: LiveMessage| Some((it.seq, it.priority, it.expires_at?));
        restored.expirations.extend(expiring.into_iter().filter_map(at));
    }
    Ok(restored)
}

/// Messages asked of the store at a time.
const AT_A_TIME: usize = 4096;
