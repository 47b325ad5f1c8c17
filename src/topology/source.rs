//! The texts a topology is read from, and where in them a value stands.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use serde::Deserialize;
use serde::Serialize;

/// One file: the path shown to people, and what it says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Source {
    pub path: String,
    pub text: String,
}

/// A range of bytes in one file. Cheap to copy; [`Sources::place`] makes line and column of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Origin {
    /// The file's place among the [`Sources`].
    pub file: u32,
    pub start: u32,
    /// Exclusive.
    pub end: u32,
}

/// A value and where it was written. The default of a key stands where its table does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Located<T> {
    pub value: T,
    pub origin: Origin,
}

/// A position for people: lines and columns from 1, columns in characters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place<'s> {
    pub path: &'s str,
    pub line: usize,
    pub column: usize,
    /// Where the range ends, exclusive; on the same line for most values.
    pub end_line: usize,
    pub end_column: usize,
}

/// All files of a topology, in the order of their paths.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    files: Vec<File>,
    /// How many of them, the last ones, are no topology files.
    n_appended: usize,
}

#[derive(Clone, Debug)]
struct File {
    path: Arc<str>,
    text: Arc<str>,
    /// What people are shown of it, where that is not all.
    shown: Option<Arc<str>>,
    /// Where each line begins, in bytes.
    lines: Vec<usize>,
}

impl Origin {
    /// Of what stands in no file, because a client made it.
    pub const BROKER: Origin = Origin { file: u32::MAX, start: 0, end: 0 };

    pub(in crate::topology) fn new(file: u32, span: std::ops::Range<usize>) -> Origin {
        let byte = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Origin { file, start: byte(span.start), end: byte(span.end) }
    }

    /// The bytes of its file that it covers.
    pub fn bytes(self) -> std::ops::Range<usize> {
        self.start as usize..self.end as usize
    }
}

impl<T> Located<T> {
    pub fn new(value: T, origin: Origin) -> Located<T> {
        Located { value, origin }
    }

    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Located<U> {
        Located { value: change(self.value), origin: self.origin }
    }
}

impl<T> Deref for Located<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl File {
    fn new(source: &Source) -> File {
        File {
            path: source.path.as_str().into(),
            text: source.text.as_str().into(),
            shown: None,
            lines: line_starts(&source.text),
        }
    }
}

impl Sources {
    pub fn new(sources: &[Source]) -> Sources {
        let mut files: Vec<File> = sources.iter().map(File::new).collect();
        files.sort_by(|a, b| (&a.path, &a.text).cmp(&(&b.path, &b.text)));
        Sources { files, n_appended: 0 }
    }

    /// Adds a file that is no topology file; what it is called does not change its place.
    pub(in crate::topology) fn append(&mut self, source: &Source) -> u32 {
        self.files.push(File::new(source));
        self.n_appended += 1;
        u32::try_from(self.files.len() - 1).unwrap_or(u32::MAX)
    }

    pub(in crate::topology) fn is_appended(&self, file: u32) -> bool {
        file as usize >= self.files.len() - self.n_appended
    }

    /// Shows stars instead of these bytes from now on; the file stays as it is.
    pub(in crate::topology) fn hide(&mut self, origin: Origin) {
        let Some(file) = self.files.get_mut(origin.file as usize) else { return };
        let shown = file.shown.as_ref().unwrap_or(&file.text);
        let Some(secret) = shown.get(origin.bytes()) else { return };
        let stars: String = secret.bytes().map(|it| if it == b'\n' { '\n' } else { '*' }).collect();
        let mut text = shown.to_string();
        text.replace_range(origin.bytes(), &stars);
        file.shown = Some(text.into());
    }

    /// The files as they were read.
    pub fn texts(&self) -> Vec<Source> {
        let text = |it: &File| Source { path: it.path.to_string(), text: it.text.to_string() };
        self.files.iter().map(text).collect()
    }

    pub fn n_files(&self) -> usize {
        self.files.len()
    }

    pub fn path(&self, file: u32) -> &str {
        self.files.get(file as usize).map_or("", |it| &it.path)
    }

    pub fn text(&self, file: u32) -> &str {
        self.files.get(file as usize).map_or("", |it| &it.text)
    }

    pub fn place(&self, origin: Origin) -> Place<'_> {
        let (line, column) = self.position(origin.file, origin.start as usize);
        let (end_line, end_column) = self.position(origin.file, origin.end as usize);
        Place { path: self.path(origin.file), line, column, end_line, end_column }
    }

    /// `path:line`, as refusals, plans and routes cite a declaration.
    pub fn cite(&self, origin: Origin) -> Arc<str> {
        if origin == Origin::BROKER {
            return "no file".into();
        }
        let (line, _) = self.position(origin.file, origin.start as usize);
        format!("{}:{line}", self.path(origin.file)).into()
    }

    /// The whole lines around `bytes`, as they are shown, where they begin, and the number of the first.
    pub(in crate::topology) fn lines_around(
        &self,
        file: u32,
        bytes: std::ops::Range<usize>,
    ) -> (&str, usize, usize) {
        let Some(it) = self.files.get(file as usize) else { return ("", 0, 1) };
        let first = it.lines.partition_point(|start| *start <= bytes.start).max(1) - 1;
        let after = it.lines.partition_point(|start| *start < bytes.end);
        let start = it.lines[first];
        let end = it.lines.get(after.max(first + 1)).copied().unwrap_or(it.text.len());
        let text = it.shown.as_ref().unwrap_or(&it.text);
        (text.get(start..end).unwrap_or_default(), start, first + 1)
    }

    fn position(&self, file: u32, byte: usize) -> (usize, usize) {
        let Some(it) = self.files.get(file as usize) else { return (1, 1) };
        let line = it.lines.partition_point(|start| *start <= byte).max(1);
        let start = it.lines[line - 1];
        let before = it.text.get(start..byte.min(it.text.len())).unwrap_or_default();
        (line, before.chars().count() + 1)
    }
}

fn line_starts(text: &str) -> Vec<usize> {
    let after = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
    std::iter::once(0).chain(after).collect()
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.path, self.line, self.column)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(text: &str) -> Sources {
        Sources::new(&[Source { path: "t.toml".into(), text: text.into() }])
    }

    #[test]
    fn lines_and_columns_count_characters_from_one() {
        let text = "a = 1\nü = \"é\"\n";
        let sources = sources(text);
        let cases = [(0, "t.toml:1:1"), (4, "t.toml:1:5"), (6, "t.toml:2:1"), (11, "t.toml:2:5")];
        for (start, expected) in cases {
            let origin = Origin::new(0, start..start + 1);
            assert_eq!(sources.place(origin).to_string(), expected, "byte {start}");
        }
        let end = sources.place(Origin::new(0, text.len()..text.len()));
        assert_eq!(end.to_string(), "t.toml:3:1");
    }

    #[test]
    fn whole_lines_are_cut_out() {
        let sources = sources("one\ntwo\nthree\nfour");
        assert_eq!(sources.lines_around(0, 5..6), ("two\n", 4, 2));
        assert_eq!(sources.lines_around(0, 5..10), ("two\nthree\n", 4, 2));
        assert_eq!(sources.lines_around(0, 14..18), ("four", 14, 4));
        assert_eq!(sources.lines_around(0, 0..0), ("one\n", 0, 1));
        assert_eq!(sources.lines_around(0, 18..18), ("four", 14, 4));
    }
}
