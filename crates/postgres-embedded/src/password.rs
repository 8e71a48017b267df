//! Passwords of the server's roles. They are made here and handed out; they are never printed.

use std::fmt;
use std::io;

use zeroize::Zeroizing;

/// A password. `Debug` prints `Password(..)`; its memory is wiped when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Zeroizing<String>);

impl Password {
    /// Takes a password that was kept from an earlier run.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// 192 random bits, in 48 hexadecimal digits.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn random() -> io::Result<Self> {
        let mut bytes = Zeroizing::new([0u8; 24]);
        aws_lc_rs::rand::fill(bytes.as_mut())
            .map_err(|_| io::Error::other("the system gives no randomness"))?;
        let mut text = Zeroizing::new(String::with_capacity(48));
        for byte in bytes.iter() {
            text.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or('0'));
            text.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or('0'));
        }
        Ok(Self(text))
    }

    /// The password itself, for a connection or a file that only its owner reads.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::Password;

    #[test]
    fn random_ones_differ_and_debug_shows_nothing() {
        let (a, b) = (Password::random().unwrap(), Password::random().unwrap());
        assert_ne!(a.expose(), b.expose());
        assert_eq!(a.expose().len(), 48);
        assert_eq!(format!("{a:?}"), "Password(..)");
    }
}
