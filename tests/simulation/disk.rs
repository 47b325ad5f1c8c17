//! A disk that keeps its promises and no more: what was not synced may be kept, lost, torn or
//! turned to garbage, sector by sector; and on request it breaks its promises too.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::io;

use parking_lot::Mutex;
use railpost::storage::disk::Disk;
use railpost::storage::disk::FileName;
use railpost::storage::disk::Folder;
use railpost::storage::disk::Found;

use crate::random::Random;

/// What a disk writes at once, or not at all.
const SECTOR: usize = 512;
const EIO: i32 = 5;
const ENOSPC: i32 = 28;

/// A fault at the n-th step of the disk, counted from when it is set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// The power goes in the middle of it.
    PowerLoss,
    /// It fails; of what it should have written, anything may be on the disk.
    Error,
    /// A write is reported as done, and is not.
    LostWrite,
    /// A write goes to another block of the file.
    MisdirectedWrite,
}

#[derive(Debug)]
pub(crate) struct SimulatedDisk {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    random: Random,
    inodes: BTreeMap<u32, Inode>,
    next_inode: u32,
    names: BTreeMap<FileName, u32>,
    /// Names as the disk has them.
    durable: BTreeMap<FileName, u32>,
    /// Changes of names since their folder was synced, in order.
    changes: Vec<Change>,
    fault: Option<(u64, Fault)>,
    /// Reads of this file fail from here to there.
    unreadable: Option<(FileName, u64, u64)>,
    capacity: u64,
    off: bool,
    n_steps: u64,
    n_faults: u64,
}

/// The content of a file: as programs see it, and as the disk has it.
#[derive(Clone, Debug, Default)]
struct Inode {
    seen: Vec<u8>,
    durable: Vec<u8>,
    /// Sectors in which the two may differ.
    dirty: BTreeSet<usize>,
}

#[derive(Clone, Copy, Debug)]
enum Change {
    Create(FileName, u32),
    Rename(FileName, FileName),
    Remove(FileName),
}

impl SimulatedDisk {
    pub(crate) fn new(seed: u64) -> SimulatedDisk {
        let state = State {
            random: Random::new(seed),
            inodes: BTreeMap::new(),
            next_inode: 0,
            names: BTreeMap::new(),
            durable: BTreeMap::new(),
            changes: Vec::new(),
            fault: None,
            unreadable: None,
            capacity: u64::MAX,
            off: false,
            n_steps: 0,
            n_faults: 0,
        };
        SimulatedDisk { state: Mutex::new(state) }
    }

    /// Lets `fault` happen after `steps` more steps.
    pub(crate) fn set_fault(&self, steps: u64, fault: Option<Fault>) {
        let mut state = self.state.lock();
        state.fault = fault.map(|fault| (state.n_steps + steps, fault));
    }

    /// Whether the power went, and [`power_loss`](SimulatedDisk::power_loss) is to follow.
    pub(crate) fn is_off(&self) -> bool {
        self.state.lock().off
    }

    /// Faults that happened.
    pub(crate) fn n_faults(&self) -> u64 {
        self.state.lock().n_faults
    }

    pub(crate) fn set_capacity(&self, bytes: u64) {
        self.state.lock().capacity = bytes;
    }

    /// Makes part of a file unreadable, or none.
    pub(crate) fn set_unreadable(&self, part: Option<(FileName, u64, u64)>) {
        self.state.lock().unreadable = part;
    }

    /// The process is killed: what it wrote stays with the operating system.
    pub(crate) fn kill(&self) {
        let mut state = self.state.lock();
        state.off = false;
        state.fault = None;
    }

    /// The power goes: the disk has what was synced, and any part of what was not.
    pub(crate) fn power_loss(&self) {
        self.state.lock().power_loss();
    }

    /// Everything that was written reaches the disk.
    pub(crate) fn settle(&self) {
        let mut state = self.state.lock();
        for inode in state.inodes.values_mut() {
            inode.durable = inode.seen.clone();
            inode.dirty.clear();
        }
        state.durable = state.names.clone();
        state.changes.clear();
    }

