//! Zip archives, and what is one: documents and spreadsheets.
//!
//! The directory is read by the zip crate; here is checked that its entries cover the file, so that
//! no other reader finds something else in it, and entries are inflated, counted and looked into.

use std::io::{Cursor, Read};

use event::Plain;
use flate2::Crc;
use flate2::bufread::DeflateDecoder;
use zip::result::ZipError;
use zip::{CompressionMethod, ZipArchive};

use crate::{Closed, Work};

const LOCAL: &[u8] = b"PK\x03\x04";
const CENTRAL: &[u8] = b"PK\x01\x02";
const END: &[u8] = b"PK\x05\x06";
const END_64: &[u8] = b"PK\x06\x06";
const LOCATOR_64: &[u8] = b"PK\x06\x07";
/// Lengths of the records without what varies (APPNOTE.TXT 4.3.7, 4.3.12, 4.3.14 to 4.3.16).
const LOCAL_BYTES: usize = 30;
const CENTRAL_BYTES: usize = 46;
const END_64_BYTES: usize = 56;
const LOCATOR_64_BYTES: usize = 20;
const END_BYTES: usize = 22;
/// Lengths of data descriptors, with and without signature, of 4 and 8 bytes a size.
const DESCRIPTOR_BYTES: [usize; 4] = [12, 16, 20, 24];
/// Flags: encrypted, strongly encrypted, directory encrypted; a data descriptor follows.
const FLAGS_ENCRYPTED: u16 = 1 | 1 << 6 | 1 << 13;
const FLAG_DESCRIPTOR: u16 = 1 << 3;
/// Bytes besides zeros in the extra fields of a header: times, owners, sizes; not a list of customers.
const EXTRA_BYTES_MAX: usize = 64;
/// Bytes of what office programs add that is no text, together.
const ADDED_BYTES_MAX: usize = 32 * 1024;

/// Whether a file is an archive by its first bytes.
pub(crate) fn is_one(bytes: &[u8]) -> bool {
    bytes.starts_with(LOCAL) || bytes.starts_with(END)
}

/// What the directory says of an entry.
struct Entry {
    name: Vec<u8>,
    comment: Vec<u8>,
    header: usize,
    central: usize,
    data: usize,
    compressed: usize,
    size: u64,
    crc: u32,
    method: CompressionMethod,
    encrypted: bool,
}

/// Looks into an archive.
pub(crate) fn look(bytes: &[u8], work: &mut Work) -> Result<(), Closed> {
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(|error| closed(&error))?;
    let left = work.entries_left.checked_sub(archive.len());
    work.entries_left = left.ok_or(Closed::TooMuch { what: "entries" })?;
    let mut entries = (0..archive.len())
        .map(|at| entry(&mut archive, at))
        .collect::<Result<Vec<Entry>, Closed>>()?;
    let directory =
        usize::try_from(archive.central_directory_start()).map_err(|_| Closed::Damaged)?;
    entries.sort_unstable_by_key(|entry| entry.central);
    let end = directory_end(bytes, directory, &entries)?;
    check_end(&bytes[end..], archive.comment())?;
    entries.sort_unstable_by_key(|entry| entry.header);
    check_cover(bytes, directory, &entries)?;
    crate::whole_text(archive.comment(), work)?;
    let office = entries
        .iter()
        .any(|entry| matches!(entry.name.as_slice(), b"[Content_Types].xml" | b"mimetype"));
    let mut added_left = if office { ADDED_BYTES_MAX } else { 0 };
    for entry in &entries {
        crate::whole_text(&entry.name, work)?;
        crate::whole_text(&entry.comment, work)?;
        let data = &bytes[entry.data..entry.data + entry.compressed];
        let content = inflate(entry, data, work.text_bytes_left)?;
        let content = content.expose();
        if is_added(&entry.name, content)
            && let Some(left) = added_left.checked_sub(content.len())
        {
            added_left = left;
        } else {
            within(content, work)?;
        }
    }
    Ok(())
}

/// An entry's content: text, or an archive one level further in.
fn within(content: &[u8], work: &mut Work) -> Result<(), Closed> {
    if !is_one(content) {
        return crate::file(content, work);
    }
    let levels = work.levels_left;
    work.levels_left = levels.checked_sub(1).ok_or(Closed::TooMuch {
        what: "levels of archives",
    })?;
    // What is inflated counts, also where it is inflated again.
    let left = work.text_bytes_left.checked_sub(content.len());
    work.text_bytes_left = left.ok_or(Closed::TooMuch { what: "text" })?;
    look(content, work)?;
    work.levels_left = levels;
    Ok(())
}

fn closed(error: &ZipError) -> Closed {
    match error {
        ZipError::UnsupportedArchive(_) => Closed::Unknown,
        _ => Closed::Damaged,
    }
}

fn entry(archive: &mut ZipArchive<Cursor<&[u8]>>, at: usize) -> Result<Entry, Closed> {
    let file = archive.by_index_raw(at).map_err(|error| closed(&error))?;
    let place = |at: u64| usize::try_from(at).map_err(|_| Closed::Damaged);
    Ok(Entry {
        name: file.name_raw().to_vec(),
        comment: file.comment_raw().to_vec(),
        header: place(file.header_start())?,
        central: place(file.central_header_start())?,
        data: place(file.data_start().ok_or(Closed::Damaged)?)?,
        compressed: place(file.compressed_size())?,
        size: file.size(),
        crc: file.crc32(),
        method: file.compression(),
        encrypted: file.encrypted(),
    })
}

