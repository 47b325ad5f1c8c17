//! Reading one TOML table: which keys it may have, and values of the type a key takes.
//!
//! Every function here reports what is wrong and returns `None`, so that reading goes on.

use toml::de::DeTable;
use toml::de::DeValue;

use crate::amqp::limit;
use crate::amqp::time::Millis;
use crate::topology::diagnostic::Diagnostic;
use crate::topology::diagnostic::Report;
use crate::topology::diagnostic::Severity;
use crate::topology::load::mistake;
use crate::topology::load::value;
use crate::topology::load::value::Fault;
use crate::topology::source::Located;
use crate::topology::source::Origin;

/// The keys that a kind of table may have.
#[derive(Debug)]
pub(in crate::topology) struct Shape {
    pub(in crate::topology) keys: &'static [&'static str],
    /// What to do instead of keys that people know from elsewhere.
    pub(in crate::topology) instead: &'static [(&'static str, &'static str)],
}

/// A table whose keys have been checked.
#[derive(Clone, Debug)]
pub(in crate::topology) struct Fields<'d> {
    pub(in crate::topology) table: &'d DeTable<'d>,
    /// Where the name of the object stands, or the whole inline table.
    pub(in crate::topology) origin: Origin,
    /// The object, for people: "queue `orders`".
    pub(in crate::topology) subject: String,
}

/// The value of one key, or one element of a list.
#[derive(Clone, Copy, Debug)]
pub(in crate::topology) struct Item<'a, 'd> {
    pub(in crate::topology) key: &'a str,
    pub(in crate::topology) key_origin: Origin,
    pub(in crate::topology) value: &'d DeValue<'d>,
    pub(in crate::topology) origin: Origin,
    pub(in crate::topology) subject: &'a str,
}

impl<'d> Fields<'d> {
    /// Takes a table and reports the keys it should not have.
    pub(in crate::topology) fn open(
        table: &'d DeTable<'d>,
        origin: Origin,
        subject: String,
        shape: &Shape,
        report: &mut Report,
    ) -> Fields<'d> {
        let fields = Fields { table, origin, subject };
        for (key, _) in table {
            let name = key.get_ref();
            if !shape.keys.contains(&&**name) {
                let at = Origin::new(origin.file, key.span());
                report.add(fields.unknown(name, at, shape));
            }
        }
        fields
    }

    fn unknown(&self, key: &str, at: Origin, shape: &Shape) -> Diagnostic {
        let title = format!("{} has no key `{key}`", self.subject);
        let new = |label: String| {
            Diagnostic::new(mistake::UNKNOWN_KEY, Severity::Error, title, (at, label))
        };
        let instead = shape.instead.iter().find(|(wrong, _)| *wrong == key);
        match (instead, value::nearest(key, shape.keys.iter().copied())) {
            (Some((_, remedy)), _) => new("unknown key".to_owned()).help(*remedy),
            (None, Some(meant)) => new(format!("did you mean `{meant}`?"))
                .help(format!("write `{meant}`, or delete `{key}`")),
            (None, None) => new("unknown key".to_owned())
                .help(format!("the keys here are {}", quoted(shape.keys.iter().copied()))),
        }
    }

    pub(in crate::topology) fn get<'a>(&'a self, key: &str) -> Option<Item<'a, 'd>> {
        let (found, value) = self.table.get_key_value(key)?;
        Some(Item {
            key: found.get_ref(),
            key_origin: Origin::new(self.origin.file, found.span()),
            value: value.get_ref(),
            origin: Origin::new(self.origin.file, value.span()),
            subject: &self.subject,
        })
    }

    /// All keys and values in the order of the file.
    pub(in crate::topology) fn items<'a>(&'a self) -> Vec<Item<'a, 'd>> {
        let mut all: Vec<Item<'a, 'd>> =
            self.table.keys().filter_map(|key| self.get(key.get_ref())).collect();
        all.sort_by_key(|it| (it.key_origin, it.key));
        all
    }

    pub(in crate::topology) fn text(
        &self,
        key: &str,
        report: &mut Report,
    ) -> Option<Located<&'d str>> {
        self.get(key)?.text(report)
    }

    pub(in crate::topology) fn description(&self, report: &mut Report) -> Option<String> {
        self.text("description", report).map(|it| it.value.to_owned())
    }

    pub(in crate::topology) fn flag(
        &self,
        key: &str,
        report: &mut Report,
    ) -> Option<Located<bool>> {
        self.get(key)?.flag(report)
    }

    pub(in crate::topology) fn millis(
        &self,
        key: &str,
        report: &mut Report,
    ) -> Option<Located<Millis>> {
        self.get(key)?.millis(report)
    }

    pub(in crate::topology) fn word<T: Copy>(
        &self,
        key: &str,
        words: &[(&str, T)],
        report: &mut Report,
    ) -> Option<Located<T>> {
        self.get(key)?.word(words, report)
    }

    /// Reports that the object cannot do without `key`.
    pub(in crate::topology) fn missing(&self, key: &str, help: &str, report: &mut Report) {
        let title = format!("{} has no `{key}`", self.subject);
        let label = format!("`{key}` is missing");
        let new =
            Diagnostic::new(mistake::MISSING_KEY, Severity::Error, title, (self.origin, label));
        report.add(new.help(help));
    }
}