    /// Flips bits of a file behind everybody's back.
    pub(crate) fn flip(&self, file: FileName, at: u64, mask: u8) {
        let mut state = self.state.lock();
        let id = state.names[&file];
        let inode = state.inodes.get_mut(&id).expect("names lead to inodes");
        for content in [&mut inode.seen, &mut inode.durable] {
            if let Some(byte) = content.get_mut(at as usize) {
                *byte ^= mask;
            }
        }
    }

    /// Changes a file behind everybody's back.
    pub(crate) fn edit(&self, file: FileName, change: impl Fn(&mut Vec<u8>)) {
        let mut state = self.state.lock();
        let id = state.names[&file];
        let inode = state.inodes.get_mut(&id).expect("names lead to inodes");
        change(&mut inode.seen);
        change(&mut inode.durable);
    }

    pub(crate) fn content(&self, file: FileName) -> Vec<u8> {
        let state = self.state.lock();
        state.inodes[&state.names[&file]].seen.clone()
    }

    /// Another disk with the same content.
    pub(crate) fn copy(&self) -> SimulatedDisk {
        let copy = SimulatedDisk::new(0);
        {
            let state = self.state.lock();
            let mut to = copy.state.lock();
            to.random = state.random.clone();
            to.inodes = state.inodes.clone();
            to.next_inode = state.next_inode;
            to.names = state.names.clone();
            to.durable = state.durable.clone();
            to.changes = state.changes.clone();
            to.capacity = state.capacity;
            to.unreadable = state.unreadable;
        }
        copy
    }
}

impl State {
    /// Counts a step; says which fault is to happen in it.
    fn step(&mut self) -> io::Result<Option<Fault>> {
        if self.off {
            return Err(io::Error::other("the power is off"));
        }
        self.n_steps += 1;
        match self.fault {
            Some((at, fault)) if self.n_steps >= at => {
                if fault == Fault::PowerLoss {
                    self.off = true;
                }
                Ok(Some(fault))
            }
            _ => Ok(None),
        }
    }

    fn fault_happened(&mut self) {
        self.fault = None;
        self.n_faults += 1;
    }

    fn id(&self, file: FileName) -> io::Result<u32> {
        self.names.get(&file).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn used(&self) -> u64 {
        self.names.values().map(|id| self.inodes[id].seen.len() as u64).sum()
    }

    fn power_loss(&mut self) {
        self.off = false;
        self.fault = None;
        let n_kept = self.random.index(self.changes.len() + 1);
        for change in self.changes.drain(..).take(n_kept) {
            change.apply(&mut self.durable);
        }
        self.changes.clear();
        self.names = self.durable.clone();
        let named: BTreeSet<u32> = self.names.values().copied().collect();
        self.inodes.retain(|id, _| named.contains(id));
        for inode in self.inodes.values_mut() {
            inode.power_loss(&mut self.random);
        }
    }
}

impl Change {
    fn apply(self, names: &mut BTreeMap<FileName, u32>) {
        match self {
            Change::Create(file, id) => {
                names.insert(file, id);
            }
            Change::Rename(from, to) => {
                if let Some(id) = names.remove(&from) {
                    names.insert(to, id);
                }
            }
            Change::Remove(file) => {
                names.remove(&file);
            }
        }
    }

    fn folder(self) -> Folder {
        match self {
            Change::Create(file, _) | Change::Rename(file, _) | Change::Remove(file) => {
                file.folder()
            }
        }
    }
}

impl Inode {
    fn power_loss(&mut self, random: &mut Random) {
        // One fate for all, or one for each: uniform choices alone would hardly ever keep
        // everything or lose everything of a long write.
        let fate = random.below(4);
        let mut grown = self.durable.len();
        for sector in std::mem::take(&mut self.dirty) {
            let (start, end) = (sector * SECTOR, ((sector + 1) * SECTOR).min(self.seen.len()));
            if end <= start {
                continue;
            }
            let kept = match fate {
                0 => true,
                1 => false,
                _ => random.once_in(2),
            };
            if kept || (fate > 1 && random.once_in(8)) {
                grown = grown.max(end);
                self.durable.resize(grown, 0);
                let from = if kept { 0 } else { random.index(SECTOR).min(end - start) };
                self.durable[start + from..end].copy_from_slice(&self.seen[start + from..end]);
                if !kept && random.once_in(2) {
                    random.fill(&mut self.durable[start..end]);
                }
            }
        }
        self.seen = self.durable.clone();
    }

