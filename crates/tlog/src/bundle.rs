//! Entry bundles (C2SP tlog-tiles): each entry behind its length, two bytes big-endian.

/// The longest entry, in bytes.
pub const ENTRY_BYTES_MAX: usize = 65_535;

/// Why entries do not make a bundle, or bytes are none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BundleError {
    /// An entry longer than [`ENTRY_BYTES_MAX`].
    #[error("an entry has at most 65535 bytes, this one has {0}")]
    EntryTooLong(usize),
    /// The bytes end within an entry.
    #[error("the bundle ends within entry {entry}, at byte {at}")]
    CutOff {
        /// The entry's number in the bundle.
        entry: usize,
        /// Where it begins, in bytes.
        at: usize,
    },
    /// Another number of entries than the bundle's width.
    #[error("the bundle has {given} entries, its name says {expected}")]
    Width {
        /// By its name.
        expected: usize,
        /// In its bytes; counted no further than one past `expected`.
        given: usize,
    },
}

/// Puts an entry behind the others.
///
/// # Errors
/// If the entry is too long; nothing is appended then.
pub fn append(bundle: &mut Vec<u8>, entry: &[u8]) -> Result<(), BundleError> {
    let length = u16::try_from(entry.len()).map_err(|_| BundleError::EntryTooLong(entry.len()))?;
    bundle.extend_from_slice(&length.to_be_bytes());
    bundle.extend_from_slice(entry);
    Ok(())
}

/// The entries in a bundle's bytes. After an error nothing follows.
pub fn entries(bytes: &[u8]) -> Entries<'_> {
    Entries {
        rest: bytes,
        entry: 0,
        at: 0,
    }
}

/// All entries of a bundle of a known width, or none.
///
/// # Errors
/// If the bytes are cut off or hold another number of entries.
pub fn exactly(bytes: &[u8], width: u16) -> Result<Vec<&[u8]>, BundleError> {
    let expected = usize::from(width);
    let found: Vec<&[u8]> = entries(bytes)
        .take(expected + 1)
        .collect::<Result<_, _>>()?;
    if found.len() != expected {
        return Err(BundleError::Width {
            expected,
            given: found.len(),
        });
    }
    Ok(found)
}

/// See [`entries`].
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    rest: &'a [u8],
    entry: usize,
    at: usize,
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<&'a [u8], BundleError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let found = self.rest.split_first_chunk().and_then(|(length, rest)| {
            rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
        });
        let Some((entry, rest)) = found else {
            self.rest = &[];
            return Some(Err(BundleError::CutOff {
                entry: self.entry,
                at: self.at,
            }));
        };
        self.rest = rest;
        self.entry += 1;
        self.at += 2 + entry.len();
        Some(Ok(entry))
    }
}

impl std::iter::FusedIterator for Entries<'_> {}
