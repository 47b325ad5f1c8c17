//! Putting a topology file in order: keys in the order of the manual, one way of spaces and blank
//! lines. Comments and what the file says stay; so does the order of its tables, since people put
//! together what belongs together.

use toml_edit::Array;
use toml_edit::DocumentMut;
use toml_edit::InlineTable;
use toml_edit::Item;
use toml_edit::RawString;
use toml_edit::Table;
use toml_edit::Value;

use crate::topology::load::FILE;
use crate::topology::load::exchange::EXCHANGE;
use crate::topology::load::queue::QUEUE;
use crate::topology::load::retry::NAMED;
use crate::topology::load::scenario::TEST;
use crate::topology::load::service::SERVICE;
use crate::topology::load::service::VHOST;

/// The file is no TOML, or could not be put in order without changing what it says.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    #[error("{0}")]
    Syntax(#[from] toml_edit::TomlError),
    #[error("it cannot be put in order without changing what it says")]
    Changed,
}

/// The same file in order. In order again, it stays as it is.
///
/// # Errors
/// When it is no TOML.
pub fn format(text: &str) -> Result<String, FormatError> {
    let text = text.replace("\r\n", "\n");
    let mut document: DocumentMut = text.parse()?;
    let first = document.iter().filter_map(|(_, it)| first_position(it)).min();
    let root_has_values = document.iter().any(|(_, it)| it.is_value());
    let root = document.as_table_mut();
    pairs(root, FILE.keys);
    for (name, item) in root.iter_mut() {
        let keys: &[&str] = match name.get() {
            "vhost" => VHOST.keys,
            "services" => SERVICE.keys,
            "exchanges" => EXCHANGE.keys,
            "queues" => QUEUE.keys,
            "retry" => NAMED.keys,
            "tests" => TEST.keys,
            _ => &[],
        };
        tables(item, keys, if root_has_values { None } else { first });
    }
    let trailing = lines(raw(Some(document.trailing())), false);
    document.set_trailing(trailing.trim_end_matches('\n').to_owned());
    let mut new = document.to_string().trim_end().to_owned();
    if !new.is_empty() {
        new.push('\n');
    }
    let same = |a: &str, b: &str| toml::from_str::<toml::Table>(a).ok() == toml::from_str(b).ok();
    if same(&text, &new) { Ok(new) } else { Err(FormatError::Changed) }
}

/// Where the first header below an item stands.
fn first_position(item: &Item) -> Option<isize> {
    match item {
        Item::Table(table) => {
            let below = table.iter().filter_map(|(_, it)| first_position(it));
            below.chain(table.position().filter(|_| !table.is_implicit())).min()
        }
        Item::ArrayOfTables(all) => all.iter().filter_map(Table::position).min(),
        Item::None | Item::Value(_) => None,
    }
}

/// All tables with headers below an item. `first` is where the file's first header stands, when
/// nothing stands above it.
fn tables(item: &mut Item, keys: &[&str], first: Option<isize>) {
    match item {
        Item::Table(table) => one(table, keys, first),
        Item::ArrayOfTables(all) => all.iter_mut().for_each(|it| one(it, keys, first)),
        Item::None | Item::Value(_) => {}
    }
}

fn one(table: &mut Table, keys: &[&str], first: Option<isize>) {
    if !table.is_implicit() && !table.is_dotted() {
        let is_first = first.is_some() && table.position() == first;
        let above = lines(raw(table.decor().prefix()), !is_first);
        let above = if is_first { above.trim_start_matches('\n') } else { &above };
        table.decor_mut().set_prefix(above);
        let behind = comment(raw(table.decor().suffix()));
        table.decor_mut().set_suffix(behind);
        pairs(table, keys);
    }
    for (_, item) in table.iter_mut() {
        if !item.is_value() {
            tables(item, keys, first);
        }
    }
}

/// The keys and values of one table.
fn pairs(table: &mut Table, keys: &[&str]) {
    let place = |key: &str| keys.iter().position(|it| *it == key).unwrap_or(keys.len());
    let dotted = table.iter().any(|(_, it)| it.as_table().is_some_and(Table::is_dotted));
    if !dotted {
        table.sort_values_by(|a, _, b, _| place(a.get()).cmp(&place(b.get())));
    }
    let mut is_first = true;
    for (mut key, item) in table.iter_mut() {
        let Item::Value(value) = item else { continue };
        let above = lines(raw(key.leaf_decor().prefix()), false);
        let above = if is_first { above.trim_start_matches('\n').to_owned() } else { above };
        is_first = false;
        key.leaf_decor_mut().set_prefix(above);
        key.leaf_decor_mut().set_suffix(" ");
        let behind = comment(raw(value.decor().suffix()));
        inside(value);
        *value.decor_mut() = toml_edit::Decor::new(" ", behind);
    }
}