    fn write(&mut self, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        if self.seen.len() < end {
            self.seen.resize(end, 0);
        }
        self.seen[offset..end].copy_from_slice(bytes);
        self.dirty.extend(offset / SECTOR..end.div_ceil(SECTOR));
    }

    fn sync(&mut self) {
        self.durable.resize(self.seen.len(), 0);
        for sector in std::mem::take(&mut self.dirty) {
            let (start, end) = (sector * SECTOR, ((sector + 1) * SECTOR).min(self.seen.len()));
            self.durable[start..end].copy_from_slice(&self.seen[start..end]);
        }
    }

    /// A failed sync: some sectors are written, and none counts as dirty any more.
    fn sync_badly(&mut self, random: &mut Random) {
        self.durable.resize(self.seen.len(), 0);
        for sector in std::mem::take(&mut self.dirty) {
            let (start, end) = (sector * SECTOR, ((sector + 1) * SECTOR).min(self.seen.len()));
            if random.once_in(2) {
                self.durable[start..end].copy_from_slice(&self.seen[start..end]);
            }
        }
    }
}

fn eio() -> io::Error {
    io::Error::from_raw_os_error(EIO)
}

impl Disk for SimulatedDisk {
    fn lock(&self) -> io::Result<()> {
        Ok(())
    }

    fn list(&self) -> io::Result<Vec<Found>> {
        let mut state = self.state.lock();
        state.step()?;
        let names = state.names.iter();
        let found = names
            .map(|(file, id)| Found { file: *file, bytes: state.inodes[id].seen.len() as u64 });
        Ok(found.collect())
    }

    fn create(&self, file: FileName, bytes: u64) -> io::Result<()> {
        let mut state = self.state.lock();
        let fault = state.step()?;
        if fault == Some(Fault::Error) {
            state.fault_happened();
            return Err(eio());
        }
        if state.used() + bytes > state.capacity {
            let id = state.next_inode;
            state.next_inode += 1;
            state.inodes.insert(id, Inode::default());
            state.names.insert(file, id);
            state.changes.push(Change::Create(file, id));
            return Err(io::Error::from_raw_os_error(ENOSPC));
        }
        let content = vec![0; bytes as usize];
        let inode = Inode { durable: content.clone(), seen: content, dirty: BTreeSet::new() };
        let id = state.next_inode;
        state.next_inode += 1;
        state.inodes.insert(id, inode);
        state.names.insert(file, id);
        state.changes.push(Change::Create(file, id));
        if state.off { Err(io::Error::other("the power went")) } else { Ok(()) }
    }

    fn write_at(&self, file: FileName, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state.lock();
        let fault = state.step()?;
        let id = state.id(file)?;
        let grows =
            (offset + bytes.len() as u64).saturating_sub(state.inodes[&id].seen.len() as u64);
        if state.used() + grows > state.capacity {
            return Err(io::Error::from_raw_os_error(ENOSPC));
        }
        let n_part = state.random.index(bytes.len() + 1);
        let n_blocks = state.inodes[&id].seen.len() / 4096;
        let block = state.random.index(n_blocks.max(1));
        let inode = state.inodes.get_mut(&id).expect("names lead to inodes");
        let at = offset as usize;
        match fault {
            None => inode.write(at, bytes),
            Some(Fault::PowerLoss) => {
                inode.write(at, &bytes[..n_part]);
                return Err(io::Error::other("the power went"));
            }
            Some(Fault::Error) => {
                inode.write(at, &bytes[..n_part]);
                state.fault_happened();
                return Err(eio());
            }
            Some(Fault::LostWrite) => {
                let end = inode.seen.len().max(at + bytes.len());
                inode.seen.resize(end, 0);
                state.fault_happened();
            }
            Some(Fault::MisdirectedWrite) => {
                let to = block * 4096;
                let n = bytes.len().min(inode.seen.len().saturating_sub(to));
                inode.write(to, &bytes[..n]);
                state.fault_happened();
            }
        }
        Ok(())
    }

