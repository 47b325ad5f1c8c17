use super::*;
use crate::amqp::id::ConsumerId;
use crate::amqp::id::QueueId;
use crate::amqp::message::Message;
use crate::amqp::name::ConsumerTag;
use crate::amqp::name::RoutingKey;
use crate::amqp::property::Properties;
use crate::amqp::time::Millis;
use crate::amqp::time::Timestamp;
use crate::broker::memory::Clients;
use crate::broker::memory::Memory;
use crate::broker::vhost::Vhost;
use crate::queue::dispatch::Delivery;
use crate::routing::route::Publication;
use crate::routing::route::Routes;
use crate::routing::route::route;
use crate::topology::Source;
use crate::topology::apply::Identity;
use crate::topology::apply::apply_as;
use crate::topology::load;

const OLD: &str = "[services.billing]\n[services.shop]\n\
    [exchanges.orders]\ntype = \"direct\"\nmessages = [{ key = \"created\", from = \"shop\" }]\n\
    [queues.billing]\nservice = \"billing\"\nretry = {}\n\
    bindings = [{ exchange = \"orders\", key = \"created\" }]\n";

fn sources(text: &str) -> Vec<Source> {
    vec![Source { path: "t.toml".to_owned(), text: text.to_owned() }]
}

fn topology(text: &str) -> Topology {
    let loaded = load(&sources(text));
    assert!(!loaded.diagnostics.iter().any(|it| it.is_error()), "{:?}", loaded.diagnostics);
    loaded.topology
}

fn roll(observed: &Observed, new: &str, options: &Options) -> Rollout {
    let applied = topology(&observed.sources[0].text);
    Rollout::new(observed, &applied, &topology(new), &sources(new), options)
}

fn steps_of(rollout: &Rollout) -> Vec<(StepAction, &str)> {
    rollout.steps.iter().map(|it| (it.action, it.name.as_str())).collect()
}

#[test]
fn a_broker_that_is_as_declared_needs_nothing() {
    let rollout = roll(&observed::tests::as_declared(OLD), OLD, &Options::default());
    assert!(rollout.is_empty(), "{rollout:?}");
    assert_eq!(rollout.drift(), "no drift\n");
}

#[test]
fn what_is_new_is_bound_before_anything_is_unbound() {
    let new = OLD.replace("queues.billing", "queues.invoices");
    let rollout = roll(&observed::tests::as_declared(OLD), &new, &Options::default());
    let bind = "orders → invoices (created)";
    let unbind = "orders → billing (created)";
    assert_eq!(
        steps_of(&rollout),
        [
            (StepAction::Create, "invoices"),
            (StepAction::Bind, bind),
            (StepAction::Unbind, unbind),
            (StepAction::Delete, "billing"),
        ]
    );
    assert_eq!(rollout.refusals, [""; 0]);
}

#[test]
fn messages_and_consumers_are_given_up_by_name_only() {
    let mut observed = observed::tests::as_declared(OLD);
    let vhost = observed.vhosts.get_mut("/").expect("it is there");
    let billing = vhost.queues.get_mut("billing").expect("it is there");
    billing.n_messages = 12;
    let new = "[exchanges.orders]\ntype = \"direct\"\n";
    let refused = roll(&observed, new, &Options::default());
    assert!(refused.refusals[0].contains("with 12 messages and 0 consumers"), "{refused:?}");
    assert!(refused.text().contains("queue `billing`: 12 messages"));
    let options = Options { delete: ["billing".to_owned()].into(), ..Options::default() };
    assert_eq!(roll(&observed, new, &options).refusals, [""; 0]);
    let before = observed.fingerprint();
    observed.vhosts.get_mut("/").expect("it is there").bindings.clear();
    assert_ne!(observed.fingerprint(), before);
}

#[test]
fn what_clients_made_stays_without_prune() {
    let mut observed = observed::tests::as_declared(OLD);
    let vhost = observed.vhosts.get_mut("/").expect("it is there");
    vhost
        .queues
        .insert("spy".to_owned(), observed::tests::queue(&crate::amqp::table::Table::default()));
    let mut binding = vhost.bindings[0].clone();
    binding.destination = "spy".to_owned();
    vhost.bindings.push(binding);
    vhost.bindings.sort();
    let kept = roll(&observed, OLD, &Options::default());
    assert!(kept.is_empty(), "{kept:?}");
    assert_eq!(kept.undeclared.len(), 2);
    assert!(kept.drift().contains("? queue `spy` in the vhost `/`"), "{}", kept.drift());
    let pruned = roll(&observed, OLD, &Options { prune: true, ..Options::default() });
    let gone = [(StepAction::Unbind, "orders → spy (created)"), (StepAction::Delete, "spy")];
    assert_eq!(steps_of(&pruned), gone);
    assert_eq!(pruned.undeclared.len(), 0);
}

#[test]
fn another_type_is_another_exchange_and_what_is_protected_stays() {
    let new = OLD.replace("\"direct\"", "\"topic\"");
    let rollout = roll(&observed::tests::as_declared(OLD), &new, &Options::default());
    assert_eq!(steps_of(&rollout)[0], (StepAction::ReplaceExchange, "orders"));
    let protected = OLD.replace("\"direct\"", "\"direct\"\nprotected = true");
    let rollout = roll(&observed::tests::as_declared(&protected), &new, &Options::default());
    assert!(rollout.refusals[0].contains("`orders` is protected"), "{rollout:?}");
}

