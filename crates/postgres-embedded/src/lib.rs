//! postgres-embedded
