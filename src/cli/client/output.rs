//! Tables, numbers and times for people, and asking them.

use std::io;
use std::io::BufRead as _;
use std::io::IsTerminal as _;
use std::io::Read as _;
use std::io::Write as _;

use serde_json::Value;
use serde_json::json;

use crate::cli::client::args::ConsentArgs;
use crate::cli::client::failure::Failure;

/// Prints a result. Who stops reading has read enough.
pub(super) fn say(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Prints one document whose shape is `railpost.NAME/1`.
pub(super) fn say_json(name: &str, key: &str, value: Value) {
    let mut document = json!({ "schema": format!("railpost.{name}/1") });
    document[key] = value;
    say(&format!("{document:#}\n"));
}

/// Lines with columns: numbers stand on the right.
pub(super) fn table(headings: &[&str], rows: &[Vec<String>], with_headings: bool) -> String {
    let width = |at: usize| {
        let cells = rows.iter().filter_map(|it| it.get(at)).map(|it| it.chars().count());
        let heading = if with_headings { headings[at].chars().count() } else { 0 };
        cells.max().unwrap_or_default().max(heading)
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let is_number = |it: &str| it.starts_with(|it: char| it.is_ascii_digit() || it == '-');
    let right: Vec<bool> = (0..headings.len())
        .map(|at| !rows.is_empty() && rows.iter().all(|it| is_number(&it[at]) || it[at].is_empty()))
        .collect();
    let mut text = String::new();
    let mut line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut line = String::new();
        for (at, cell) in cells.enumerate() {
            let width = widths[at];
            line.push_str(&match right[at] {
                true => format!("{cell:>width$}  "),
                false => format!("{cell:<width$}  "),
            });
        }
        text.push_str(line.trim_end());
        text.push('\n');
    };
    if with_headings {
        let headings: Vec<String> = headings.iter().map(|it| it.to_uppercase()).collect();
        line(&mut headings.iter().map(String::as_str));
    }
    for row in rows {
        line(&mut row.iter().map(String::as_str));
    }
    text
}

/// A value as a cell.
pub(super) fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.iter().all(|it| it.is_string() || it.is_number()) => {
            items.iter().map(cell).collect::<Vec<_>>().join(",")
        }
        Value::Object(fields) if fields.is_empty() => String::new(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

/// Milliseconds as people say them: `950ms`, `12s`, `5m 3s`, `2h 1m`.
pub(super) fn span(ms: u64) -> String {
    let secs = ms / 1000;
    match secs {
        0 => format!("{ms}ms"),
        1..60 => format!("{secs}s"),
        60..3600 => format!("{}m {}s", secs / 60, secs % 60),
        3600..86_400 => format!("{}h {}m", secs / 3600, secs / 60 % 60),
        _ => format!("{}d {}h", secs / 86_400, secs / 3600 % 24),
    }
}

/// Bytes as people say them.
pub(super) fn size(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    let mut tenths = bytes.saturating_mul(10);
    while tenths >= 10_240 && unit + 1 < units.len() {
        tenths /= 1024;
        unit += 1;
    }
    match unit {
        0 => format!("{bytes} B"),
        unit => format!("{}.{} {}", tenths / 10, tenths % 10, units[unit]),
    }
}

/// Milliseconds since 1970 as RFC 3339.
pub(super) fn moment(ms: u64) -> String {
    let at = std::time::UNIX_EPOCH.checked_add(std::time::Duration::from_millis(ms));
    at.map_or_else(String::new, |it| humantime::format_rfc3339_millis(it).to_string())
}

pub(super) fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}

/// Whether to go on with something that cannot be undone.
///
/// # Errors
/// When nobody agrees, or there is nobody to ask.
pub(super) fn consent(args: ConsentArgs, what: &str) -> Result<bool, Failure> {
    if args.dry_run {
        say(&format!("would: {what}\n"));
        return Ok(false);
    }
    if args.yes {
        return Ok(true);
    }
    if !io::stdin().is_terminal() {
        return Err(Failure::Unconfirmed(format!("not done without --yes: {what}")));
    }
    eprint!("{what}. Go on? [y/N] ");
    let mut line = String::new();
    let _ = io::stdin().lock().read_line(&mut line);
    if matches!(line.trim(), "y" | "Y" | "yes") {
        return Ok(true);
    }
    Err(Failure::Unconfirmed(format!("not done: {what}")))
}

/// The password on standard input: its first line.
pub(super) fn read_password() -> Result<String, Failure> {
    let mut stdin = io::stdin().lock();
    if stdin.is_terminal() {
        eprint!("password: ");
    }
    let mut line = String::new();
    let read = stdin.by_ref().take(4096).read_line(&mut line);
    read.map_err(|it| Failure::usage(format!("cannot read the password: {it}")))?;
    let password = line.trim_end_matches(['\r', '\n']).to_owned();
    if password.is_empty() {
        return Err(Failure::usage("the password on standard input is empty"));
    }
    Ok(password)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_line_up() {
        let rows = [vec!["billing".to_owned(), "7".to_owned()], vec!["é".into(), "1234".into()]];
        let expected = "NAME     READY\nbilling      7\né         1234\n";
        assert_eq!(table(&["name", "ready"], &rows, true), expected);
        assert_eq!(table(&["name", "ready"], &[], true), "NAME  READY\n");
    }

    #[test]
    fn numbers_for_people() {
        let spans = [0, 1500, 61_000, 7_260_000, 90_000_000].map(span);
        assert_eq!(spans, ["0ms", "1s", "1m 1s", "2h 1m", "1d 1h"]);
        assert_eq!([0, 1023, 1536, 5 << 30].map(size), ["0 B", "1023 B", "1.5 KiB", "5.0 GiB"]);
        assert_eq!(moment(1_700_000_000_123), "2023-11-14T22:13:20.123Z");
    }
}
