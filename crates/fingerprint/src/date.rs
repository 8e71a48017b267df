//! Dates of birth for fingerprints.
