//! The disk as the store sees it: a few named files, written, synced and read by offset.

use std::fmt;
use std::io;

/// A file of a data directory. Its [`Display`](fmt::Display) form is its path below the directory.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum FileName {
    /// Whose directory this is, and in which format.
    Store,
    /// A piece of the log. The number is never given to another use of the same bytes.
    Segment(u32),
    /// One of the [`CHECKPOINT_SLOTS`] places a checkpoint is written to in turn.
    Checkpoint(u8),
    /// Sealed index chunks that one checkpoint wrote.
    Index(u32),
    /// The raw bytes of a record that failed its checksum.
    Damaged(u32),
}

/// Checkpoints kept: the newest, the one to fall back on, and the one being written.
pub const CHECKPOINT_SLOTS: u8 = 3;

/// A directory of a data directory; file names in it are durable once it is synced.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Folder {
    Root,
    Log,
    Index,
    Damaged,
}

/// A file found on the disk.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Found {
    pub file: FileName,
    pub bytes: u64,
}

/// What the store needs of a disk.
///
/// Methods take `&self`, so that the log's owner and its readers share one disk. What was written
/// but not synced may be kept, lost or torn by a power loss, in any order; a name given by
/// [`create`](Disk::create), [`rename`](Disk::rename) or [`remove`](Disk::remove) is durable after
/// [`sync_folder`](Disk::sync_folder) only.
pub trait Disk {
    /// Takes the directory for this process until the disk is dropped; again does no harm.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when another process has it.
    fn lock(&self) -> io::Result<()>;

    /// All files whose names belong to a store, in order of name.
    fn list(&self) -> io::Result<Vec<Found>>;

    /// Makes `file` a new file of `bytes` zeros whose space is reserved, replacing an older one.
    /// Its length is durable from the start; its name is not.
    fn create(&self, file: FileName, bytes: u64) -> io::Result<()>;

    fn write_at(&self, file: FileName, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes everything written to `file` so far durable.
    fn sync(&self, file: FileName) -> io::Result<()>;

    /// Reads up to `buffer.len()` bytes; fewer only at the end of the file.
    fn read_at(&self, file: FileName, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// As [`read_at`](Disk::read_at), past the page cache where that is possible.
    ///
    /// After a failed write the cache may show what the disk does not have, so recovery asks
    /// the disk itself.
    fn read_durable(&self, file: FileName, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_at(file, offset, buffer)
    }

    fn rename(&self, from: FileName, to: FileName) -> io::Result<()>;

    fn remove(&self, file: FileName) -> io::Result<()>;

    fn sync_folder(&self, folder: Folder) -> io::Result<()>;

    /// Bytes that this and other programs may still write to the file system.
    fn free_bytes(&self) -> io::Result<u64>;
}

impl<D: Disk + ?Sized> Disk for std::sync::Arc<D> {
    fn lock(&self) -> io::Result<()> {
        (**self).lock()
    }

    fn list(&self) -> io::Result<Vec<Found>> {
        (**self).list()
    }

    fn create(&self, file: FileName, bytes: u64) -> io::Result<()> {
        (**self).create(file, bytes)
    }

    fn write_at(&self, file: FileName, offset: u64, bytes: &[u8]) -> io::Result<()> {
        (**self).write_at(file, offset, bytes)
    }

    fn sync(&self, file: FileName) -> io::Result<()> {
        (**self).sync(file)
    }

    fn read_at(&self, file: FileName, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        (**self).read_at(file, offset, buffer)
    }

    fn read_durable(&self, file: FileName, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        (**self).read_durable(file, offset, buffer)
    }

    fn rename(&self, from: FileName, to: FileName) -> io::Result<()> {
        (**self).rename(from, to)
    }

    fn remove(&self, file: FileName) -> io::Result<()> {
        (**self).remove(file)
    }

    fn sync_folder(&self, folder: Folder) -> io::Result<()> {
        (**self).sync_folder(folder)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        (**self).free_bytes()
    }
}

impl FileName {
    pub fn folder(self) -> Folder {
        match self {
            FileName::Store | FileName::Checkpoint(_) => Folder::Root,
            FileName::Segment(_) => Folder::Log,
            FileName::Index(_) => Folder::Index,
            FileName::Damaged(_) => Folder::Damaged,
        }
    }

    /// The file of a path as [`Display`](fmt::Display) writes it; `None` for any other path.
    pub fn parse(path: &str) -> Option<FileName> {
        let file = match path.split_once('/') {
            None if path == "STORE" => FileName::Store,
            None => {
                let slot = path.strip_prefix("ckpt-")?.bytes().next()?;
                FileName::Checkpoint(slot.checked_sub(b'a')?)
            }
            Some(("log", name)) => FileName::Segment(number(name, ".log")?),
            Some(("idx", name)) => FileName::Index(number(name, ".idx")?),
            Some(("damaged", name)) => FileName::Damaged(number(name, ".bin")?),
            Some(_) => return None,
        };
        // Only what `Display` writes: `log/1.log` and `log/00000001.log` are not both segment 1.
        (file.to_string() == path).then_some(file)
    }
}

fn number(name: &str, suffix: &str) -> Option<u32> {
    name.strip_suffix(suffix)?.parse().ok()
}

impl Folder {
    pub const ALL: [Folder; 4] = [Folder::Root, Folder::Log, Folder::Index, Folder::Damaged];

    /// The path below the data directory; empty for the directory itself.
    pub fn path(self) -> &'static str {
        match self {
            Folder::Root => "",
            Folder::Log => "log",
            Folder::Index => "idx",
            Folder::Damaged => "damaged",
        }
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FileName::Store => f.write_str("STORE"),
            FileName::Segment(n) => write!(f, "log/{n:08}.log"),
            FileName::Checkpoint(slot) => {
                write!(f, "ckpt-{}", char::from(b'a'.saturating_add(*slot)))
            }
            FileName::Index(n) => write!(f, "idx/{n:08}.idx"),
            FileName::Damaged(n) => write!(f, "damaged/{n:08}.bin"),
        }
    }
}

#[cfg(test)]
pub(crate) mod memory;
#[cfg(test)]
mod tests;
