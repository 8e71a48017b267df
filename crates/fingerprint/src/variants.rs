//! Variant characters.
