//! Writing bindings that clients made into the files that declare the queue or exchange they lead
//! to. Everything else in these files stays as it is, comments and order among it.

use toml_edit::Array;
use toml_edit::DocumentMut;
use toml_edit::InlineTable;
use toml_edit::Item;
use toml_edit::RawString;
use toml_edit::Table;
use toml_edit::TableLike;
use toml_edit::Value;

use crate::amqp::table;
use crate::topology::declared::Topology;
use crate::topology::declared::Vhost;
use crate::topology::load::load;
use crate::topology::observed;
use crate::topology::observed::Binding;
use crate::topology::source::Origin;
use crate::topology::source::Source;

/// What became of the bindings.
#[derive(Debug, Default)]
pub struct Adopted {
    /// All files, as they are with the bindings.
    pub sources: Vec<Source>,
    /// The path of the file that has it now, and the binding.
    pub written: Vec<(String, Binding)>,
    /// What stands in no file still, and why.
    pub left_out: Vec<(Binding, &'static str)>,
}

/// The bindings of `live` that no file declares, in order.
pub fn undeclared(live: &observed::Vhost, declared: Option<&Vhost>) -> Vec<Binding> {
    let known = declared.map(observed::declared_bindings).unwrap_or_default();
    live.bindings.iter().filter(|it| known.binary_search(it).is_err()).cloned().collect()
}

/// Adds bindings to what these files declare in a vhost. A file that cannot say one of them exactly
/// stays without it.
pub fn bind(sources: &[Source], vhost: &str, bindings: &[Binding]) -> Adopted {
    let mut adopted = Adopted { sources: sources.to_vec(), ..Adopted::default() };
    for binding in bindings {
        match bound(&adopted.sources, vhost, binding) {
            Ok((path, text)) => {
                let file = adopted.sources.iter_mut().find(|it| it.path == path);
                file.into_iter().for_each(|it| it.text.clone_from(&text));
                adopted.written.push((path, binding.clone()));
            }
            Err(why) => adopted.left_out.push((binding.clone(), why)),
        }
    }
    adopted
}

/// Why a binding is left out.
const UNCLEAR: &str = "the file that declares where it leads to cannot be changed by a program";

/// The path and the new text of the file that gets a binding.
fn bound(
    sources: &[Source],
    vhost: &str,
    binding: &Binding,
) -> Result<(String, String), &'static str> {
    let loaded = load(sources).topology;
    let origin = place(&loaded, vhost, binding).ok_or("no file declares where it leads to")?;
    let (path, text) = (loaded.sources.path(origin.file), loaded.sources.text(origin.file));
    let mut document: DocumentMut = text.parse().map_err(|_| UNCLEAR)?;
    let list = if binding.to_exchange { "exchanges" } else { "queues" };
    let all = document.get_mut(list).and_then(Item::as_table_like_mut);
    let item = all.and_then(|it| it.get_mut(&binding.destination));
    let object = item.and_then(Item::as_table_like_mut).ok_or(UNCLEAR)?;
    add(object, binding).ok_or(UNCLEAR)?;
    let text = document.to_string();
    let mut changed = sources.to_vec();
    changed.iter_mut().filter(|it| it.path == path).for_each(|it| it.text.clone_from(&text));
    // Read again: it says this and nothing else.
    let after = load(&changed).topology;
    let bindings = |it: &Topology| it.vhost(vhost).map(observed::declared_bindings);
    let mut expected = bindings(&loaded).unwrap_or_default();
    expected.push(binding.clone());
    expected.sort();
    match bindings(&after) == Some(expected) {
        true => Ok((path.to_owned(), text)),
        false => Err("a file cannot say its arguments as they are"),
    }
}

/// Where the destination of a binding is declared.
fn place(topology: &Topology, vhost: &str, binding: &Binding) -> Option<Origin> {
    let vhost = topology.vhost(vhost)?;
    let to = binding.destination.as_str();
    match binding.to_exchange {
        true => vhost.exchanges.get(to).map(|it| it.origin),
        false => vhost.queues.get(to).map(|it| it.origin),
    }
}

