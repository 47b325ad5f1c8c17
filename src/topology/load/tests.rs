use super::*;
use crate::queue::settings::Durability;
use crate::topology::diagnostic::Tally;
use crate::topology::render;
use crate::topology::render::Color;

fn loaded(text: &str) -> Loaded {
    load(&[Source { path: "t.toml".into(), text: text.into() }])
}

/// Each mistake, with the code, place and words that the finding must have.
#[test]
fn mistakes_are_named_with_their_place() {
    let cases = [
        ("[queue.q]", "TOP-002", "t.toml:1:2", "write `[queues.NAME]`"),
        ("[queues.q", "TOP-001", "t.toml:1:10", "no TOML"),
        ("vhost = 5", "TOP-003", "t.toml:1:9", "must be a string"),
        ("vhost = \"\"", "TOP-005", "t.toml:1:9", "empty name"),
        ("queues = 5", "TOP-003", "t.toml:1:10", "a table of tables"),
        ("[queues]\nq = 5", "TOP-003", "t.toml:2:5", "must be a table"),
        ("[queues.\"\"]", "TOP-005", "t.toml:1:9", "empty name"),
        ("[queues.\"amq.x\"]", "TOP-005", "t.toml:1:9", "reserved"),
        ("[queues.q]\nsrevice = \"a\"", "TOP-002", "t.toml:2:1", "`service`"),
        ("[queues.q]\nservice = \"a\"", "TOP-007", "t.toml:2:11", "[services.a]"),
        ("[queues.q]\nttl = \"5\"", "TOP-004", "t.toml:2:7", "no unit"),
        ("[queues.q]\nttl = \"99999d\"", "TOP-004", "t.toml:2:7", "ten years"),
        ("[queues.q]\nttl = \"-5s\"", "TOP-004", "t.toml:2:7", "negative"),
        ("[queues.q]\nmax_priority = 256", "TOP-004", "t.toml:2:16", "1 to 255"),
        ("[queues.q]\nmax_priority = -1", "TOP-004", "t.toml:2:16", "negative"),
        ("[queues.q]\nlimits = { messages = 0 }", "TOP-004", "t.toml:2:23", "out of range"),
        ("[queues.q]\nlimits = { overflow = \"park\" }", "TOP-010", "t.toml:2:12", "no effect"),
        ("[queues.q]\nconsumers = \"keyd\"", "TOP-004", "t.toml:2:13", "`keyed`?"),
        ("[queues.q]\nconsumers = \"keyed\"", "TOP-009", "t.toml:1:9", "no `key`"),
        ("[queues.q]\nkey = \"routing-key\"", "TOP-008", "t.toml:2:1", "only keyed"),
        ("[queues.q]\nretry = 5", "TOP-003", "t.toml:2:9", "name of a policy"),
        ("[queues.q]\nretry = \"std\"", "TOP-007", "t.toml:2:9", "[retry.std]"),
        ("[queues.q]\nretry = { then = \"dead-letter\" }", "TOP-008", "t.toml:2:9", "has none"),
        ("[queues.q]\nretry = { attempts = 30, delivery_limit = 3 }", "TOP-008", "t.toml:2:43", ""),
        ("[queues.q]\nfail_fast = true", "TOP-010", "t.toml:2:1", "no effect"),
        ("[queues.q]\nbindings = [{ key = \"a\" }]", "TOP-009", "t.toml:2:13", "no `exchange`"),
        ("[queues.q]\nbindings = [{ exchange = \"\" }]", "TOP-004", "t.toml:2:26", "default"),
        ("[queues.q]\narguments = { x-max-length = -1 }", "TOP-004", "t.toml:2:30", "negative"),
        (
            "[queues.q]\nttl = \"1s\"\narguments = { x-message-ttl = 5 }",
            "TOP-008",
            "t.toml:3:31",
            "",
        ),
        ("[exchanges.e]", "TOP-009", "t.toml:1:12", "no `type`"),
        ("[exchanges.e]\ntype = \"x-delayed-message\"", "TOP-009", "t.toml:2:8", "x-delayed-type"),
        ("[exchanges.e]\ntype = \"fanuot\"", "TOP-004", "t.toml:2:8", "`fanout`?"),
        ("[services.a]\nidentities = []", "TOP-004", "t.toml:2:14", "empty"),
        ("[services.a]\nidentities = [\"usr:a\"]", "TOP-004", "t.toml:2:15", "identity"),
        ("[services.a]\n[services.b]\nidentities = [\"user:a\"]", "SEC-003", "t.toml:3:15", "both"),
        ("[vhost]\nenforce = \"yes\"", "TOP-004", "t.toml:2:11", "deny"),
        ("[vhost]\nbudget = { queues = -1 }", "TOP-004", "t.toml:2:21", "negative"),
        ("[vhost]\nbudget = { queue = 1 }", "TOP-002", "t.toml:2:12", "`queues`"),
        ("[[tests]]\nname = \"t\"", "TOP-009", "t.toml:1:1", "publish"),
        ("[[tests]]\nname = \"t\"\npublish = { exchange = \"\" }", "TOP-009", "t.toml:1:1", "fail"),
        ("allow = [{ rule = \"XXX\", reason = \"r\" }]", "TOP-007", "t.toml:1:19", "exist"),
    ];
    for (text, code, place, words) in cases {
        let loaded = loaded(text);
        let sources = &loaded.topology.sources;
        let found: Vec<String> = loaded
            .diagnostics
            .iter()
            .map(|it| {
                let help = it.help.as_deref().unwrap_or_default();
                let label = &it.primary.label;
                let at = sources.place(it.primary.origin);
                format!("{} {at} {} {label} {help}", it.rule, it.title)
            })
            .collect();
        let fits = |it: &String| it.starts_with(&format!("{code} {place} ")) && it.contains(words);
        assert!(found.iter().any(fits), "{text}: {found:#?}");
    }
}

