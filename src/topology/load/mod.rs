//! Reading all files of a topology: one pass for each kind of object, so that names can be looked
//! up no matter in which file they stand.

mod allow;
mod argument;
pub(in crate::topology) mod exchange;
pub(in crate::topology) mod fields;
pub(in crate::topology) mod limits;
pub mod mistake;
pub(in crate::topology) mod name;
mod publish;
pub(in crate::topology) mod queue;
mod queue_argument;
pub(in crate::topology) mod retry;
pub(in crate::topology) mod scenario;
pub mod schema;
pub(in crate::topology) mod service;
pub(in crate::topology) mod value;

use toml::de::DeTable;
use toml::de::DeValue;

use crate::amqp::name::ExchangeName;
use crate::amqp::name::Name;
use crate::amqp::name::QueueName;
use crate::amqp::name::VhostName;
use crate::topology::compile;
use crate::topology::declared::AllowScope;
use crate::topology::declared::Topology;
use crate::topology::declared::Vhost;
use crate::topology::diagnostic;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::lint::one_name_two_services;
use crate::topology::load::fields::Fields;
use crate::topology::load::fields::Item;
use crate::topology::load::fields::Shape;
use crate::topology::source::Origin;
use crate::topology::source::Source;
use crate::topology::source::Sources;

/// What the files say, and everything that is wrong with how they say it.
#[derive(Debug)]
pub struct Loaded {
    /// What could be read; for use only when there is no error.
    pub topology: Topology,
    /// In the order of files and places.
    pub diagnostics: Vec<Diagnostic>,
}

pub(in crate::topology) const FILE: Shape = Shape {
    keys: &["vhost", "services", "exchanges", "queues", "retry", "tests", "allow"],
    instead: &[
        ("service", "write `[services.NAME]`"),
        ("exchange", "write `[exchanges.NAME]`"),
        ("queue", "write `[queues.NAME]`"),
        ("test", "write `[[tests]]`"),
        ("policies", "write `[retry.NAME]`"),
        ("bindings", "a binding stands in its queue: `bindings = [{ exchange = \"…\" }]`"),
        ("enforce", "write it below `[vhost]`, with the vhost's name as `name`"),
        ("undeclared", "write it below `[vhost]`, with the vhost's name as `name`"),
        ("identity", "write it below `[vhost]`, with the vhost's name as `name`"),
    ],
};

/// One file on its way into the topology.
struct File<'d> {
    fields: Fields<'d>,
    vhost: VhostName,
    /// It is no TOML, so that what can be read of it only keeps other files from being blamed.
    broken: bool,
}

/// Reads files into one topology. Every mistake is reported, and reading goes on behind it.
pub fn load(sources: &[Source]) -> Loaded {
    let sources = Sources::new(sources);
    let mut report = Report::default();
    let parsed: Vec<_> = (0..u32::try_from(sources.n_files()).unwrap_or(u32::MAX))
        .map(|file| (file, DeTable::parse_recoverable(sources.text(file))))
        .collect();
    let mut topology = Topology { sources: sources.clone(), ..Topology::default() };
    let mut files = Vec::new();
    for (file, (table, errors)) in &parsed {
        errors.iter().for_each(|error| report.add(syntax(*file, error)));
        report.left_out |= !errors.is_empty();
        report.muted = !errors.is_empty();
        files.push(open(*file, table.get_ref(), report.muted, &mut topology, &mut report));
    }
    each(&files, &mut topology, &mut report, services);
    for vhost in topology.vhosts.values() {
        service::check_identities(vhost, &mut report);
    }
    each(&files, &mut topology, &mut report, policies);
    each(&files, &mut topology, &mut report, exchanges);
    each(&files, &mut topology, &mut report, queues);
    for vhost in topology.vhosts.values() {
        check_parking_names(vhost, &mut report);
    }
    each(&files, &mut topology, &mut report, |file, vhost, report| {
        let scenarios = scenario::load(&file.fields, vhost, report);
        vhost.scenarios.extend(scenarios);
    });
    load_allows(&files, &mut topology, &mut report);
    topology.whole = !report.left_out;
    let mut diagnostics = report.diagnostics;
    diagnostic::sort(&mut diagnostics);
    Loaded { topology, diagnostics }
}

