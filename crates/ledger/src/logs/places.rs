//! Names: the origin of each log and where its files stand (docs/format/logs.md).

use std::fmt;

use event::{ClientId, LogId};
use tlog::Bundle;

/// A log that leaves the system.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Tree {
    /// The root log.
    Root,
    /// The centre's log, or a client's.
    Log(LogId),
}

impl Tree {
    /// A client's log.
    pub fn client(client: ClientId) -> Self {
        Self::Log(LogId::Client(client))
    }

    /// The folder of its files, with a slash at the end.
    pub fn folder(self) -> String {
        format!("{self}/")
    }
}

impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => f.write_str("root"),
            Self::Log(LogId::Centre) => f.write_str("centre"),
            Self::Log(LogId::Client(client)) => write!(f, "client/{client}"),
        }
    }
}

/// A ledger and the generation of its logs: what origins begin with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Generation {
    /// The ledger's id.
    pub ledger: [u8; 16],
    /// From 1.
    pub number: u32,
}

impl Generation {
    /// The origin of a log's checkpoints: also the name of the keys that sign them.
    pub fn origin(&self, tree: Tree) -> String {
        format!("sekisho/{}/{}/{tree}", hex(&self.ledger), self.number)
    }
}

/// The name of the identity key.
pub fn identity_name(ledger: &[u8; 16]) -> String {
    format!("sekisho/{}/identity", hex(ledger))
}

/// The first line of the list of log keys.
pub fn keys_name(ledger: &[u8; 16]) -> String {
    format!("sekisho/{}/keys", hex(ledger))
}

/// Lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The number of a bundle as tlog-tiles writes it in paths: `x001/x234/067`. Past the number of
/// any log's bundles it is plain.
pub fn number_path(number: u64) -> String {
    let bundle = Bundle::new(number, tlog::TILE_WIDTH).map(|bundle| bundle.to_string());
    let path = bundle
        .as_deref()
        .and_then(|path| path.strip_prefix("tile/entries/"));
    path.map_or_else(|| number.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let generation = Generation {
            ledger: [7; 16],
            number: 2,
        };
        let client = Tree::client(ClientId::new(12).unwrap());
        assert_eq!(
            generation.origin(client),
            "sekisho/07070707070707070707070707070707/2/client/12"
        );
        assert_eq!(Tree::Root.folder(), "root/");
        assert_eq!(number_path(7), "007");
        assert_eq!(number_path(1_234_067), "x001/x234/067");
    }
}
