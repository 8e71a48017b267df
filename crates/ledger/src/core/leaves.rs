//! Root frames: each stands for a leaf of the root log, and tells how far the ledger is durable.

use event::LogId;

use super::{Core, HEARTBEAT_MS, ROOT_MS};
use crate::frame::{FrameKind, Head};

impl Core {
    /// Begins the commit in hand with a root frame if one is due: it covers the commits before,
    /// which are durable, and says so.
    pub(crate) fn root_if_due(&mut self) {
        let now_ms = self.shared.clock.boot_ms();
        let passed = now_ms.saturating_sub(self.last_root_ms);
        let due = self.bulk || (self.wal.untold() && passed >= ROOT_MS) || passed >= HEARTBEAT_MS;
        if due && self.failed.is_none() && self.has_room_for_root() {
            self.root(now_ms);
        }
    }

    pub(crate) fn root(&mut self, now_ms: u64) {
        let (wall_ms, elapsed_ms) = self.now();
        let head = Head {
            kind: FrameKind::Root,
            log: LogId::Centre,
            index: self.cursor.roots(),
            sequence: self.cursor.sequence,
            wall_ms,
            elapsed_ms,
            durable: self.wal.durable(),
        };
        self.wal.push_root(&head);
        self.cursor.advance(&head);
        self.uncovered.root(head.index);
        self.last_root_ms = now_ms;
        self.bulk = false;
    }
}
