//! How many live messages of each priority a queue has, and between which numbers.

/// Live messages of one priority.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Level {
    pub(crate) priority: u8,
    pub(crate) n_live: u64,
    /// None of them has a lower number; the message of this number may be gone.
    pub(crate) first: u64,
    /// All of them have lower numbers.
    pub(crate) end: u64,
}

/// The levels of a queue that have live messages, by priority.
#[derive(Clone, Debug, Default)]
pub(crate) struct Levels(Vec<Level>);

impl Levels {
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &Level> {
        self.0.iter()
    }

    /// Puts a level back that was kept elsewhere.
    pub(crate) fn push(&mut self, level: Level) {
        self.0.push(level);
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    fn place(&self, priority: u8) -> Result<usize, usize> {
        self.0.binary_search_by_key(&priority, |level| level.priority)
    }

    pub(crate) fn add(&mut self, priority: u8, seq: u64) {
        match self.place(priority) {
            Ok(place) => {
                let level = &mut self.0[place];
                level.n_live += 1;
                level.first = level.first.min(seq);
                level.end = level.end.max(seq + 1);
            }
            Err(place) => {
                let level = Level { priority, n_live: 1, first: seq, end: seq + 1 };
                self.0.insert(place, level);
            }
        }
    }

    pub(crate) fn subtract(&mut self, priority: u8, n: u64) {
        let Ok(place) = self.place(priority) else { return };
        let level = &mut self.0[place];
        debug_assert!(level.n_live >= n, "taken out more often than put in");
        level.n_live = level.n_live.saturating_sub(n);
        if level.n_live == 0 {
            self.0.remove(place);
        }
    }
}