#[test]
fn a_queue_is_replaced_with_its_messages_where_the_broker_can_do_that() {
    let mut observed = observed::tests::as_declared(OLD);
    let vhost = observed.vhosts.get_mut("/").expect("it is there");
    let billing = vhost.queues.get_mut("billing").expect("it is there");
    (billing.n_messages, billing.n_consumers) = (12, 1);
    let transient = OLD.replace("retry = {}", "durable = false");
    let rollout = roll(&observed, &transient, &Options::default());
    assert_eq!(steps_of(&rollout)[0], (StepAction::ReplaceQueue, "billing"));
    assert_eq!((rollout.stakes.len(), rollout.refusals.len()), (0, 0), "{rollout:?}");
    let text = rollout.text();
    assert!(text.contains("`billing`: 12 messages are kept in their order, 1 consumers stay"));
    assert!(text.contains("messages of the queue `billing` do not outlive the broker any more"));
    let stream = OLD.replace("retry = {}", "arguments = { x-queue-type = \"stream\" }");
    let rollout = roll(&observed, &stream, &Options::default());
    assert_eq!(rollout.refusals, [""; 0]);
    let text = rollout.text();
    assert!(text.contains("1 consumers are cancelled"), "{text}");
    assert!(text.contains("the queue `billing` becomes a stream"), "{text}");
    observed.engine = Engine::Rabbitmq;
    let anew = roll(&observed, &transient, &Options::default());
    assert!(anew.refusals[0].contains("with 12 messages and 1 consumers"), "{anew:?}");
}

#[test]
fn a_saved_plan_is_read_again() {
    let new = OLD.replace("queues.billing", "queues.invoices");
    let rollout = roll(&observed::tests::as_declared(OLD), &new, &Options::default());
    let read: Rollout = serde_json::from_str(&rollout.json()).expect("it is one");
    assert_eq!(read, rollout);
    assert!(rollout.markdown().contains("invoices"));
}

#[derive(Debug)]
struct Nobody;

impl Clients for Nobody {
    fn deliver(&mut self, _: QueueId, _: &Delivery<'_>) -> bool {
        false
    }

    fn begin_consumer(&mut self, _: QueueId, _: ConsumerId, _: &ConsumerTag, _: bool) {}

    fn cancel(&mut self, _: ConsumerId) {}

    fn late(&mut self, _: ConsumerId, _: Millis) {}

    fn reply(&mut self, _: ConsumerId, _: &Message) -> bool {
        false
    }
}

/// A vhost that has what `text` declares.
fn live(text: &str) -> Memory<Nobody> {
    let vhost = Vhost::new(VhostName::new("/"));
    let mut world = Memory::new(vhost, Nobody, Timestamp::from_millis(1));
    let topology = topology(text);
    let declared = topology.vhost("/").expect("it declares some");
    apply_as(&mut world, declared, &topology.sources, Identity::Keep).expect("applied");
    world
}

/// How many queues take an order.
fn n_ways(world: &Memory<Nobody>) -> usize {
    let publication = Publication {
        exchange: "orders",
        routing_key: RoutingKey("created"),
        properties: Properties::from_checked(&[0, 0]),
        copies: true,
    };
    let mut routes = Routes::default();
    route(&world.vhost.table, publication, &mut routes).expect("there is the exchange");
    routes.queues().len()
}

/// Stops after each step, and does all of it again, as a start does.
#[test]
fn an_apply_that_stops_anywhere_is_finished_by_doing_it_again() {
    let bare = OLD.replace("retry = {}\n", "");
    let old = format!(
        "{bare}[exchanges.audit]\ntype = \"fanout\"\n[queues.audit]\n\
         bindings = [{{ exchange = \"audit\" }}, {{ exchange = \"orders\", key = \"created\" }}]\n"
    );
    let new = bare.replace("\"direct\"", "\"topic\"").replace("queues.billing", "queues.invoices");
    let (before, after) = (topology(&old), topology(&new));
    let (declared, options) = (after.vhost("/").expect("one"), Options::default());
    let mut n_stops = 0;
    loop {
        let mut world = live(&old);
        let observed = Observed {
            vhosts: [("/".to_owned(), observed::of(&mut world))].into(),
            ..Observed::default()
        };
        let gone = removal::all(&observed, &before, &after, &options).0.remove("/").expect("one");
        let steps: Vec<_> = gone.in_order().take(n_stops).collect();
        apply_as(&mut world, declared, &after.sources, Identity::Replace).expect("applied");
        assert_eq!(n_ways(&world), 3);
        for step in &steps {
            assert_eq!(carry::remove(&mut world, *step, &options), Ok(true), "{step:?}");
            assert!(n_ways(&world) > 0, "after {step:?}");
        }
        carry::carry_out(&mut world, declared, &after.sources, &gone, &options).expect("done");
        assert_eq!(observed::of(&mut world), observed::of(&mut live(&new)), "{n_stops} steps");
        let fresh = live(&new);
        assert!(world.definitions.keys().eq(fresh.definitions.keys()), "{n_stops} steps");
        if steps.len() < n_stops {
            break;
        }
        n_stops += 1;
    }
    assert!(n_stops > 5, "{n_stops}");
}
