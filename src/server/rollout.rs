//! What is there, planning against it, and carrying a plan out while clients work.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::fs::File;
use std::io;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use serde::Serialize;
use serde_json::Value;
use serde_json::json;

use crate::admin::request::Problem;
use crate::amqp::id::BatchId;
use crate::amqp::name::VhostName;
use crate::broker::host::Host as _;
use crate::server::estate::LiveEstate;
use crate::server::node::Node;
use crate::server::turn::Turn;
use crate::topology;
use crate::topology::Source;
use crate::topology::Topology;
use crate::topology::apply::Applied;
use crate::topology::day::Day;
use crate::topology::declared::Vhost;
use crate::topology::engine::Engine;
use crate::topology::observed;
use crate::topology::observed::Observed;
use crate::topology::rollout;
use crate::topology::rollout::Options;
use crate::topology::rollout::Rollout;
use crate::topology::rollout::carry::carry_out;
use crate::topology::rollout::carry::remove;
use crate::topology::rollout::removal;
use crate::topology::rollout::removal::Removals;

/// The files that were applied last, in the data directory: a broker that is started without files
/// of its own goes on with them.
pub const APPLIED: &str = "topology.json";

/// The form of [`APPLIED`]; `docs/format.md` describes it.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    format: u32,
    sources: Vec<Source>,
    /// While they are being applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unfinished: Option<Unfinished>,
}

/// The newest form of [`APPLIED`]. The first had nothing that was unfinished.
const FORMAT: u32 = 2;

/// What files that are being applied take away, where what they declare is made first. A broker
/// that dies on the way goes on with it when it starts.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(in crate::server) struct Unfinished {
    options: Options,
    /// By vhost.
    removals: BTreeMap<String, Removals>,
}

/// Files to be planned or applied.
#[derive(Debug, Deserialize)]
struct Wanted {
    sources: Vec<Source>,
    #[serde(default)]
    options: Options,
    /// Of the broker as a plan found it.
    fingerprint: Option<String>,
    /// The broker that a plan was made for.
    #[serde(default)]
    broker: String,
}

/// The files that were applied last; empty when none were.
///
/// # Errors
/// When they are there and cannot be read.
pub fn kept(data: &Path) -> io::Result<Vec<Source>> {
    read(data).map(|it| it.map(|it| it.sources).unwrap_or_default())
}

