//! Reads the drawings of `docs/format.md`, and bytes as they say.

use std::collections::BTreeMap;

/// All drawings by name.
pub(crate) struct Drawings(BTreeMap<String, Vec<Line>>);

/// One field of a drawing.
struct Line {
    offset: Option<usize>,
    name: String,
    /// The field that says how many there are.
    count: Option<String>,
    kind: String,
    condition: Option<Condition>,
}

struct Condition {
    field: String,
    operator: String,
    value: u64,
}

/// What a field was read as.
#[derive(Debug)]
enum Value {
    Number(u64),
    Signed(i64),
    Bytes(Vec<u8>),
    Words(Vec<u64>),
    Fields(Fields),
    List(Vec<Fields>),
}

/// What a drawing was read as, by field.
#[derive(Default, Debug)]
pub(crate) struct Fields(BTreeMap<String, Value>);

/// Bytes being read, from the front.
pub(crate) struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
    known: BTreeMap<String, u64>,
}

impl Drawings {
    pub(crate) fn read() -> Drawings {
        let text = include_str!("../../docs/format.md");
        let mut drawings: BTreeMap<String, Vec<Line>> = BTreeMap::new();
        let mut current = None;
        for line in text.lines() {
            if let Some(name) = line.strip_prefix("```drawing ") {
                current = Some(drawings.entry(name.to_owned()).or_default());
            } else if line.starts_with("```") {
                current = None;
            } else if let Some(lines) = &mut current {
                lines.push(Line::parse(line));
            }
        }
        Drawings(drawings)
    }

    /// Reads what `drawing` shows; panics where it does not fit.
    pub(crate) fn decode(&self, drawing: &str, input: &mut Input<'_>) -> Fields {
        let start = input.at;
        let mut fields = Fields::default();
        let lines = self.0.get(drawing).unwrap_or_else(|| panic!("no drawing of {drawing}"));
        for line in lines {
            let place = format!("{drawing}.{}", line.name);
            if let Some(offset) = line.offset {
                assert_eq!(input.at - start, offset, "offset of {place}");
            }
            let known = |name: &String| {
                let here = fields.optional(name).or_else(|| input.known.get(name).copied());
                here.unwrap_or_else(|| panic!("{place} needs {name}"))
            };
            let holds = line.condition.as_ref().is_none_or(|it| it.holds(known(&it.field)));
            if !holds {
                continue;
            }
            let value = match line.count.as_ref().map(known) {
                None => self.value(&line.kind, &place, input),
                Some(n) if line.kind == "u64" => {
                    Value::Words((0..n).map(|_| number(input.take(8))).collect())
                }
                Some(n) => Value::List((0..n).map(|_| self.decode(&line.kind, input)).collect()),
            };
            fields.0.insert(line.name.clone(), value);
        }
        fields
    }

    fn value(&self, kind: &str, place: &str, input: &mut Input<'_>) -> Value {
        if let Some(bits) = kind.strip_prefix('u').and_then(|bits| bits.parse::<usize>().ok()) {
            return Value::Number(number(input.take(bits / 8)));
        }
        if let Some(text) = kind.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
            let found = input.take(text.len()).to_vec();
            assert_eq!(found, text.as_bytes(), "{place}");
            return Value::Bytes(found);
        }
        if let Some(n) = kind.strip_suffix(" bytes") {
            return Value::Bytes(input.take(n.parse().expect("a number of bytes")).to_vec());
        }
        match kind {
            "varint" => Value::Number(input.varint()),
            "signed" => {
                let n = input.varint();
                Value::Signed((n >> 1).cast_signed() ^ -(n & 1).cast_signed())
            }
            "sized" => {
                let n = usize::try_from(input.varint()).expect("it is in memory");
                Value::Bytes(input.take(n).to_vec())
            }
            "rest" => Value::Bytes(input.take(input.bytes.len() - input.at).to_vec()),
            other => Value::Fields(self.decode(other, input)),
        }
    }
}

