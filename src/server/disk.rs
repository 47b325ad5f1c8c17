//! The disk of a data directory: ordinary files, locked, synced and readable by their owner only.

use std::collections::BTreeMap;
use std::fs;
use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::FileExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::fs::FallocateFlags;
use rustix::fs::FlockOperation;
use rustix::fs::OFlags;

use crate::storage::disk::Disk;
use crate::storage::disk::FileName;
use crate::storage::disk::Folder;
use crate::storage::disk::Found;

/// Files kept open at a time.
const OPEN_MAX: usize = 100;
/// What direct reads must be aligned to; no disk here has larger blocks.
const ALIGNMENT: usize = 4096;
/// Bytes written at a time where the file system cannot reserve them.
const ZEROS: usize = 1 << 20;

/// A data directory.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    /// Held open for as long as the directory is ours.
    lock: Mutex<Option<File>>,
    open: Mutex<OpenFiles>,
}

#[derive(Debug, Default)]
struct OpenFiles {
    files: BTreeMap<FileName, Arc<File>>,
    /// The file read last past the page cache; `None` inside when that is not possible.
    direct: Option<(FileName, Option<Arc<File>>)>,
    /// Stays open, so that no error of its writes can be missed by the sync.
    written: Option<FileName>,
}

impl DataFolder {
    /// Makes the directory and those below it where they are missing, for their owner only.
    pub fn new(path: &Path) -> io::Result<DataFolder> {
        for folder in Folder::ALL {
            let below = path.join(folder.path());
            fs::DirBuilder::new().recursive(true).mode(0o700).create(below)?;
        }
        let (lock, open) = (Mutex::default(), Mutex::default());
        Ok(DataFolder { path: path.to_owned(), lock, open })
    }

    fn path(&self, file: FileName) -> PathBuf {
        self.path.join(file.to_string())
    }

    fn file(&self, file: FileName) -> io::Result<Arc<File>> {
        let mut open = self.open.lock();
        if let Some(found) = open.files.get(&file) {
            return Ok(found.clone());
        }
        let found = Arc::new(OpenOptions::new().read(true).write(true).open(self.path(file))?);
        open.keep(file, found.clone());
        Ok(found)
    }

    fn direct(&self, file: FileName) -> Option<Arc<File>> {
        let mut open = self.open.lock();
        if let Some((name, found)) = &open.direct
            && *name == file
        {
            return found.clone();
        }
        let flags = OFlags::DIRECT.bits().cast_signed();
        let found = OpenOptions::new().read(true).custom_flags(flags).open(self.path(file));
        let found = found.ok().map(Arc::new);
        open.direct = Some((file, found.clone()));
        found
    }
}

impl OpenFiles {
    fn keep(&mut self, name: FileName, file: Arc<File>) {
        if self.files.len() >= OPEN_MAX {
            let written = self.written;
            self.files.retain(|name, _| Some(*name) == written);
        }
        self.files.insert(name, file);
    }

    fn forget(&mut self, name: FileName) -> Option<Arc<File>> {
        self.direct = None;
        self.files.remove(&name)
    }
}

impl Disk for DataFolder {
    fn lock(&self) -> io::Result<()> {
        let mut lock = self.lock.lock();
        if lock.is_none() {
            let folder = File::open(&self.path)?;
            rustix::fs::flock(&folder, FlockOperation::NonBlockingLockExclusive)?;
            *lock = Some(folder);
        }
        Ok(())
    }

    fn list(&self) -> io::Result<Vec<Found>> {
        let mut found = Vec::new();
        for folder in Folder::ALL {
            for entry in fs::read_dir(self.path.join(folder.path()))? {
                let entry = entry?;
                let name = entry.file_name();
                let Some(name) = name.to_str() else { continue };
                let path = match folder {
                    Folder::Root => name.to_owned(),
                    Folder::Log | Folder::Index | Folder::Damaged => {
                        format!("{}/{name}", folder.path())
                    }
                };
                if let Some(file) = FileName::parse(&path) {
                    found.push(Found { file, bytes: entry.metadata()?.len() });
                }
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    fn create(&self, file: FileName, bytes: u64) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true).mode(0o600);
        let created = options.open(self.path(file))?;
        if bytes > 0 {
            reserve(&created, bytes)?;
            created.sync_all()?;
        }
        let mut open = self.open.lock();
        open.forget(file);
        open.keep(file, Arc::new(created));
        Ok(())
    }

    fn write_at(&self, file: FileName, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let found = self.file(file)?;
        self.open.lock().written = Some(file);
        found.write_all_at(bytes, offset)
    }

    fn sync(&self, file: FileName) -> io::Result<()> {
        self.file(file)?.sync_data()
    }

    fn read_at(&self, file: FileName, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        read_full(&*self.file(file)?, offset, buffer)
    }

    fn read_durable(&self, file: FileName, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(direct) = self.direct(file) {
            match read_direct(&direct, offset, buffer) {
                // Some file systems take the flag and refuse the read.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {}
                result => return result,
            }
        }
        self.read_at(file, offset, buffer)
    }

    fn rename(&self, from: FileName, to: FileName) -> io::Result<()> {
        let mut open = self.open.lock();
        fs::rename(self.path(from), self.path(to))?;
        open.forget(to);
        if let Some(file) = open.forget(from) {
            open.keep(to, file);
        }
        Ok(())
    }

    fn remove(&self, file: FileName) -> io::Result<()> {
        let mut open = self.open.lock();
        open.forget(file);
        fs::remove_file(self.path(file))
    }

    fn sync_folder(&self, folder: Folder) -> io::Result<()> {
        File::open(self.path.join(folder.path()))?.sync_all()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let found = rustix::fs::statvfs(&self.path)?;
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }
}

/// Makes sure that a later write to these bytes cannot find the disk full.
fn reserve(file: &File, bytes: u64) -> io::Result<()> {
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, bytes) {
        Err(error) if error == rustix::io::Errno::OPNOTSUPP => {
            let zeros = vec![0; ZEROS];
            for at in (0..bytes).step_by(ZEROS) {
                let n = usize::try_from(bytes - at).map_or(ZEROS, |left| left.min(ZEROS));
                file.write_all_at(&zeros[..n], at)?;
            }
            Ok(())
        }
        result => Ok(result?),
    }
}

/// Reads until the buffer is full or the file ends.
fn read_full(file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let mut n_read = 0;
    while n_read < buffer.len() {
        match file.read_at(&mut buffer[n_read..], offset + n_read as u64) {
            Ok(0) => break,
            Ok(n) => n_read += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(n_read)
}

/// As [`read_full`], for a file opened for direct reads: by way of an aligned buffer.
fn read_direct(file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let before = usize::try_from(offset % ALIGNMENT as u64).expect("below the alignment");
    let n_bytes = (before + buffer.len()).next_multiple_of(ALIGNMENT);
    let mut space = vec![0; n_bytes + ALIGNMENT];
    let start = space.as_ptr().align_offset(ALIGNMENT);
    let aligned = &mut space[start..start + n_bytes];
    let n_read = read_full(file, offset - before as u64, aligned)?;
    let found = aligned[..n_read].get(before..).unwrap_or(&[]);
    let n = found.len().min(buffer.len());
    buffer[..n].copy_from_slice(&found[..n]);
    Ok(n)
}

#[cfg(test)]
mod tests;