#[test]
fn everything_wrong_is_reported_in_all_files() {
    let broken = Source { path: "a.toml".into(), text: "[queues.other\n".into() };
    let wrong = "[queues.q]\nttl = 5\nexpires = 6\n[exchanges.e]\ntype = 7\n";
    let wrong = Source { path: "b.toml".into(), text: wrong.into() };
    let loaded = load(&[wrong, broken]);
    assert_eq!(Tally::of(&loaded.diagnostics).errors, 4, "{:#?}", loaded.diagnostics);
    let files: Vec<u32> = loaded.diagnostics.iter().map(|it| it.primary.origin.file).collect();
    assert_eq!(files, [0, 1, 1, 1]);
}

#[test]
fn defaults_are_filled_in() {
    let loaded = loaded("[exchanges.e]\ntype = \"topic\"\n[queues.q]\nretry = {}\n[services.s]\n");
    assert_eq!(loaded.diagnostics, []);
    let vhost = loaded.topology.vhost("/").expect("the file is about it");
    let queue = &vhost.queues["q"];
    let retry = queue.retry.as_ref().expect("it is there").to_machine();
    assert_eq!((retry.attempts, retry.first.0, retry.max.0), (5, 1000, 60_000));
    assert_eq!(queue.parking.as_ref().map(|it| it.name.to_string()), Some("q.parked".into()));
    assert!(queue.durable && !queue.auto_delete);
    assert_eq!(vhost.services["s"].identities.len(), 2);
}

#[test]
fn a_queue_is_as_safe_as_it_says_or_its_vhost_does() {
    let text = "[vhost]\ndurability = \"write\"\n[queues.a]\n[queues.b]\ndurability = \"sync\"\n";
    let loaded = loaded(text);
    assert_eq!(loaded.diagnostics, []);
    let vhost = loaded.topology.vhost("/").expect("the file is about it");
    let of = |queue: &str| compile::settings(&vhost.queues[queue]).durability;
    assert_eq!((of("a"), of("b")), (Durability::Write, Durability::Sync));
}

/// The manual names every key, so that no key is there that nobody can find.
#[test]
fn the_manual_knows_every_key() {
    let manual = include_str!("../../../docs/topology-file.md");
    let shapes = [
        &FILE,
        &service::SERVICE,
        &service::VHOST,
        &service::BUDGET,
        &exchange::EXCHANGE,
        &queue::QUEUE,
        &retry::NAMED,
        &retry::INLINE,
        &scenario::TEST,
        &publish::PUBLISH,
        &publish::PROPERTIES,
        &limits::LIMITS,
        &limits::DEAD_LETTER,
        &exchange::BINDING,
        &exchange::MESSAGE,
    ];
    for key in shapes.iter().flat_map(|it| it.keys) {
        let named = [format!("`{key}`"), format!("{key} = ")].iter().any(|it| manual.contains(it));
        assert!(named, "`{key}` is not in docs/topology-file.md");
    }
}

mod mutations {
    use proptest::prelude::*;

    use super::*;
    use crate::topology::day::Day;
    use crate::topology::lint::check;

    const VALID: &str = include_str!("../run/example.toml");

    proptest! {
        /// Whatever a file says, it is read to the end, and what is found can be shown.
        #[test]
        fn no_file_is_too_wrong_to_be_read(
            edits in proptest::collection::vec((any::<prop::sample::Index>(), 0..6u8, "\\PC{0,6}"), 1..8)
        ) {
            let mut lines: Vec<String> = VALID.lines().map(str::to_owned).collect();
            for (index, kind, text) in edits {
                let at = index.index(lines.len());
                match kind {
                    0 => lines[at] = text,
                    1 => lines.insert(at, text),
                    2 if lines.len() > 1 => { lines.remove(at); }
                    3 => { let line = lines[at].clone(); lines.push(line); }
                    4 => lines[at] = lines[at].replace('"', ""),
                    _ => {
                        let line = &lines[at];
                        let cut = line.char_indices().map(|it| it.0).nth(index.index(20)).unwrap_or(0);
                        lines[at] = format!("{}{text}{}", &line[..cut], &line[cut..]);
                    }
                }
            }
            let sources = [Source { path: "t.toml".into(), text: lines.join("\n") }];
            let checked = check(&sources, Day::parse("2026-06-01").expect("it is a day"));
            let (found, sources) = (&checked.diagnostics, &checked.topology.sources);
            let places: Vec<_> = found.iter().map(|it| it.primary.origin.start).collect();
            prop_assert!(places.is_sorted());
            render::text(found, sources, Color::Ansi);
            render::json(found, sources);
            render::github(found, sources);
        }
    }
}
