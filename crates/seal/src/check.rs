//! The CHECK constraint that declares a column sealed.
//!
//! It is the last net, not the first (DESIGN.md invariant 3): the gate refuses before it sends.
//! PostgreSQL stores the expression parsed, so names are resolved once, when it is made; they are
//! qualified so that nobody's search_path has a say in that, and `pg_dump` writes them back.

use base64_simd::URL_SAFE_NO_PAD;
use event::{ClientSource, Mode, Sealing};

use crate::cell::{CELL_PREFIX, CELL_VERSION, cell_lengths};
use crate::keyfile::client_bytes;

/// The expression between the parentheses of `CHECK (...)` for a sealed column.
///
/// True for NULL and for text that is, as far as SQL can tell, a cell of this class, domain, mode,
/// version, and of the row's client: prefix, header, length and alphabet. What it cannot tell is
/// whether it opens. `column` is the name as in `pg_attribute`; a client column has to be of type
/// smallint, integer or bigint, and is required to be 1 to 2^24 - 1 where the column is not NULL.
pub fn check_expression(column: &str, sealing: &Sealing, client: &ClientSource) -> String {
    let cell = format!("{} COLLATE pg_catalog.\"C\"", quoted(column));
    let substring =
        |start: usize, length: usize| format!("pg_catalog.substr({cell}, {start}, {length})");
    let [high, low] = sealing.domain.0.to_be_bytes();
    let class = URL_SAFE_NO_PAD.encode_to_string([sealing.class.code(), high, low]);
    let mut prefix = format!("{CELL_PREFIX}{class}");
    let mut tests = Vec::new();
    let client_at = prefix.len() + 1;
    match client {
        ClientSource::Fixed(client) => {
            prefix += &URL_SAFE_NO_PAD.encode_to_string(client_bytes(*client));
        }
        ClientSource::Scope => {}
        ClientSource::Column(name) => {
            let number = quoted(name);
            tests.push(format!(
                "{number} IS NOT NULL AND {number} OPERATOR(pg_catalog.>=) 1 \
                 AND {number} OPERATOR(pg_catalog.<=) 16777215"
            ));
            tests.push(format!(
                "{} OPERATOR(pg_catalog.=) pg_catalog.translate(pg_catalog.encode(\
                 pg_catalog.substr(pg_catalog.int4send({number}::pg_catalog.int4), 2), \
                 'base64'), '+/', '-_')",
                substring(client_at, 4)
            ));
        }
    }
    tests.insert(
        0,
        format!(
            "{} OPERATOR(pg_catalog.=) '{prefix}'",
            substring(1, prefix.len())
        ),
    );
    tests.push(version_and_mode(sealing.mode, &cell));
    let lengths: Vec<_> = cell_lengths(sealing.class).map(|l| l.to_string()).collect();
    tests.push(format!(
        "pg_catalog.octet_length({cell}) OPERATOR(pg_catalog.=) ANY (ARRAY[{}])",
        lengths.join(", ")
    ));
    format!("{} IS NULL OR ({})", quoted(column), tests.join(" AND "))
}

/// Version, any epoch, mode, and the alphabet of all that follows.
fn version_and_mode(mode: Mode, cell: &str) -> String {
    // Four characters hold version (8 bits), epoch (8), mode (8): the first is the version's high
    // six bits; the second its low two and the epoch's high four; the third the epoch's low four
    // and two zeros; the last the mode.
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let at = |place: u8| &ALPHABET[usize::from(place)..=usize::from(place)];
    let low = usize::from(CELL_VERSION & 3) << 4;
    let first = at(CELL_VERSION >> 2);
    let second = &ALPHABET[low..low + 16];
    let third: String = (0..16).map(|nibble| at(nibble << 2)).collect();
    let fourth = at(mode.code());
    format!(
        "{cell} OPERATOR(pg_catalog.~) \
         '^sealed:.{{8}}{first}[{second}][{third}]{fourth}[A-Za-z0-9_-]+$'"
    )
}

/// A quoted identifier.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
