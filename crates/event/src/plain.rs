//! Personal values in clear.

use std::fmt;

use zeroize::Zeroize;

/// A personal value in clear. It has no `Display` and no `Serialize`, its `Debug` prints
/// `Plain(..)`, and its memory is wiped when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Plain<T: Zeroize>(T);

impl<T: Zeroize> Plain<T> {
    /// Marks a value as personal.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself. Every call is a place to look at in a review: the result must go to a
    /// seal, a fingerprint, or a row that waits for its record.
    pub fn expose(&self) -> &T {
        &self.0
    }

    /// The value itself, to be changed in place.
    pub fn expose_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T: Zeroize> Drop for Plain<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<T: Zeroize> fmt::Debug for Plain<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Plain(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::Plain;

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(
            format!("{:?}", Plain::new("山田 太郎".to_owned())),
            "Plain(..)"
        );
    }
}
