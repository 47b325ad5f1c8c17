//! The file that says whose data directory this is, and in which format.

use crate::storage::disk::Disk;
use crate::storage::disk::FileName;
use crate::storage::disk::Folder;
use crate::storage::error::StorageError;

/// A store of a higher number cannot be read by this version.
pub(crate) const MAJOR: u16 = 1;
/// What a higher number adds can be passed over.
pub(crate) const MINOR: u16 = 0;

const MAGIC: [u8; 4] = *b"RPST";
/// The second copy lies in a block of its own.
const COPIES: [u64; 2] = [0, 4096];
const BYTES: usize = 32;

/// The content of the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct StoreFile {
    pub(crate) identity: [u8; 16],
    pub(crate) major: u16,
    pub(crate) minor: u16,
}

impl StoreFile {
    pub(crate) fn new(identity: [u8; 16]) -> StoreFile {
        StoreFile { identity, major: MAJOR, minor: MINOR }
    }

    /// What the checksums of batch headers start from.
    pub(crate) fn salt(&self) -> u32 {
        crc32c::crc32c(&self.identity)
    }

    pub(crate) fn encode(&self) -> [u8; BYTES] {
        let mut out = [0; BYTES];
        out[..4].copy_from_slice(&MAGIC);
        out[8..10].copy_from_slice(&self.major.to_le_bytes());
        out[10..12].copy_from_slice(&self.minor.to_le_bytes());
        out[12..28].copy_from_slice(&self.identity);
        let crc = crc32c::crc32c(&out[8..]);
        out[4..8].copy_from_slice(&crc.to_le_bytes());
        out
    }

    fn decode(bytes: &[u8; BYTES]) -> Option<StoreFile> {
        let crc = crc32c::crc32c(&bytes[8..]).to_le_bytes();
        if bytes[..4] != MAGIC || bytes[4..8] != crc {
            return None;
        }
        Some(StoreFile {
            major: u16::from_le_bytes([bytes[8], bytes[9]]),
            minor: u16::from_le_bytes([bytes[10], bytes[11]]),
            identity: *bytes[12..].first_chunk()?,
        })
    }

    pub(crate) fn write(&self, disk: &dyn Disk) -> Result<(), StorageError> {
        let file = FileName::Store;
        disk.create(file, 0).map_err(StorageError::at("create", file))?;
        let mut content = vec![0; 2 * 4096];
        for at in COPIES {
            let at = usize::try_from(at).expect("small");
            content[at..at + BYTES].copy_from_slice(&self.encode());
        }
        disk.write_at(file, 0, &content).map_err(StorageError::at("write", file))?;
        disk.sync(file).map_err(StorageError::at("sync", file))?;
        disk.sync_folder(Folder::Root).map_err(StorageError::at("sync the folder of", file))
    }

    /// As [`read`](StoreFile::read), of a directory that must have one.
    pub(crate) fn require(disk: &dyn Disk) -> Result<StoreFile, StorageError> {
        let file = FileName::Store;
        let what = || "it is missing, or neither of its copies is whole".to_owned();
        StoreFile::read(disk)?.ok_or_else(|| StorageError::Damaged { file, what: what() })
    }

    /// First and last byte of the copies that are not whole.
    pub(crate) fn damaged_copies(disk: &dyn Disk) -> impl Iterator<Item = (u64, u64)> {
        let is_damaged = |at: &u64| {
            let mut bytes = [0; BYTES];
            let n = disk.read_durable(FileName::Store, *at, &mut bytes);
            !n.is_ok_and(|n| n == BYTES) || StoreFile::decode(&bytes).is_none()
        };
        COPIES.into_iter().filter(is_damaged).map(|at| (at, at + BYTES as u64))
    }

    /// The first copy that is whole; `None` when neither is.
    pub(crate) fn read(disk: &dyn Disk) -> Result<Option<StoreFile>, StorageError> {
        for at in COPIES {
            let mut bytes = [0; BYTES];
            let file = FileName::Store;
            let n = disk.read_durable(file, at, &mut bytes);
            // A copy that cannot be read is as good as a damaged one.
            let whole = n.is_ok_and(|n| n == BYTES);
            if let Some(found) = StoreFile::decode(&bytes).filter(|_| whole) {
                if found.major > MAJOR {
                    return Err(StorageError::Format { major: found.major, ours: MAJOR });
                }
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::disk::memory::MemoryDisk;

    #[test]
    fn one_damaged_copy_is_enough() {
        for damaged in [0, 5, 20, 4096, 4120] {
            let disk = MemoryDisk::default();
            let ours = StoreFile::new([7; 16]);
            ours.write(&disk).unwrap();
            disk.edit(FileName::Store, |bytes| bytes[damaged] ^= 1);
            assert_eq!(StoreFile::read(&disk).unwrap(), Some(ours));
            disk.edit(FileName::Store, |bytes| bytes[(damaged + 4096) % 8192] ^= 1);
            assert_eq!(StoreFile::read(&disk).unwrap(), None);
        }
    }

    #[test]
    fn a_newer_format_is_refused() {
        let disk = MemoryDisk::default();
        StoreFile { identity: [0; 16], major: MAJOR + 1, minor: 0 }.write(&disk).unwrap();
        let error = StoreFile::read(&disk).unwrap_err();
        assert_eq!(error.to_string(), "the data directory has format 2, this version reads 1");
    }
}
