//! What a security team sets. Everything else has a value that its evaluation justifies.

/// What detection is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Cases a day for 1,000 actors, over all detectors but chain, silence and canary, which are never
    /// held back. In proportion, but at least one a day in all.
    pub cases_per_day: u32,
    /// Minutes that the place's days are ahead of UTC; Japan: 540.
    pub offset_minutes: i32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            cases_per_day: 1,
            offset_minutes: 540,
        }
    }
}
