//! What office programs add to a document of their own accord and is no text: a small picture of the
//! first page, the settings of a printer, where lines break.
//!
//! It is passed over only under its name, in its form, and together up to [`BYTES_MAX`] in a file;
//! what can be read in it is looked into all the same.

/// Bytes of all of it in a file, in the archives of an archive as well.
pub(crate) const BYTES_MAX: usize = 32 * 1024;
/// Where a `DEVMODEW` of Windows has its version, its length, and the length of what its driver adds,
/// behind the device's name of 32 UTF-16 units (Microsoft, wingdi.h).
const VERSION_AT: usize = 64;
const LENGTH_AT: usize = 68;
const DRIVER_LENGTH_AT: usize = 70;
/// The versions of Windows NT, 95 and later: 3.20, 4.0, 4.1.
const VERSIONS: [u16; 3] = [0x0320, 0x0400, 0x0401];
/// What may follow to fill up a multiple of eight.
const FILL_BYTES_MAX: usize = 7;
/// The versions that a layout cache begins with (LibreOffice, sw/source/core/layout/laycache.cxx).
const LAYOUT_CACHE: &[u8] = b"\x01\0\x01\0";

/// Whether an entry of an office document is one of these by its name and form.
pub(crate) fn is_one(name: &[u8], content: &[u8]) -> bool {
    match name {
        b"Thumbnails/thumbnail.png" => content.starts_with(b"\x89PNG\r\n\x1a\n"),
        b"docProps/thumbnail.jpeg" => content.starts_with(b"\xff\xd8\xff"),
        b"layout-cache" => content.starts_with(LAYOUT_CACHE),
        _ => {
            let number = name
                .strip_prefix(b"xl/printerSettings/printerSettings")
                .and_then(|rest| rest.strip_suffix(b".bin"));
            let named = |it: &[u8]| it.len() <= 3 && it.iter().all(u8::is_ascii_digit);
            number.is_some_and(named) && is_device_mode(content)
        }
    }
}

/// Whether the lengths in printer settings are theirs.
fn is_device_mode(content: &[u8]) -> bool {
    let number = |at: usize| {
        let two = content.get(at..)?.first_chunk()?;
        Some(u16::from_le_bytes(*two))
    };
    let lengths = number(LENGTH_AT).zip(number(DRIVER_LENGTH_AT));
    let fill = lengths.and_then(|(length, driver)| {
        content
            .len()
            .checked_sub(usize::from(length) + usize::from(driver))
    });
    number(VERSION_AT).is_some_and(|version| VERSIONS.contains(&version))
        && fill.is_some_and(|fill| fill <= FILL_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_forms() {
        let mut settings = vec![0; 230];
        settings[64..66].copy_from_slice(&0x0401_u16.to_le_bytes());
        settings[68..70].copy_from_slice(&220_u16.to_le_bytes());
        settings[70..72].copy_from_slice(&10_u16.to_le_bytes());
        let name = b"xl/printerSettings/printerSettings12.bin";
        assert!(is_one(name, &settings));
        assert!(!is_one(b"xl/printerSettings/a.bin", &settings));
        assert!(!is_one(name, &[&settings[..], &[0; 8]].concat()));
        assert!(!is_one(name, &settings[..229]));
        assert!(!is_one(name, b"\0\x01\x02"));
        assert!(is_one(b"layout-cache", b"\x01\0\x01\0\0"));
        assert!(!is_one(b"layout-cache", "山田,090-1234-5678".as_bytes()));
        assert!(!is_one(b"Thumbnails/thumbnail.png", b"\x89PNG, 090"));
    }
}