fn read(data: &Path) -> io::Result<Option<Kept>> {
    let text = match fs::read(data.join(APPLIED)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let kept: Kept = serde_json::from_slice(&text)?;
    match kept.format {
        1..=FORMAT => Ok(Some(kept)),
        other => Err(io::Error::other(format!("its format is {other}, and {FORMAT} is known"))),
    }
}

/// What is left to do of an apply that was interrupted, if these are the files it was of. What was
/// to go for other files stays, as long as these count.
pub(in crate::server) fn interrupted(data: &Path, sources: &[Source]) -> Option<Unfinished> {
    let kept = read(data).inspect_err(|error| tracing::warn!(%error, "`{APPLIED}` is not read"));
    let kept = kept.ok()??;
    let unfinished = kept.unfinished?;
    let texts =
        |all: &[Source]| -> BTreeSet<String> { all.iter().map(|it| it.text.clone()).collect() };
    if texts(&kept.sources) == texts(sources) {
        return Some(unfinished);
    }
    tracing::warn!(
        "other files were being applied when the broker ended; what they do not declare stays"
    );
    None
}

/// Keeps files for the next start: the old ones or the new ones, whenever the power fails.
fn keep(data: &Path, sources: &[Source], unfinished: Option<&Unfinished>) -> io::Result<()> {
    let (sources, unfinished) = (sources.to_vec(), unfinished.cloned());
    write(data, &Kept { format: FORMAT, sources, unfinished })
}

fn write(data: &Path, kept: &Kept) -> io::Result<()> {
    let new = data.join("topology.json.new");
    let mut file = File::create(&new)?;
    file.write_all(&serde_json::to_vec_pretty(kept)?)?;
    file.sync_all()?;
    fs::rename(&new, data.join(APPLIED))?;
    File::open(data)?.sync_all()
}

/// Takes the kept files along to a copy of a data directory.
///
/// # Errors
/// When they cannot be read or written.
pub fn copy_kept(from: &Path, to: &Path) -> io::Result<()> {
    read(from)?.map_or(Ok(()), |kept| write(to, &kept))
}

/// Goes on where an apply was interrupted, once everything that its files declare is there.
pub(in crate::server) fn resume(node: &Node, unfinished: &Unfinished) -> BatchId {
    let (mut n_removed, mut after) = (0, BatchId(0));
    for (name, gone) in &unfinished.removals {
        let Some(live) = node.vhost(name) else { continue };
        let mut turn = Turn::new(node, &live, None);
        for removal in gone.in_order() {
            match remove(&mut turn, removal, &unfinished.options) {
                Ok(is_done) => n_removed += usize::from(is_done),
                Err(why) => tracing::warn!(vhost = name, "{why}"),
            }
        }
        let definition = turn.vhost().definition();
        after = after.max(turn.define(&definition));
        turn.finish();
    }
    tracing::info!(removed = n_removed, "an apply that was interrupted is finished");
    after
}

/// Notes that these files are applied: what they take away is gone for good.
///
/// # Errors
/// When that cannot be written.
pub(in crate::server) fn finished(data: &Path, sources: &[Source]) -> io::Result<()> {
    keep(data, sources, None)
}

impl LiveEstate {
    fn observe(&self, applied: &Topology) -> Observed {
        let mut vhosts = BTreeMap::new();
        for live in self.node.vhosts() {
            let mut turn = Turn::new(&self.node, &live, None);
            vhosts.insert(live.name.to_string(), observed::of(&mut turn));
            turn.finish();
        }
        let (engine, broker) = (Engine::Railpost, self.about.broker.clone());
        Observed { engine, broker, vhosts, sources: applied.sources.texts() }
    }

    pub(in crate::server) fn live_topology(&self) -> Value {
        let applied = Arc::clone(&self.node.topology.lock());
        let observed = self.observe(&applied);
        json!({ "fingerprint": observed.fingerprint(), "observed": observed })
    }

    pub(in crate::server) fn plan(&self, body: &Value) -> Result<Value, Problem> {
        let wanted = wanted(body)?;
        let new = sound(&wanted.sources, self.today())?;
        let applied = Arc::clone(&self.node.topology.lock());
        let observed = self.observe(&applied);
        let rollout = Rollout::new(&observed, &applied, &new, &wanted.sources, &wanted.options);
        Ok(serde_json::to_value(rollout).expect("strings and numbers only"))
    }

    /// Applies files, if the broker is still as the plan found it, or is already what the files
    /// say.
    pub(in crate::server) fn roll_out(&self, body: &Value) -> Result<(Value, BatchId), Problem> {
        let wanted = wanted(body)?;
        let new = sound(&wanted.sources, self.today())?;
        if let Some(why) = rollout::not_for(&wanted.broker, &self.about.broker) {
            return Err(conflict("other_broker", &[why]));
        }
        // Held to the end, so that plans are carried out one after the other.
        let mut applied = self.node.topology.lock();
        let observed = self.observe(&applied);
        let rollout = Rollout::new(&observed, &applied, &new, &wanted.sources, &wanted.options);
        if !rollout.is_empty() && wanted.fingerprint.is_some_and(|it| it != rollout.fingerprint) {
            let reason = "the broker has changed since the plan was made: plan again".to_owned();
            return Err(conflict("stale_plan", &[reason]));
        }
        if !rollout.refusals.is_empty() {
            return Err(conflict("refused", &rollout.refusals));
        }
        let (removals, _) = removal::all(&observed, &applied, &new, &wanted.options);
        // Kept first: a broker that dies on the way goes on with these when it starts.
        let unfinished = Unfinished { options: wanted.options, removals };
        let data = Path::new(&self.about.data);
        let not_kept = |error| Problem::bad(format!("the files cannot be kept: {error}"));
        keep(data, &wanted.sources, Some(&unfinished)).map_err(not_kept)?;
        let Unfinished { options, removals } = &unfinished;
        for name in new.vhosts.keys() {
            self.node.vhost_or_new(name);
        }
        let names = new.vhosts.keys().chain(applied.vhosts.keys());
        let names: BTreeSet<VhostName> = names.cloned().collect();
        let (mut done, mut failed, mut after) = (Applied::default(), Vec::new(), BatchId(0));
        for name in names {
            let Some(live) = self.node.vhost(&name) else { continue };
            let empty = Vhost::empty(&name);
            let declared = new.vhost(&name).unwrap_or(&empty);
            let gone = removals.get(name.as_str()).cloned().unwrap_or_default();
            let mut turn = Turn::new(&self.node, &live, None);
            let result = carry_out(&mut turn, declared, &new.sources, &gone, options);
            let definition = turn.vhost().definition();
            after = after.max(turn.define(&definition));
            turn.finish();
            match result {
                Ok(it) => {
                    done.created += it.created;
                    done.changed += it.changed;
                    done.removed += it.removed;
                }
                Err(texts) => {
                    failed.extend(texts.into_iter().map(|it| format!("vhost '{name}': {it}")));
                }
            }
        }
        *applied = Arc::new(new);
        // Else the next start looks once more whether all of it is gone.
        if self.node.log.wait_until_durable(after) {
            finished(data, &wanted.sources).map_err(not_kept)?;
        }
        if !failed.is_empty() {
            return Err(conflict("not_all_done", &failed));
        }
        let Applied { created, changed, removed, .. } = done;
        let undeclared = serde_json::to_value(&rollout.undeclared).unwrap_or_default();
        let document = json!({
            "created": created,
            "changed": changed,
            "removed": removed,
            "undeclared": undeclared,
        });
        Ok((document, after))
    }

    /// Until when a suppression in a file holds.
    fn today(&self) -> Day {
        Day::of(self.node.clock.now())
    }
}

fn wanted(body: &Value) -> Result<Wanted, Problem> {
    serde_json::from_value(body.clone()).map_err(|error| Problem::bad(error.to_string()))
}

/// A topology without errors.
fn sound(sources: &[Source], today: Day) -> Result<Topology, Problem> {
    let loaded = topology::check(sources, today);
    let errors = loaded.diagnostics.iter().filter(|it| it.is_error());
    let errors: Vec<String> = errors
        .map(|it| format!("{}: {}", loaded.topology.sources.cite(it.primary.origin), it.title))
        .collect();
    if errors.is_empty() { Ok(loaded.topology) } else { Err(Problem::bad(errors.join("; "))) }
}

fn conflict(error: &str, reasons: &[String]) -> Problem {
    Problem::Conflict(json!({ "error": error, "reason": reasons.join("; "), "reasons": reasons }))
}
