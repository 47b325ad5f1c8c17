//! A disk in memory that never fails, for unit tests.

use std::collections::BTreeMap;
use std::io;

use parking_lot::Mutex;

use crate::storage::disk::Disk;
use crate::storage::disk::FileName;
use crate::storage::disk::Folder;
use crate::storage::disk::Found;

/// Files as byte vectors; everything is durable at once.
#[derive(Debug, Default)]
pub(crate) struct MemoryDisk {
    files: Mutex<BTreeMap<FileName, Vec<u8>>>,
}

impl MemoryDisk {
    /// Changes the bytes of a file in place.
    pub(crate) fn edit(&self, file: FileName, change: impl FnOnce(&mut Vec<u8>)) {
        change(self.files.lock().get_mut(&file).expect("the file exists"));
    }

    pub(crate) fn bytes(&self, file: FileName) -> Vec<u8> {
        self.files.lock()[&file].clone()
    }

    pub(crate) fn everything(&self) -> BTreeMap<FileName, Vec<u8>> {
        self.files.lock().clone()
    }

    fn with<T>(&self, file: FileName, then: impl FnOnce(&mut Vec<u8>) -> T) -> io::Result<T> {
        match self.files.lock().get_mut(&file) {
            Some(bytes) => Ok(then(bytes)),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

impl Disk for MemoryDisk {
    fn lock(&self) -> io::Result<()> {
        Ok(())
    }

    fn list(&self) -> io::Result<Vec<Found>> {
        let files = self.files.lock();
        let found =
            files.iter().map(|(file, bytes)| Found { file: *file, bytes: bytes.len() as u64 });
        Ok(found.collect())
    }

    fn create(&self, file: FileName, bytes: u64) -> io::Result<()> {
        self.files.lock().insert(file, vec![0; bytes as usize]);
        Ok(())
    }

    fn write_at(&self, file: FileName, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.with(file, |content| {
            let (start, end) = (offset as usize, offset as usize + bytes.len());
            if content.len() < end {
                content.resize(end, 0);
            }
            content[start..end].copy_from_slice(bytes);
        })
    }

    fn sync(&self, file: FileName) -> io::Result<()> {
        self.with(file, |_| ())
    }

    fn read_at(&self, file: FileName, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.with(file, |content| {
            let start = (offset as usize).min(content.len());
            let n = buffer.len().min(content.len() - start);
            buffer[..n].copy_from_slice(&content[start..start + n]);
            n
        })
    }

    fn rename(&self, from: FileName, to: FileName) -> io::Result<()> {
        let bytes = self.files.lock().remove(&from);
        let bytes = bytes.ok_or(io::ErrorKind::NotFound)?;
        self.files.lock().insert(to, bytes);
        Ok(())
    }

    fn remove(&self, file: FileName) -> io::Result<()> {
        match self.files.lock().remove(&file) {
            Some(_) => Ok(()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn sync_folder(&self, _: Folder) -> io::Result<()> {
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        Ok(1 << 40)
    }
}
