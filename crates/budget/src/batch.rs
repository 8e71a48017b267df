//! What is about to be released, in row order, as the budgets see it: fingerprints and weights.

use event::{Class, ClientId, Outcome};

use crate::Charged;

/// Which set of an (actor, client) an entry belongs to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum SetKind {
    /// A cell of this class, released in clear.
    Clear(Class),
    /// A row tag of a row of which at least one cell was released in clear.
    RowTag,
    /// A cell of this class, released masked.
    Masked(Class),
    /// A probe.
    Probe {
        /// Whether it counts for the actor: of a value probed over several clients, one does.
        primary: bool,
    },
}

impl SetKind {
    /// The code in fingerprint lists: 0x01 to 0x08 clear (the class's code), 0x10 row tag, 0x21 to
    /// 0x28 masked, 0x40 probe, 0x41 primary probe. Never renumbered.
    pub fn code(self) -> u8 {
        match self {
            Self::Clear(class) => class.code(),
            Self::RowTag => 0x10,
            Self::Masked(class) => 0x20 | class.code(),
            Self::Probe { primary } => 0x40 | u8::from(primary),
        }
    }

    /// The inverse of [`SetKind::code`].
    pub fn from_code(code: u8) -> Option<Self> {
        match code {
            0x01..=0x0f => Class::from_code(code).map(Self::Clear),
            0x10 => Some(Self::RowTag),
            0x21..=0x2f => Class::from_code(code & 0x0f).map(Self::Masked),
            0x40 | 0x41 => Some(Self::Probe {
                primary: code == 0x41,
            }),
            _ => None,
        }
    }
}

/// One fingerprint to charge.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Item {
    /// Whose subject it is: the client in the cell's header.
    pub client: ClientId,
    /// The set it counts in.
    pub kind: SetKind,
    /// The fingerprint, or the row tag.
    pub fingerprint: u64,
    /// How many subjects it counts for: 1, or more for free text
    /// ([`crate::Numbers::free_text_weight`]). 0 is taken as 1.
    pub weight: u32,
}

/// The probes of a statement and the rows of a batch, in the order of their release. Meant to be
/// kept and cleared: it allocates only when it grows.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Batch {
    probes: Vec<Item>,
    items: Vec<Item>,
    /// For each row, the index in `items` after its last.
    row_ends: Vec<u32>,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a probe of one value for one client.
    ///
    /// `primary`: of the clients that one value is probed for in a statement, exactly one (say, the
    /// lowest number) is primary; the actor is charged for that one, each client for its own.
    /// `as_exposure`: the actor's outcome for the class is masked, so the probe is charged as a
    /// clear exposure too: hits cannot be told from misses.
    pub fn probe(
        &mut self,
        client: ClientId,
        class: Class,
        fingerprint: u64,
        primary: bool,
        as_exposure: bool,
    ) {
        self.probes.push(Item {
            client,
            kind: SetKind::Probe { primary },
            fingerprint,
            weight: 1,
        });
        if as_exposure {
            self.probes.push(Item {
                client,
                kind: SetKind::Clear(class),
                fingerprint,
                weight: 1,
            });
        }
    }

    /// Adds a cell to the row in hand. Cells that stay sealed or are refused cost nothing and are
    /// left out.
    pub fn cell(
        &mut self,
        client: ClientId,
        class: Class,
        outcome: Outcome,
        fingerprint: u64,
        weight: u32,
    ) {
        let kind = match outcome {
            Outcome::Clear => SetKind::Clear(class),
            Outcome::Masked => SetKind::Masked(class),
            Outcome::Sealed | Outcome::Refused => return,
        };
        self.items.push(Item {
            client,
            kind,
            fingerprint,
            weight,
        });
    }

    /// Adds a row tag to the row in hand; 0 is no tag and is left out.
    pub fn row_tag(&mut self, client: ClientId, tag: u64) {
        if tag != 0 {
            self.items.push(Item {
                client,
                kind: SetKind::RowTag,
                fingerprint: tag,
                weight: 1,
            });
        }
    }

    /// Ends the row in hand. A row without items is free.
    pub fn end_row(&mut self) {
        // A batch holds far fewer than 2^32 cells; past that all rows end at the last index that
        // can be written, and `row` gives the rest to the last row: more is charged, not less.
        self.row_ends
            .push(u32::try_from(self.items.len()).unwrap_or(u32::MAX));
    }

    /// How many rows were ended.
    pub fn rows(&self) -> usize {
        self.row_ends.len()
    }

    /// Whether it holds neither probes nor rows.
    pub fn is_empty(&self) -> bool {
        self.probes.is_empty() && self.row_ends.is_empty()
    }

    /// Empties it and keeps its memory.
    pub fn clear(&mut self) {
        self.probes.clear();
        self.items.clear();
        self.row_ends.clear();
    }

    /// The probes, and what they expose, in order.
    pub fn probes(&self) -> &[Item] {
        &self.probes
    }

    /// The items of a row; empty past the last.
    pub fn row(&self, row: usize) -> &[Item] {
        let Some(&end) = self.row_ends.get(row) else {
            return &[];
        };
        let start = match row.checked_sub(1) {
            Some(before) => self.row_ends[before] as usize,
            None => 0,
        };
        &self.items[start..end as usize]
    }

    /// Exactly what `charged` released of this batch, in order: what [`crate::Budgets::replay`]
    /// has to be given, client by client, to come to the same state.
    pub fn released(&self, charged: &Charged) -> impl Iterator<Item = &Item> {
        let probes = if charged.probes_granted {
            self.probes.as_slice()
        } else {
            &[]
        };
        let end = match charged.rows.checked_sub(1) {
            Some(last) => self
                .row_ends
                .get(last)
                .map_or(self.items.len(), |&end| end as usize),
            None => 0,
        };
        probes.iter().chain(&self.items[..end])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_come_back() {
        let mut kinds = vec![
            SetKind::RowTag,
            SetKind::Probe { primary: false },
            SetKind::Probe { primary: true },
        ];
        for &class in Class::ALL {
            kinds.extend([SetKind::Clear(class), SetKind::Masked(class)]);
        }
        for kind in &kinds {
            assert_eq!(SetKind::from_code(kind.code()), Some(*kind));
        }
        let known = (0..=u8::MAX)
            .filter(|&code| SetKind::from_code(code).is_some())
            .count();
        assert_eq!(known, kinds.len());
    }

    #[test]
    fn rows_are_split_where_they_ended() {
        let client = ClientId::new(7).unwrap();
        let mut batch = Batch::new();
        batch.cell(client, Class::Name, Outcome::Clear, 1, 1);
        batch.row_tag(client, 9);
        batch.row_tag(client, 0);
        batch.cell(client, Class::Phone, Outcome::Sealed, 2, 1);
        batch.end_row();
        batch.end_row();
        batch.cell(client, Class::Name, Outcome::Masked, 3, 1);
        batch.end_row();
        assert_eq!(batch.rows(), 3);
        assert_eq!(batch.row(0).len(), 2);
        assert!(batch.row(1).is_empty());
        assert_eq!(batch.row(2)[0].kind, SetKind::Masked(Class::Name));
        assert!(batch.row(3).is_empty());
    }
}