/// Lets `visit` read something of every file into its vhost.
fn each(
    files: &[File<'_>],
    topology: &mut Topology,
    report: &mut Report,
    mut visit: impl FnMut(&File<'_>, &mut Vhost, &mut Report),
) {
    for file in files {
        report.muted = file.broken;
        if let Some(vhost) = topology.vhosts.get_mut(&file.vhost) {
            visit(file, vhost, report);
        }
    }
    report.muted = false;
}

fn syntax(file: u32, error: &toml::de::Error) -> Diagnostic {
    let origin = Origin::new(file, error.span().unwrap_or(0..0));
    let title = format!("the file is no TOML here: {}", error.message().replace('\n', ", "));
    let new = Diagnostic::new(mistake::SYNTAX, Severity::Error, title, (origin, "here"));
    new.help("correct it; the other mistakes in this file show when it can be read")
}

/// Takes a file's table, and makes sure that its vhost is there.
fn open<'d>(
    file: u32,
    table: &'d DeTable<'d>,
    broken: bool,
    topology: &mut Topology,
    report: &mut Report,
) -> File<'d> {
    let start = Origin::new(file, 0..0);
    let fields = Fields::open(table, start, "the file".to_owned(), &FILE, report);
    let mut name = VhostName::new("/");
    let mut settings = None;
    let mut origin = start;
    if let Some(item) = fields.get("vhost") {
        origin = item.key_origin;
        if let DeValue::Table(_) = item.value {
            settings = item.fields("`vhost`".to_owned(), &service::VHOST, report);
            let written = settings.as_ref().and_then(|it| it.text("name", report));
            if let Some(text) = written {
                name = vhost_name(text.value, text.origin, report).unwrap_or(name);
            }
        } else if let Some(text) = item.text(report) {
            name = vhost_name(text.value, text.origin, report).unwrap_or(name);
        }
    }
    let vhost = topology
        .vhosts
        .entry(name.clone())
        .or_insert_with(|| Vhost { origin, ..Vhost::empty(&name) });
    if let Some(fields) = settings {
        service::load_settings(&mut vhost.settings, &fields, report);
    }
    File { fields, vhost: name, broken }
}

fn vhost_name(text: &str, origin: Origin, report: &mut Report) -> Option<VhostName> {
    name::declared("vhost", text, origin, report)
}

/// The tables under `key` whose names may be declared.
fn named<'d, K>(
    file: &File<'d>,
    key: &str,
    kind: &str,
    report: &mut Report,
) -> Vec<(Name<K>, &'d DeTable<'d>, Origin)> {
    let all = exchange::objects(&file.fields, key, report);
    let named = |(item, table): (Item<'_, 'd>, &'d DeTable<'d>)| {
        let name = name::declared(kind, item.key, item.key_origin, report)?;
        Some((name, table, item.key_origin))
    };
    all.into_iter().filter_map(named).collect()
}

fn services(file: &File<'_>, vhost: &mut Vhost, report: &mut Report) {
    for (name, table, origin) in named(file, "services", "service", report) {
        let subject = format!("service `{name}`");
        if let Some(first) = vhost.services.get(&name) {
            let title = format!("{subject} is declared twice");
            report.add(service::twice(title, first.origin, origin));
            continue;
        }
        let fields = Fields::open(table, origin, subject, &service::SERVICE, report);
        let service = service::load(name.clone(), &fields, report);
        vhost.services.insert(name, service);
    }
}

fn policies(file: &File<'_>, vhost: &mut Vhost, report: &mut Report) {
    for (item, table) in exchange::objects(&file.fields, "retry", report) {
        let (name, origin) = (item.key.to_owned(), item.key_origin);
        let subject = format!("retry policy `{name}`");
        if let Some(first) = vhost.retry.get(&name) {
            let title = format!("{subject} is declared twice");
            report.add(service::twice(title, first.origin, origin));
            continue;
        }
        let fields = Fields::open(table, origin, subject, &retry::NAMED, report);
        let policy = retry::load(Some(&name), &fields, report);
        vhost.retry.insert(name, policy);
    }
}