/// Whether the directory is made of its entries' headers and nothing else; where it ends.
fn directory_end(bytes: &[u8], start: usize, entries: &[Entry]) -> Result<usize, Closed> {
    let mut at = start;
    for entry in entries {
        let fits = entry.central == at && bytes.get(at..).is_some_and(|it| it.starts_with(CENTRAL));
        if !fits {
            return Err(Closed::Damaged);
        }
        let name = at + CENTRAL_BYTES;
        let extra = name + usize::from(u16_at(bytes, at + 28)?);
        let comment = extra + usize::from(u16_at(bytes, at + 30)?);
        at = comment + usize::from(u16_at(bytes, at + 32)?);
        let fits = bytes.get(name..extra) == Some(&entry.name[..])
            && bytes.get(comment..at) == Some(&entry.comment[..]);
        if !fits || !is_small(bytes.get(extra..comment)) {
            return Err(Closed::Damaged);
        }
    }
    Ok(at)
}

/// Whether what follows the directory is its end, once, up to the end of the file.
fn check_end(mut end: &[u8], comment: &[u8]) -> Result<(), Closed> {
    if end.starts_with(END_64) {
        let locator = end.get(END_64_BYTES..).ok_or(Closed::Damaged)?;
        if !locator.starts_with(LOCATOR_64) {
            return Err(Closed::Damaged);
        }
        end = locator.get(LOCATOR_64_BYTES..).ok_or(Closed::Damaged)?;
    }
    let fits = end.starts_with(END) && end.get(END_BYTES..) == Some(comment);
    if fits { Ok(()) } else { Err(Closed::Damaged) }
}

/// Whether the entries follow each other from the first byte to the directory, and their own headers
/// say what the directory says.
fn check_cover(bytes: &[u8], directory: usize, entries: &[Entry]) -> Result<(), Closed> {
    let mut at = 0;
    for (index, entry) in entries.iter().enumerate() {
        let starts = bytes.get(at..).is_some_and(|it| it.starts_with(LOCAL));
        if entry.header != at || !starts {
            return Err(Closed::Damaged);
        }
        let flags = u16_at(bytes, at + 6)?;
        if entry.encrypted || flags & FLAGS_ENCRYPTED != 0 {
            return Err(Closed::Encrypted);
        }
        let method = match entry.method {
            CompressionMethod::Stored => 0,
            CompressionMethod::Deflated => 8,
            _ => return Err(Closed::Unknown),
        };
        let name = at + LOCAL_BYTES;
        let extra = name + usize::from(u16_at(bytes, at + 26)?);
        let data = extra + usize::from(u16_at(bytes, at + 28)?);
        let same = bytes.get(name..extra) == Some(&entry.name[..])
            && data == entry.data
            && is_small(bytes.get(extra..data))
            && u16_at(bytes, at + 8)? == method;
        let next = entries.get(index + 1).map_or(directory, |next| next.header);
        let end = data.checked_add(entry.compressed).ok_or(Closed::Damaged)?;
        let rest = next.checked_sub(end).ok_or(Closed::Damaged)?;
        let described = flags & FLAG_DESCRIPTOR != 0 && DESCRIPTOR_BYTES.contains(&rest);
        if !same || !(rest == 0 || described) || next > bytes.len() {
            return Err(Closed::Damaged);
        }
        at = next;
    }
    if at == directory {
        Ok(())
    } else {
        Err(Closed::Damaged)
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16, Closed> {
    let two = bytes.get(at..).and_then(<[u8]>::first_chunk);
    two.map(|two| u16::from_le_bytes(*two))
        .ok_or(Closed::Damaged)
}

/// Whether an extra field has little in it; office programs leave room, in zeros.
fn is_small(extra: Option<&[u8]>) -> bool {
    extra.is_some_and(|extra| extra.iter().filter(|byte| **byte != 0).count() <= EXTRA_BYTES_MAX)
}

/// The content of an entry; at most what is left, whatever its header says.
fn inflate(entry: &Entry, data: &[u8], left: usize) -> Result<Plain<Vec<u8>>, Closed> {
    let mut content = Plain::new(Vec::new());
    match entry.method {
        CompressionMethod::Stored if data.len() <= left => {
            content.expose_mut().extend_from_slice(data);
        }
        CompressionMethod::Stored => {}
        CompressionMethod::Deflated => {
            let mut decoder = DeflateDecoder::new(data);
            let most = u64::try_from(left).unwrap_or(u64::MAX).saturating_add(1);
            let read = decoder
                .by_ref()
                .take(most)
                .read_to_end(content.expose_mut());
            read.map_err(|_| Closed::Damaged)?;
            // Bytes after the end of the data would be seen by nobody.
            let all = decoder.total_in() == data.len() as u64;
            if content.expose().len() <= left && !all {
                return Err(Closed::Damaged);
            }
        }
        _ => return Err(Closed::Unknown),
    }
    let length = content.expose().len();
    if length > left || data.len() > left && entry.method == CompressionMethod::Stored {
        return Err(Closed::TooMuch { what: "text" });
    }
    let mut crc = Crc::new();
    crc.update(content.expose());
    if length as u64 != entry.size || crc.sum() != entry.crc {
        return Err(Closed::Damaged);
    }
    Ok(content)
}

/// Whether an entry is one that office programs add of their own accord: a small picture of the
/// first page, the settings of a printer, where lines break.
fn is_added(name: &[u8], content: &[u8]) -> bool {
    let picture = |mark: &[u8]| content.starts_with(mark);
    match name {
        b"Thumbnails/thumbnail.png" => picture(b"\x89PNG"),
        b"docProps/thumbnail.jpeg" => picture(b"\xff\xd8\xff"),
        b"layout-cache" => true,
        _ => {
            let number = name
                .strip_prefix(b"xl/printerSettings/printerSettings")
                .and_then(|rest| rest.strip_suffix(b".bin"));
            number.is_some_and(|it| it.len() <= 3 && it.iter().all(u8::is_ascii_digit))
        }
    }
}