/// Adds a binding to the table of a queue or an exchange, in the way in which others stand there.
fn add(object: &mut dyn TableLike, binding: &Binding) -> Option<()> {
    let entries = entries(binding)?;
    match object.get_mut("bindings") {
        None => {
            let mut all = Array::new();
            all.push(inline(entries));
            let last = object.iter_mut().last().and_then(|(_, it)| it.as_value_mut());
            if let Some(last) = last {
                // What stands before the end of an inline table does so behind the new one.
                let space = text(last.decor().suffix());
                if space.trim().is_empty() {
                    last.decor_mut().set_suffix("");
                    all.decor_mut().set_suffix(space);
                }
            }
            object.insert("bindings", Item::Value(Value::Array(all)));
        }
        Some(Item::ArrayOfTables(all)) => {
            let mut table = Table::new();
            for (key, value) in entries {
                table.insert(key, Item::Value(value));
            }
            all.push(table);
        }
        Some(Item::Value(Value::Array(all))) => push(all, inline(entries)),
        Some(_) => return None,
    }
    Some(())
}

fn inline(entries: Vec<(&'static str, Value)>) -> InlineTable {
    entries.into_iter().collect()
}

/// Adds an element behind the last one: on a line of its own if that has one, and behind comments
/// on it.
fn push(all: &mut Array, element: InlineTable) {
    let Some(last) = all.len().checked_sub(1).and_then(|at| all.get_mut(at)) else {
        return all.push(element);
    };
    let before = text(last.decor().prefix());
    let behind = text(last.decor().suffix()).trim_end().to_owned();
    let mut value = Value::InlineTable(element);
    let Some((_, indentation)) = before.rsplit_once('\n') else {
        last.decor_mut().set_suffix("");
        value.decor_mut().set_prefix(" ");
        all.push_formatted(value);
        return;
    };
    last.decor_mut().set_suffix("");
    let trailing = text(Some(all.trailing()));
    let (comments, end) = match trailing.rsplit_once('\n') {
        Some((comments, end)) => (comments.to_owned(), format!("\n{end}")),
        None => (trailing, "\n".to_owned()),
    };
    value.decor_mut().set_prefix(format!("{behind}{comments}\n{indentation}"));
    all.push_formatted(value);
    all.set_trailing(end);
    all.set_trailing_comma(true);
}

fn text(raw: Option<&RawString>) -> String {
    raw.and_then(RawString::as_str).unwrap_or("").to_owned()
}

/// What a binding says; nothing when TOML has no words for its arguments.
fn entries(binding: &Binding) -> Option<Vec<(&'static str, Value)>> {
    let mut all = vec![("exchange", Value::from(binding.source.as_str()))];
    if !binding.key.is_empty() {
        all.push(("key", Value::from(binding.key.as_str())));
    }
    let arguments = binding.arguments.table()?;
    if !arguments.is_empty() {
        all.push(("arguments", Value::InlineTable(to_table(&arguments)?)));
    }
    Some(all)
}

fn to_table(table: &table::Table) -> Option<InlineTable> {
    let entry = |(key, value): (&str, &table::Value)| Some((key.to_owned(), to_value(value)?));
    table.iter().map(entry).collect()
}

fn to_value(value: &table::Value) -> Option<Value> {
    match value {
        table::Value::Bool(it) => Some(Value::from(*it)),
        table::Value::F64(it) => Some(Value::from(*it)),
        table::Value::LongString(it) => Some(Value::from(std::str::from_utf8(it).ok()?)),
        table::Value::Array(all) => {
            let all: Option<Array> = all.iter().map(to_value).collect();
            all.map(Value::Array)
        }
        table::Value::Table(it) => to_table(it).map(Value::InlineTable),
        table::Value::I64(it) => Some(Value::from(*it)),
        // Numbers of fewer bits are other numbers to a broker.
        table::Value::I8(_)
        | table::Value::U8(_)
        | table::Value::I16(_)
        | table::Value::U16(_)
        | table::Value::I32(_)
        | table::Value::U32(_)
        | table::Value::F32(_)
        | table::Value::Decimal { .. }
        | table::Value::Bytes(_)
        | table::Value::Time(_)
        | table::Value::Void => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::definition::Hex;

    fn binding(destination: &str, key: &str) -> Binding {
        Binding {
            source: "orders".to_owned(),
            to_exchange: destination == "copies",
            destination: destination.to_owned(),
            key: key.to_owned(),
            arguments: Hex::default(),
        }
    }

    /// The file behind a declaration of the exchange, once `bindings` are in it.
    fn after(text: &str, bindings: &[Binding]) -> String {
        let orders = "[exchanges.orders]\ntype = \"topic\"\n";
        let sources = [Source { path: "a.toml".to_owned(), text: format!("{orders}{text}") }];
        let adopted = bind(&sources, "/", bindings);
        assert_eq!(adopted.left_out, []);
        assert_eq!(adopted.written.len(), bindings.len());
        adopted.sources[0].text.strip_prefix(orders).expect("it stays").to_owned()
    }

    #[test]
    fn a_binding_is_written_as_the_others_are() {
        let one = [binding("q", "new")];
        let new = "{ exchange = \"orders\", key = \"new\" }";
        let cases = [
            (
                "[queues.q] # mine\nttl = \"1s\" # short\n",
                format!("[queues.q] # mine\nttl = \"1s\" # short\nbindings = [{new}]\n"),
            ),
            (
                "[queues.q]\nbindings = [{ exchange = \"orders\", key = \"a\" }] # all\nttl = \"1s\"\n",
                format!(
                    "[queues.q]\nbindings = [{{ exchange = \"orders\", key = \"a\" }}, {new}] # all\n\
                     ttl = \"1s\"\n"
                ),
            ),
            (
                "[queues.q]\nbindings = [\n  # first\n  { exchange = \"orders\", key = \"a\" }, # a\n  # end\n]\n",
                format!(
                    "[queues.q]\nbindings = [\n  # first\n  {{ exchange = \"orders\", key = \"a\" }}, # a\n  \
                     # end\n  {new},\n]\n"
                ),
            ),
            (
                "[queues.q]\nbindings = [\n    { exchange = \"orders\", key = \"a\" } # a\n]\n",
                format!(
                    "[queues.q]\nbindings = [\n    {{ exchange = \"orders\", key = \"a\" }}, # a\n    \
                     {new},\n]\n"
                ),
            ),
            (
                "[[queues.q.bindings]]\nexchange = \"orders\"\nkey = \"a\"\n",
                "[[queues.q.bindings]]\nexchange = \"orders\"\nkey = \"a\"\n\n\
                 [[queues.q.bindings]]\nexchange = \"orders\"\nkey = \"new\"\n"
                    .to_owned(),
            ),
            (
                "[queues]\nq = { ttl = \"1s\" }\n",
                format!("[queues]\nq = {{ ttl = \"1s\", bindings = [{new}] }}\n"),
            ),
        ];
        for (before, expected) in cases {
            assert_eq!(after(before, &one), expected, "{before}");
        }
    }

    #[test]
    fn many_bindings_and_those_of_exchanges_are_written() {
        let mut by_headers = binding("copies", "");
        let mut arguments = table::Table::default();
        arguments.set("x-match", table::Value::text("any"));
        arguments.set("n", table::Value::I64(7));
        by_headers.arguments = Hex::new(&arguments);
        let all = [binding("q", "a"), binding("q", "b"), by_headers];
        let text = after("[queues.q]\n[exchanges.copies]\ntype = \"fanout\"\n", &all);
        let expected = "[queues.q]\nbindings = [{ exchange = \"orders\", key = \"a\" }, \
             { exchange = \"orders\", key = \"b\" }]\n[exchanges.copies]\ntype = \"fanout\"\n\
             bindings = [{ exchange = \"orders\", arguments = { x-match = \"any\", n = 7 } }]\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn what_no_file_can_say_is_left_out() {
        let sources = [Source { path: "a.toml".to_owned(), text: "[queues.q]\n".to_owned() }];
        let mut short = binding("q", "a");
        let mut arguments = table::Table::default();
        arguments.set("n", table::Value::I32(7));
        short.arguments = Hex::new(&arguments);
        let adopted = bind(&sources, "/", &[short, binding("other", "a")]);
        assert_eq!(adopted.left_out.len(), 2);
        assert_eq!(adopted.sources, sources);
    }
}