fn exchanges(file: &File<'_>, vhost: &mut Vhost, report: &mut Report) {
    for (name, table, origin) in named::<_>(file, "exchanges", "exchange", report) {
        let name: ExchangeName = name;
        let subject = format!("exchange `{name}`");
        if let Some(first) = vhost.exchanges.get(&name) {
            let title = format!("{subject} is declared twice");
            report.add(service::twice(title, first.origin, origin));
            continue;
        }
        let fields = Fields::open(table, origin, subject, &exchange::EXCHANGE, report);
        let exchange = exchange::load(name.clone(), &fields, vhost, report);
        vhost.exchanges.insert(name, exchange);
    }
}

fn queues(file: &File<'_>, vhost: &mut Vhost, report: &mut Report) {
    for (name, table, origin) in named::<_>(file, "queues", "queue", report) {
        let name: QueueName = name;
        let subject = format!("queue `{name}`");
        let fields = Fields::open(table, origin, subject.clone(), &queue::QUEUE, report);
        let loaded = queue::load(name.clone(), &fields, vhost, report);
        if let Some(pattern) = vhost.per_instance.get(&name) {
            let title = format!("{subject} is declared twice");
            report.add(service::twice(title, pattern.origin, origin));
            continue;
        }
        if let Some(first) = vhost.queues.get(&name) {
            report.add(match &loaded {
                queue::Loaded::Queue(second) => one_name_two_services::twice(first, second),
                queue::Loaded::PerInstance(_) => {
                    service::twice(format!("{subject} is declared twice"), first.origin, origin)
                }
            });
            continue;
        }
        match loaded {
            queue::Loaded::Queue(queue) => {
                vhost.queues.insert(name, *queue);
            }
            queue::Loaded::PerInstance(pattern) => {
                vhost.per_instance.insert(name, pattern);
            }
        }
    }
}

/// A parking lot's name must not be that of a queue.
fn check_parking_names(vhost: &Vhost, report: &mut Report) {
    for lot in compile::parking_lots(vhost) {
        let Some(queue) = vhost.queues.get(&lot.name) else { continue };
        let (of, origin) = match &lot.owner {
            compile::LotOwner::Queue(name) => {
                (format!("queue `{name}`"), vhost.queues.get(name).map(|it| it.origin))
            }
            compile::LotOwner::Exchange(name) => {
                (format!("exchange `{name}`"), vhost.exchanges.get(name).map(|it| it.origin))
            }
        };
        let title = format!("queue `{}` has the name of a parking lot, that of {of}", queue.name);
        let at = (queue.origin, "the broker makes a queue of this name itself");
        let new = Diagnostic::new(mistake::BAD_NAME, Severity::Error, title, at);
        let new = new.also(origin.unwrap_or_default(), "parks messages in it");
        report.add(new.help("delete it, and set its limits by `parking`; or give it another name"));
    }
}

/// Reads what the files accept, once all rules and objects are known.
fn load_allows(files: &[File<'_>], topology: &mut Topology, report: &mut Report) {
    let mut allows = Vec::new();
    for file in files {
        report.muted = file.broken;
        let of_file = AllowScope::File(file.fields.origin.file);
        allow::load(&file.fields, of_file, &mut allows, report);
        // Keys were checked when the objects were read, so here only `allow` is looked at.
        for key in ["services", "exchanges", "queues", "retry"] {
            let mut ignored = Report { muted: true, ..Report::default() };
            for (item, table) in exchange::objects(&file.fields, key, &mut ignored) {
                let origin = item.key_origin;
                let subject = format!("`{}`", item.key);
                let object = Fields { table, origin, subject };
                allow::load(&object, AllowScope::Object(origin), &mut allows, report);
            }
        }
    }
    report.muted = false;
    topology.allows = allows;
}

#[cfg(test)]
mod tests;
