//! The light normaliser.
use event::{Class, Plain};

/// Version of [`normalise`]; part of every fingerprint.
pub const NORMALISER_VERSION: u8 = 1;

/// The light form of a value that its fingerprint is made of.
pub fn normalise(class: Class, value: &str) -> Plain<String> {
    match crate::canonical(class, value) {
        Ok(value) => value,
        Err(_) => Plain::new(value.to_owned()),
    }
}
