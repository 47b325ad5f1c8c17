//! What was changed over HTTP, for people who ask; the log has all of it under the target `audit`.

use std::collections::VecDeque;

use parking_lot::Mutex;

use crate::admin::v1::audit::AuditEntry;

/// Entries that are kept in memory.
const KEPT: usize = 1_000;

/// The last changes since the start.
#[derive(Debug, Default)]
pub(in crate::server) struct Audit {
    entries: Mutex<VecDeque<AuditEntry>>,
}

impl Audit {
    /// Keeps an entry and logs it.
    pub(in crate::server) fn note(&self, entry: AuditEntry) {
        let AuditEntry { peer, user, method, path, status, .. } = &entry;
        tracing::info!(target: "audit", peer, %user, method, path, status);
        let mut entries = self.entries.lock();
        if entries.len() == KEPT {
            entries.pop_front();
        }
        entries.push_back(entry);
    }

    /// The oldest first.
    pub(in crate::server) fn all(&self) -> Vec<AuditEntry> {
        self.entries.lock().iter().cloned().collect()
    }
}