impl<'a, 'd> Item<'a, 'd> {
    /// An element of a list that this item is.
    fn element(&self, value: &'d DeValue<'d>, span: std::ops::Range<usize>) -> Item<'a, 'd> {
        Item { value, origin: Origin::new(self.origin.file, span), ..*self }
    }

    /// Opens the table this item is; `subject` names what it describes.
    pub(in crate::topology) fn fields(
        &self,
        subject: String,
        shape: &Shape,
        report: &mut Report,
    ) -> Option<Fields<'d>> {
        let DeValue::Table(table) = self.value else {
            self.wrong_type("a table", "{ … }", report);
            return None;
        };
        Some(Fields::open(table, self.origin, subject, shape, report))
    }

    pub(in crate::topology) fn text(&self, report: &mut Report) -> Option<Located<&'d str>> {
        let DeValue::String(text) = self.value else {
            self.wrong_type("a string", "\"…\"", report);
            return None;
        };
        Some(Located::new(text, self.origin))
    }

    pub(in crate::topology) fn flag(&self, report: &mut Report) -> Option<Located<bool>> {
        let DeValue::Boolean(flag) = self.value else {
            self.wrong_type("`true` or `false`", "true", report);
            return None;
        };
        Some(Located::new(*flag, self.origin))
    }

    /// A whole number from `min` to `max`.
    pub(in crate::topology) fn number(
        &self,
        min: u64,
        max: u64,
        report: &mut Report,
    ) -> Option<Located<u64>> {
        let DeValue::Integer(number) = self.value else {
            self.wrong_type("a whole number", &min.max(10).to_string(), report);
            return None;
        };
        match i128::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) if number < 0 => {
                let title = format!("{} is negative", self.what());
                self.bad(
                    title,
                    format!("{number} is below zero"),
                    "write a positive number",
                    report,
                )
            }
            Ok(number) if number >= i128::from(min) && number <= i128::from(max) => {
                u64::try_from(number).ok().map(|it| Located::new(it, self.origin))
            }
            Ok(_) | Err(_) => {
                let title = format!("{} is out of range", self.what());
                let help = format!("write a number from {min} to {max}");
                self.bad(title, "out of range", help, report)
            }
        }
    }

    /// A number from `min` to `max`, in thousandths.
    pub(in crate::topology) fn milli(
        &self,
        min: f64,
        max: f64,
        report: &mut Report,
    ) -> Option<Located<u32>> {
        let number: Option<f64> = match self.value {
            DeValue::Float(it) => it.as_str().parse().ok(),
            DeValue::Integer(it) => it.to_string().parse().ok(),
            DeValue::String(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_)
            | DeValue::Table(_) => {
                self.wrong_type("a number", "2.0", report);
                return None;
            }
        };
        match number {
            Some(it) if it >= min && it <= max =>
            {
                #[allow(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "no caller's `max` is above a million"
                )]
                Some(Located::new((it * 1000.0).round() as u32, self.origin))
            }
            Some(_) | None => {
                let title = format!("{} is out of range", self.what());
                let help = format!("write a number from {min:?} to {max:?}");
                self.bad(title, "out of range", help, report)
            }
        }
    }

    /// A span of time: `"500ms"`, `"10s"`, `"1h30m"`.
    pub(in crate::topology) fn millis(&self, report: &mut Report) -> Option<Located<Millis>> {
        let DeValue::String(text) = self.value else {
            if let DeValue::Integer(number) = self.value {
                let title = format!("{} has no unit", self.what());
                let label = "seconds? milliseconds?";
                return self.bad(title, label, format!("write \"{number}s\", with a unit"), report);
            }
            self.wrong_type("a span of time", "\"10s\"", report);
            return None;
        };
        match value::millis(text) {
            Ok(span) => Some(Located::new(span, self.origin)),
            Err(fault) => self.bad_span(text, fault, report),
        }
    }

    fn bad_span<T>(&self, text: &str, fault: Fault, report: &mut Report) -> Option<T> {
        let what = self.what();
        let shape = "write a number and a unit, as \"500ms\", \"10s\", \"5m\", \"24h\" or \"3d\"";
        let (title, help) = match fault {
            Fault::Empty => (format!("{what} is empty"), shape.to_owned()),
            Fault::NoUnit => {
                (format!("{what} has no unit"), format!("write \"{}s\", with a unit", text.trim()))
            }
            Fault::UnknownUnit => (
                format!("{what} has a unit that is none"),
                "the units are `ms`, `s`, `m`, `h`, `d` and `w`".to_owned(),
            ),
            Fault::NotNumber => (format!("{what} is no span of time"), shape.to_owned()),
            Fault::Negative => (format!("{what} is negative"), shape.to_owned()),
            Fault::Fraction => (
                format!("{what} has a fraction"),
                "use a smaller unit, as \"1500ms\" for one and a half seconds".to_owned(),
            ),
            Fault::TooLarge => {
                let most = Millis(limit::TTL_MS);
                (format!("{what} is over ten years"), format!("write at most \"{most}\""))
            }
        };
        self.bad(title, "not a span of time", help, report)
    }

    /// A number of bytes: an integer, or `"64MiB"`.
    pub(in crate::topology) fn bytes(&self, report: &mut Report) -> Option<Located<u64>> {
        let text = match self.value {
            DeValue::Integer(_) => return self.number(0, i64::MAX as u64, report),
            DeValue::String(text) => text,
            DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_)
            | DeValue::Table(_) => {
                self.wrong_type("a number of bytes", "\"64MiB\"", report);
                return None;
            }
        };
        match value::bytes(text) {
            Ok(bytes) => Some(Located::new(bytes, self.origin)),
            Err(_) => {
                let title = format!("{} is no number of bytes", self.what());
                let help = "write a number and a unit, as \"64KiB\", \"10MB\" or \"2GiB\"";
                self.bad(title, "not a size", help, report)
            }
        }
    }

    /// One word of a list.
    pub(in crate::topology) fn word<T: Copy>(
        &self,
        words: &[(&str, T)],
        report: &mut Report,
    ) -> Option<Located<T>> {
        let DeValue::String(text) = self.value else {
            self.wrong_type("a string", &format!("\"{}\"", words[0].0), report);
            return None;
        };
        if let Some((_, meaning)) = words.iter().find(|(word, _)| *word == &**text) {
            return Some(Located::new(*meaning, self.origin));
        }
        let known = || words.iter().map(|(word, _)| *word);
        let title = format!("{} cannot be `{text}`", self.what());
        let label = match value::nearest(text, known()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => "unknown word".to_owned(),
        };
        self.bad(title, label, format!("it is one of {}", quoted(known())), report)
    }

    pub(in crate::topology) fn list(&self, report: &mut Report) -> Vec<Item<'a, 'd>> {
        let DeValue::Array(array) = self.value else {
            self.wrong_type("a list", "[ … ]", report);
            return Vec::new();
        };
        array.iter().map(|it| self.element(it.get_ref(), it.span())).collect()
    }

    /// The elements of a list, or the one value that stands without brackets.
    pub(in crate::topology) fn one_or_more(&self) -> Vec<Item<'a, 'd>> {
        match self.value {
            DeValue::Array(array) => {
                array.iter().map(|it| self.element(it.get_ref(), it.span())).collect()
            }
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Table(_) => vec![*self],
        }
    }

    /// "`ttl` of queue `orders`".
    pub(in crate::topology) fn what(&self) -> String {
        format!("`{}` of {}", self.key, self.subject)
    }

    pub(in crate::topology) fn wrong_type(&self, wanted: &str, example: &str, report: &mut Report) {
        let got = match self.value {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a float",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        let title = format!("{} must be {wanted}, not {got}", self.what());
        let at = (self.origin, format!("this is {got}"));
        let new = Diagnostic::new(mistake::WRONG_TYPE, Severity::Error, title, at);
        report.add(new.help(format!("write it as `{} = {example}`", self.key)));
    }

    /// Reports a value that cannot be meant; always `None`, for use in returns.
    pub(in crate::topology) fn bad<T>(
        &self,
        title: String,
        label: impl Into<String>,
        help: impl Into<String>,
        report: &mut Report,
    ) -> Option<T> {
        let at = (self.origin, label);
        report.add(Diagnostic::new(mistake::BAD_VALUE, Severity::Error, title, at).help(help));
        None
    }
}

/// "`a`, `b` and `c`".
pub(in crate::topology) fn quoted<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let all: Vec<String> = names.map(|it| format!("`{it}`")).collect();
    match all.split_last() {
        None => String::new(),
        Some((only, [])) => only.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
    }
}