impl Line {
    /// Columns are two spaces or more apart: offset, name, type, comment.
    fn parse(line: &str) -> Line {
        let mut columns = line.split("  ").map(str::trim).filter(|it| !it.is_empty()).peekable();
        let offset = columns.next_if(|it| it.bytes().all(|byte| byte.is_ascii_digit()));
        let name = columns.next().unwrap_or_else(|| panic!("no name in `{line}`"));
        let kind = columns.next().unwrap_or_else(|| panic!("no type in `{line}`"));
        let (kind, condition) = match kind.split_once(" if ") {
            Some((kind, condition)) => (kind, Some(Condition::parse(condition))),
            None => (kind, None),
        };
        let (count, kind) = match kind.split_once(" × ") {
            Some((count, kind)) => (Some(count.to_owned()), kind),
            None => (None, kind),
        };
        let offset = offset.map(|it| it.parse().expect("it is digits"));
        Line { offset, name: name.to_owned(), count, kind: kind.to_owned(), condition }
    }
}

impl Condition {
    fn parse(text: &str) -> Condition {
        let [field, operator, value] = text.split(' ').collect::<Vec<_>>()[..] else {
            panic!("no condition: {text}")
        };
        let value = value.parse().expect("a number");
        Condition { field: field.to_owned(), operator: operator.to_owned(), value }
    }

    fn holds(&self, found: u64) -> bool {
        match &self.operator[..] {
            "&" => found & self.value != 0,
            "=" => found == self.value,
            other => panic!("no operator {other}"),
        }
    }
}

impl<'a> Input<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Input<'a> {
        Input { bytes, at: 0, known: BTreeMap::new() }
    }

    /// A field of another drawing that conditions of this one speak of.
    pub(crate) fn know(&mut self, name: &str, value: u64) {
        self.known.insert(name.to_owned(), value);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }

    fn take(&mut self, n: usize) -> &'a [u8] {
        let taken = &self.bytes[self.at..self.at + n];
        self.at += n;
        taken
    }

    fn varint(&mut self) -> u64 {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return value;
            }
        }
        panic!("a varint of more than ten bytes")
    }
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

impl Fields {
    fn get(&self, name: &str) -> &Value {
        self.0.get(name).unwrap_or_else(|| panic!("no field {name} in {self:?}"))
    }

    pub(crate) fn optional(&self, name: &str) -> Option<u64> {
        let Value::Number(number) = self.0.get(name)? else {
            panic!("{name} is no number: {self:?}")
        };
        Some(*number)
    }

    pub(crate) fn number(&self, name: &str) -> u64 {
        self.optional(name).unwrap_or_else(|| panic!("no field {name}"))
    }

    pub(crate) fn size(&self, name: &str) -> usize {
        usize::try_from(self.number(name)).expect("it is in memory")
    }

    pub(crate) fn signed(&self, name: &str) -> Option<i64> {
        let Value::Signed(number) = self.0.get(name)? else {
            panic!("{name} is no signed number: {self:?}")
        };
        Some(*number)
    }

    pub(crate) fn bytes(&self, name: &str) -> &[u8] {
        let Value::Bytes(bytes) = self.get(name) else { panic!("{name} is not bytes: {self:?}") };
        bytes
    }

    pub(crate) fn words(&self, name: &str) -> &[u64] {
        let Value::Words(words) = self.get(name) else { panic!("{name} is not words: {self:?}") };
        words
    }

    pub(crate) fn fields(&self, name: &str) -> &Fields {
        let Value::Fields(fields) = self.get(name) else {
            panic!("{name} is no drawing: {self:?}")
        };
        fields
    }

    pub(crate) fn list(&self, name: &str) -> &[Fields] {
        let Value::List(list) = self.get(name) else { panic!("{name} is no list: {self:?}") };
        list
    }
}