/// Lists and inline tables, from the inside.
fn inside(value: &mut Value) {
    match value {
        Value::Array(array) => list(array),
        Value::InlineTable(table) => inline(table),
        Value::String(_)
        | Value::Integer(_)
        | Value::Float(_)
        | Value::Boolean(_)
        | Value::Datetime(_) => {}
    }
}

fn inline(table: &mut InlineTable) {
    // Over several lines it is as somebody wants it.
    if table.to_string().trim().contains('\n') {
        return;
    }
    table.iter_mut().for_each(|(_, value)| inside(value));
    table.fmt();
}

/// One line stays one line, and several become one for each element.
fn list(array: &mut Array) {
    let written = array.to_string();
    if has_comment(&written) {
        return;
    }
    array.iter_mut().for_each(inside);
    let opens = written.trim_start().trim_start_matches('[');
    let several = array.iter().any(|it| raw(it.decor().prefix()).contains('\n'))
        || opens.trim_start_matches([' ', '\t']).starts_with('\n');
    if !several || array.is_empty() {
        array.fmt();
        return;
    }
    for value in array.iter_mut() {
        *value.decor_mut() = toml_edit::Decor::new("\n  ", "");
    }
    array.set_trailing_comma(true);
    array.set_trailing("\n");
}

/// Whether a comment may be in it: a `#` outside of strings. Where strings go over several lines
/// nobody looks, which costs nothing but neatness.
fn has_comment(written: &str) -> bool {
    if !written.contains('\n') {
        return false;
    }
    if written.contains("\"\"\"") || written.contains("'''") {
        return true;
    }
    let mut quote = None;
    let mut escaped = false;
    for it in written.chars() {
        match (quote, it) {
            (Some('"'), '\\') if !escaped => {
                escaped = true;
                continue;
            }
            (Some(open), it) if it == open && !escaped => quote = None,
            (None, '"' | '\'') => quote = Some(it),
            (None, '#') => return true,
            _ => {}
        }
        escaped = false;
    }
    false
}

/// Comments above something, with at most one blank line in a row; one more first, if `apart`.
fn lines(above: &str, apart: bool) -> String {
    let mut text = String::new();
    if apart {
        text.push('\n');
    }
    let mut blank = apart;
    // The last piece is the indentation of what follows.
    let all: Vec<&str> = above.split('\n').collect();
    for line in &all[..all.len().saturating_sub(1)] {
        let line = line.trim();
        if line.is_empty() && blank {
            continue;
        }
        blank = line.is_empty();
        text.push_str(line);
        text.push('\n');
    }
    match all.last().map(|it| it.trim()) {
        Some(comment) if comment.starts_with('#') => text + comment,
        _ => text,
    }
}

/// A comment behind something on its line.
fn comment(behind: &str) -> String {
    match behind.trim() {
        "" => String::new(),
        comment => format!(" {comment}"),
    }
}

fn raw(text: Option<&RawString>) -> &str {
    text.and_then(RawString::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_in_order_and_comments_stay() {
        let text = "\n\n# Orders.\n[exchanges.orders]  # the first\nmessages=[{key=\"a\",from=\"b\"}]\n\
            # Everybody gets one.\n\n\n  type   =  'topic' # not fanout\n\n\n\n[queues.q]\n\
            bindings = [\n{ exchange=\"orders\" , key = \"#\" },\n    {exchange = \"x\"} ]\n\
            service='a'\n\n# the end\n\n";
        let expected = "# Orders.\n[exchanges.orders] # the first\n# Everybody gets one.\n\n\
            type = 'topic' # not fanout\nmessages = [{ key = \"a\", from = \"b\" }]\n\n[queues.q]\n\
            service = 'a'\nbindings = [\n  { exchange = \"orders\", key = \"#\" },\n  \
            { exchange = \"x\" },\n]\n\n# the end\n";
        let new = format(text).expect("it is TOML");
        assert_eq!(new, expected);
        assert_eq!(format(&new).expect("it still is"), expected);
    }

    #[test]
    fn what_the_file_says_stays() {
        let text = "vhost='v'\n[[tests]]\npublish={exchange=\"\"}\nname=\"t\"\n\
            [retry]\nslow.first=\"1s\"\nslow.attempts=2\n";
        let new = format(text).expect("it is TOML");
        assert!(new.starts_with("vhost = 'v'\n\n[[tests]]\nname = \"t\"\npublish = "), "{new}");
        assert_eq!(format(&new).expect("it still is"), new);
        assert!(format("a = ").is_err());
        let list = "a = [\n  \"#\", # all\n  'b',\n]\n";
        assert_eq!(format(list).expect("it is TOML"), list, "a comment in a list");
        assert_eq!(format("").expect("it is TOML"), "");
    }
}
