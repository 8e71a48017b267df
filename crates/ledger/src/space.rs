//! A full disk as a state. It begins when a job does not fit into the segment and the next one
//! cannot be prepared, and ends when one can be.
//!
//! Invariants: meanwhile everything that needs a record is refused, what needs none goes on, and
//! nothing that was answered is lost. The segment keeps a reserve, so that beginning is a record.

use event::LogId;
use event::record::Body;

use crate::batch::Refusal;
use crate::core::{Core, encode};
use crate::frame::{FRAME_HEADER, frame_bytes};
use crate::wal::NoNext;

/// Room in a segment that only the record of a full disk, and the root frame that tells that it is
/// durable, may take, in bytes.
pub(crate) const RESERVE: usize = 2 * FRAME_HEADER + 32;
/// Space is looked for so often, in ms; also at need, if that costs no writing.
pub(crate) const SPACE_MS: u64 = 1000;

/// The disk is full.
pub(crate) struct Full {
    /// What there is no space for.
    why: String,
    /// BOOTTIME of the last attempt, ms.
    tried_ms: u64,
    /// That attempt was refused in spite of what the filesystem says is free: it may have written
    /// much, so the next one waits.
    wrote: bool,
}

impl Core {
    /// Sees to it that `bytes` of frames fit into the segment, so that a job's frames lie in one
    /// commit. May flush the commit in hand. Gives whether it took time or recorded something: then
    /// what was looked at before has to be looked at again.
    pub(crate) fn make_room(&mut self, bytes: usize) -> Result<bool, Refusal> {
        self.alive()?;
        let was_full = self.full.is_some();
        self.find_space()?;
        if bytes + RESERVE <= self.wal.room() {
            return Ok(was_full);
        }
        let limit = self.wal.capacity() - RESERVE;
        if bytes > limit {
            return Err(Refusal::TooLarge {
                what: "what is to be recorded at once",
                bytes,
                limit,
            });
        }
        self.flush()?;
        self.next_segment()?;
        Ok(true)
    }

    /// Whether a root frame fits: it may take the reserve while the disk is full.
    pub(crate) fn has_room_for_root(&mut self) -> bool {
        if self.full.is_some() {
            self.wal.room() >= FRAME_HEADER
        } else {
            self.make_room(FRAME_HEADER).is_ok()
        }
    }

    /// Looks for space again if the disk is full and it is time.
    pub(crate) fn space_if_due(&mut self) {
        let now_ms = self.boot_ms();
        let due = |full: &Full| now_ms.saturating_sub(full.tried_ms) >= SPACE_MS;
        if self.full.as_ref().is_some_and(due) {
            // Still full: the state stands, and the next one who asks is told.
            let _ = self.find_space();
        }
    }

    /// Ends a full disk if there is space; the refusal if there is none.
    fn find_space(&mut self) -> Result<(), Refusal> {
        let Some(full) = &self.full else {
            return Ok(());
        };
        let now_ms = self.boot_ms();
        if full.wrote && now_ms.saturating_sub(full.tried_ms) < SPACE_MS {
            return Err(Refusal::NoSpace(full.why.clone()));
        }
        self.flush()?;
        self.next_segment()?;
        self.full = None;
        self.say("ledger: there is space again");
        self.put(LogId::Centre, &Body::Space { full: false })?;
        self.flush()
    }

    fn next_segment(&mut self) -> Result<(), Refusal> {
        let wrote = self.wal.may_have_space();
        self.wal.rotate().map_err(|error| match error {
            NoNext::Refused(why) => self.ran_full(why, wrote),
            NoNext::Fatal(fatal) => {
                self.fail(fatal.clone());
                Refusal::Unavailable(fatal.to_string())
            }
        })
    }

    fn ran_full(&mut self, why: String, wrote: bool) -> Refusal {
        let begins = self.full.is_none();
        self.full = Some(Full {
            why: why.clone(),
            tried_ms: self.boot_ms(),
            wrote,
        });
        if begins {
            self.say(&format!(
                "ledger: {why}; sealed data is neither read nor written until there is space"
            ));
            // Without it there is no record, and the refusals stand all the same.
            let _ = self.record_full();
        }
        Refusal::NoSpace(why)
    }

    /// Records that the disk is full, and that this is durable, where room is left.
    fn record_full(&mut self) -> Result<(), Refusal> {
        let body = Body::Space { full: true };
        let bytes = encode(&body)?;
        if frame_bytes(bytes.len(), 0) > self.wal.room() {
            return Ok(());
        }
        let now = self.now();
        self.push(LogId::Centre, &body, &bytes, &[], now)?;
        self.flush()?;
        if self.has_room_for_root() {
            self.root(self.boot_ms());
        }
        self.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserve_holds_the_record_and_the_root_frame_that_tells_it() {
        let record = encode(&Body::Space { full: true }).unwrap();
        assert!(frame_bytes(record.len(), 0) + FRAME_HEADER <= RESERVE);
    }
}