    fn sync(&self, file: FileName) -> io::Result<()> {
        let mut state = self.state.lock();
        let fault = state.step()?;
        let id = state.id(file)?;
        let mut random = state.random.fork();
        let inode = state.inodes.get_mut(&id).expect("names lead to inodes");
        match fault {
            Some(Fault::PowerLoss) => Err(io::Error::other("the power went")),
            Some(Fault::Error) => {
                inode.sync_badly(&mut random);
                state.fault_happened();
                Err(eio())
            }
            None | Some(Fault::LostWrite | Fault::MisdirectedWrite) => {
                inode.sync();
                Ok(())
            }
        }
    }

    fn read_at(&self, file: FileName, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.read(file, offset, buffer, |inode| &inode.seen)
    }

    fn read_durable(&self, file: FileName, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        // What is dirty is written before a direct read; what a failed sync forgot is not.
        self.read(file, offset, buffer, |inode| {
            if inode.dirty.is_empty() { &inode.durable } else { &inode.seen }
        })
    }

    fn rename(&self, from: FileName, to: FileName) -> io::Result<()> {
        let mut state = self.state.lock();
        let fault = state.step()?;
        if fault == Some(Fault::Error) {
            state.fault_happened();
            return Err(eio());
        }
        let id = state.id(from)?;
        state.names.remove(&from);
        state.names.insert(to, id);
        state.changes.push(Change::Rename(from, to));
        if state.off { Err(io::Error::other("the power went")) } else { Ok(()) }
    }

    fn remove(&self, file: FileName) -> io::Result<()> {
        let mut state = self.state.lock();
        state.step()?;
        state.id(file)?;
        state.names.remove(&file);
        state.changes.push(Change::Remove(file));
        if state.off { Err(io::Error::other("the power went")) } else { Ok(()) }
    }

    fn sync_folder(&self, folder: Folder) -> io::Result<()> {
        let mut state = self.state.lock();
        let fault = state.step()?;
        if fault == Some(Fault::Error) {
            state.fault_happened();
            return Err(eio());
        }
        if state.off {
            return Err(io::Error::other("the power went"));
        }
        let (now, later): (Vec<Change>, Vec<Change>) =
            state.changes.drain(..).partition(|change| change.folder() == folder);
        state.changes = later;
        for change in now {
            change.apply(&mut state.durable);
        }
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let state = self.state.lock();
        Ok(state.capacity.saturating_sub(state.used()))
    }
}

impl SimulatedDisk {
    fn read(
        &self,
        file: FileName,
        offset: u64,
        buffer: &mut [u8],
        content: impl Fn(&Inode) -> &Vec<u8>,
    ) -> io::Result<usize> {
        let mut state = self.state.lock();
        let fault = state.step()?;
        if state.off {
            return Err(io::Error::other("the power went"));
        }
        let id = state.id(file)?;
        if fault == Some(Fault::Error) {
            state.fault_happened();
            return Err(eio());
        }
        let end = offset + buffer.len() as u64;
        if let Some((bad, from, to)) = state.unreadable
            && bad == file
            && offset < to
            && end > from
        {
            return Err(eio());
        }
        let content = content(&state.inodes[&id]);
        let start = (offset as usize).min(content.len());
        let n = buffer.len().min(content.len() - start);
        buffer[..n].copy_from_slice(&content[start..start + n]);
        Ok(n)
    }
}
