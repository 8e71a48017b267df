//! The one FIFO towards the driver.
//!
//! While no batch waits for its record, bytes go straight to `ready`. While one does, everything
//! that PostgreSQL sends after it stands behind it.

use std::collections::VecDeque;

use bytes::BytesMut;
use event::Plain;
use ledger::Batch;

use crate::limits::Limits;

/// From so many bytes on, what is ready goes out at once (PostgreSQL's own buffer is as long).
const HELD_BACK_BYTES_MAX: usize = 8 << 10;

/// A message with opened cells, on its way to the driver (or, in COPY IN, sealed rows on their way
/// to PostgreSQL). Only a `ledger::Released` gives it back.
#[derive(Debug)]
pub(crate) struct Held(Plain<Vec<u8>>);

impl Held {
    pub(super) fn new(message: Vec<u8>) -> Self {
        Self(Plain::new(message))
    }

    /// The bytes of rows on their way in, which hold cells and no opened value.
    pub(super) fn expose_sealed(&self) -> &[u8] {
        self.0.expose()
    }
}

/// Which append an answer is to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ticket(pub(crate) u64);

/// Something that waits behind a batch.
#[derive(Debug)]
pub(super) enum Item {
    /// A batch whose record is being written.
    Batch(Ticket),
    /// Bytes of the run that holds the barrier: dropped if it is cut.
    OfRun(BytesMut),
    /// Bytes that have nothing to do with it.
    Other(BytesMut),
    /// The run is over: the barrier opens when this is reached.
    RunOver,
}

/// Towards the driver.
#[derive(Default)]
pub(crate) struct Output {
    ready: BytesMut,
    queue: VecDeque<Item>,
    queued_bytes: usize,
    batches: usize,
    next_ticket: u64,
    asks: Vec<(Ticket, Batch<Held>)>,
    moves: u64,
}

impl Output {
    /// Bytes that may be written to the driver.
    pub(crate) fn ready(&mut self) -> &mut BytesMut {
        &mut self.ready
    }

    /// Batches that the ledger has not seen yet.
    pub(crate) fn take_asks(&mut self) -> Vec<(Ticket, Batch<Held>)> {
        std::mem::take(&mut self.asks)
    }

    pub(super) fn has_asks(&self) -> bool {
        !self.asks.is_empty()
    }

    pub(super) fn moves(&self) -> u64 {
        self.moves
    }

    /// Whether more of PostgreSQL's bytes can be taken.
    pub(super) fn has_room(&self, limits: &Limits) -> bool {
        self.batches < limits.batches_in_flight_max
            && self.ready.len() + self.queued_bytes < limits.output_buffer_bytes_max
    }

    /// Whether what is ready may wait for more that comes without the driver's doing: rows whose
    /// record is being written, or the ReadyForQuery of a Sync (`sync_is_next`). PostgreSQL sends
    /// both with what was before them in one write, and each write wakes the driver.
    pub(super) fn may_wait(&self, sync_is_next: bool, limits: &Limits) -> bool {
        let most = HELD_BACK_BYTES_MAX.min(limits.output_buffer_bytes_max / 2);
        (self.batches > 0 || sync_is_next) && self.ready.len() < most
    }

    pub(super) fn is_clear(&self) -> bool {
        self.queue.is_empty()
    }

    /// A place for bytes that belong to the barrier's run (`of_run`) or not.
    pub(super) fn tail(&mut self, of_run: bool) -> &mut BytesMut {
        self.moves += 1;
        if self.queue.is_empty() {
            return &mut self.ready;
        }
        let fits = matches!(
            (self.queue.back(), of_run),
            (Some(Item::OfRun(_)), true) | (Some(Item::Other(_)), false)
        );
        if !fits {
            self.queue.push_back(if of_run {
                Item::OfRun(BytesMut::new())
            } else {
                Item::Other(BytesMut::new())
            });
        }
        match self.queue.back_mut() {
            Some(Item::OfRun(bytes) | Item::Other(bytes)) => bytes,
            // The push above made one; an empty queue was answered first.
            _ => &mut self.ready,
        }
    }

    /// Bytes onto the tail, counted.
    pub(super) fn push(&mut self, bytes: &[u8], of_run: bool) {
        if !self.queue.is_empty() {
            self.queued_bytes += bytes.len();
        }
        self.tail(of_run).extend_from_slice(bytes);
    }

    /// Asks the ledger for a batch; what follows waits for the answer.
    pub(super) fn ask(&mut self, batch: Batch<Held>) -> Ticket {
        let ticket = self.ask_aside(batch);
        self.queue.push_back(Item::Batch(ticket));
        self.batches += 1;
        ticket
    }

    /// Asks the ledger for a batch that has no place in this FIFO.
    pub(super) fn ask_aside(&mut self, batch: Batch<Held>) -> Ticket {
        self.moves += 1;
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.asks.push((ticket, batch));
        ticket
    }

    pub(super) fn run_over(&mut self) {
        self.moves += 1;
        self.queue.push_back(Item::RunOver);
    }

    /// The batch at the head was answered: its rows are ready.
    pub(super) fn release(&mut self, rows: Vec<Held>) {
        self.moves += 1;
        if matches!(self.queue.front(), Some(Item::Batch(_))) {
            self.queue.pop_front();
            self.batches -= 1;
        }
        for row in rows {
            self.ready.extend_from_slice(row.0.expose());
        }
    }

    /// Whether this ticket is the head.
    pub(super) fn head_is(&self, ticket: Ticket) -> bool {
        matches!(self.queue.front(), Some(Item::Batch(head)) if *head == ticket)
    }

    /// Moves what no longer waits to `ready`; true if the run's end was reached.
    pub(super) fn settle(&mut self) -> bool {
        let mut over = false;
        while let Some(item) = self.queue.front_mut() {
            match item {
                Item::Batch(_) => break,
                Item::OfRun(bytes) | Item::Other(bytes) => {
                    self.queued_bytes = self.queued_bytes.saturating_sub(bytes.len());
                    if self.ready.is_empty() {
                        self.ready = std::mem::take(bytes);
                    } else {
                        self.ready.extend_from_slice(bytes);
                    }
                }
                Item::RunOver => over = true,
            }
            self.moves += 1;
            self.queue.pop_front();
        }
        over
    }

    /// The run was cut: what of it still waits is dropped, unread.
    pub(super) fn drop_run(&mut self) {
        self.moves += 1;
        self.queue.retain(|item| matches!(item, Item::Other(_)));
        self.batches = 0;
        self.queued_bytes = self
            .queue
            .iter()
            .map(|item| {
                if let Item::Other(bytes) = item {
                    bytes.len()
                } else {
                    0
                }
            })
            .sum();
    }
}

#[cfg(test)]
mod tests {
    use super::{HELD_BACK_BYTES_MAX, Output};
    use crate::limits::Limits;

    #[test]
    fn little_waits_for_what_is_sure_to_come_and_much_does_not() {
        let limits = Limits::default();
        let mut output = Output::default();
        output.push(&[b'x'; 100], false);
        assert!(output.may_wait(true, &limits));
        assert!(!output.may_wait(false, &limits));
        // PostgreSQL is not read past this limit: what waits for it must not reach it.
        let tight = Limits {
            output_buffer_bytes_max: 200,
            ..Limits::default()
        };
        assert!(!output.may_wait(true, &tight));
        output.push(&[b'x'; HELD_BACK_BYTES_MAX], false);
        assert!(!output.may_wait(true, &limits));
    }
}
