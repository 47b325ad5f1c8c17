//! What is there, planning against it, and carrying a plan out while clients work.

use std::collections::BTreeMap;
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
use crate::topology::observed;
use crate::topology::observed::Observed;
use crate::topology::rollout::Options;
use crate::topology::rollout::Rollout;
use crate::topology::rollout::carry::carry_out;
use crate::topology::rollout::removal;

/// The files that were applied last, in the data directory: a broker that is started without files
/// of its own goes on with them.
pub const APPLIED: &str = "topology.json";

/// The form of [`APPLIED`].
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    format: u32,
    sources: Vec<Source>,
}

/// Files to be planned or applied.
#[derive(Debug, Deserialize)]
struct Wanted {
    sources: Vec<Source>,
    #[serde(default)]
    options: Options,
    /// Of the broker as a plan found it.
    fingerprint: Option<String>,
}

/// The files that were applied last; empty when none were.
///
/// # Errors
/// When they are there and cannot be read.
pub fn kept(data: &Path) -> io::Result<Vec<Source>> {
    let text = match fs::read(data.join(APPLIED)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let kept: Kept = serde_json::from_slice(&text)?;
    match kept.format {
        1 => Ok(kept.sources),
        other => Err(io::Error::other(format!("its format is {other}, and 1 is known"))),
    }
}

/// Keeps files for the next start: the old ones or the new ones, whenever the power fails.
fn keep(data: &Path, sources: &[Source]) -> io::Result<()> {
    let kept = Kept { format: 1, sources: sources.to_vec() };
    let new = data.join("topology.json.new");
    let mut file = File::create(&new)?;
    file.write_all(&serde_json::to_vec_pretty(&kept)?)?;
    file.sync_all()?;
    fs::rename(&new, data.join(APPLIED))?;
    File::open(data)?.sync_all()
}

/// Takes the kept files along to a copy of a data directory.
///
/// # Errors
/// When they cannot be read or written.
pub fn copy_kept(from: &Path, to: &Path) -> io::Result<()> {
    let sources = kept(from)?;
    if sources.is_empty() { Ok(()) } else { keep(to, &sources) }
}

impl Node {
    fn observe(&self, applied: &Topology) -> Observed {
        let mut vhosts = BTreeMap::new();
        for live in self.vhosts() {
            let mut turn = Turn::new(self, &live, None);
            vhosts.insert(live.name.to_string(), observed::of(&mut turn));
            turn.finish();
        }
        Observed { vhosts, sources: applied.sources.texts(), replaces_in_place: true }
    }
}

impl LiveEstate {
    pub(in crate::server) fn live_topology(&self) -> Value {
        let applied = Arc::clone(&self.node.topology.lock());
        let observed = self.node.observe(&applied);
        json!({ "fingerprint": observed.fingerprint(), "observed": observed })
    }

    pub(in crate::server) fn plan(&self, body: &Value) -> Result<Value, Problem> {
        let wanted = wanted(body)?;
        let new = sound(&wanted.sources, self.today())?;
        let applied = Arc::clone(&self.node.topology.lock());
        let observed = self.node.observe(&applied);
        let rollout = Rollout::new(&observed, &applied, &new, &wanted.sources, &wanted.options);
        Ok(serde_json::to_value(rollout).expect("strings and numbers only"))
    }

    /// Applies files, if the broker is still as the plan found it, or is already what the files
    /// say.
    pub(in crate::server) fn roll_out(&self, body: &Value) -> Result<(Value, BatchId), Problem> {
        let wanted = wanted(body)?;
        let new = sound(&wanted.sources, self.today())?;
        // Held to the end, so that plans are carried out one after the other.
        let mut applied = self.node.topology.lock();
        let observed = self.node.observe(&applied);
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
        keep(Path::new(&self.about.data), &wanted.sources)
            .map_err(|error| Problem::bad(format!("the files cannot be kept: {error}")))?;
        for name in new.vhosts.keys() {
            self.node.vhost_or_new(name);
        }
        let names = new.vhosts.keys().chain(applied.vhosts.keys());
        let names: std::collections::BTreeSet<VhostName> = names.cloned().collect();
        let (mut done, mut failed, mut after) = (Applied::default(), Vec::new(), BatchId(0));
        for name in names {
            let Some(live) = self.node.vhost(&name) else { continue };
            let empty = Vhost::empty(&name);
            let declared = new.vhost(&name).unwrap_or(&empty);
            let gone = removals.get(name.as_str()).cloned().unwrap_or_default();
            let mut turn = Turn::new(&self.node, &live, None);
            let result = carry_out(&mut turn, declared, &new.sources, &gone, &wanted.options);
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
