//! Names and paths of docs/format/logs.md.

use std::fmt;

use event::LogId;
use tlog::Bundle;

/// A log that leaves the system.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Tree {
    /// The root log.
    Root,
    /// The centre's log or a client's.
    Log(LogId),
}

impl fmt::Display for Tree {
    /// The folder in which its files are; the last part of its origin.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => f.write_str("root"),
            Self::Log(LogId::Centre) => f.write_str("centre"),
            Self::Log(LogId::Client(client)) => write!(f, "client/{client}"),
        }
    }
}

impl serde::Serialize for Tree {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// The list of log keys.
pub const KEYS: &str = "keys";
/// The longest list of keys, checkpoint or note, in bytes.
pub const NOTE_BYTES_MAX: u64 = tlog::NOTE_BYTES_MAX as u64;
/// The longest file of a day's cosigned checkpoints, in bytes.
pub const COSIGNED_BYTES_MAX: u64 = 64 << 20;
/// The longest entry bundle: 256 entries of 65,535 bytes with their lengths.
pub const BUNDLE_BYTES_MAX: u64 = 256 * 65_537;
/// The longest file of lists beside a bundle: 256 attachments of a frame (a segment is shorter).
pub const LISTS_BYTES_MAX: u64 = 512 << 20;

/// Bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The origin of a log's checkpoints, and the name of the keys that sign them.
pub fn origin(ledger: &[u8; 16], generation: u32, tree: Tree) -> String {
    format!("sekisho/{}/{generation}/{tree}", hex(ledger))
}

/// The path of a checkpoint.
pub fn checkpoint(tree: Tree) -> String {
    format!("{tree}/checkpoint")
}

/// The path of a tile, or of an entry bundle.
pub fn tiles(tree: Tree, tile: impl fmt::Display) -> String {
    format!("{tree}/{tile}")
}

/// The path of a client's minimum: entries below are published no more, but for the first bundle.
pub fn minimum(tree: Tree) -> String {
    format!("{tree}/minimum")
}

/// The path of slot proofs for a bundle of the root log.
pub fn slots(tree: Tree, bundle: Bundle) -> String {
    format!("{tree}/slots/{}", number(bundle))
}

/// The path of the lists beside a bundle.
pub fn lists(tree: Tree, bundle: Bundle) -> String {
    format!("{tree}/lists/{}", number(bundle.full()))
}

/// The path of a month's list key. `month`: yyyymm.
pub fn month_key(tree: Tree, month: u32) -> String {
    format!("{tree}/lists/{month:06}.key")
}

/// The path of a day's cosigned root checkpoints. `day`: since 1970-01-01, UTC.
pub fn cosigned(day: u64) -> String {
    format!("root/cosigned/{}", crate::time::Date::of_day(day).compact())
}

/// What follows `tile/entries/`.
fn number(bundle: Bundle) -> String {
    let path = bundle.to_string();
    let number = path.strip_prefix("tile/entries/");
    number.expect("paths of bundles begin so").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let client = Tree::Log(LogId::from_number(12).unwrap());
        let bundle = Bundle::new(1_234_067, 8).unwrap();
        assert_eq!(slots(client, bundle), "client/12/slots/x001/x234/067.p/8");
        assert_eq!(lists(client, bundle), "client/12/lists/x001/x234/067");
        assert_eq!(cosigned(19_782), "root/cosigned/20240229");
        assert_eq!(month_key(client, 202_611), "client/12/lists/202611.key");
    }
}
