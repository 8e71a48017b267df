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

use crate::{Closed, Work, added, decode, extra, text};

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
const DESCRIPTOR: &[u8] = b"PK\x07\x08";
/// Flags: encrypted, strongly encrypted, directory encrypted; a data descriptor follows.
const FLAGS_ENCRYPTED: u16 = 1 | 1 << 6 | 1 << 13;
const FLAG_DESCRIPTOR: u16 = 1 << 3;
/// What a header's size of four bytes is where the size stands in its extra field.
const SIZE_ELSEWHERE: u32 = u32::MAX;

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
    let end = directory_end(bytes, directory, &entries, work)?;
    check_end(&bytes[end..], archive.comment())?;
    entries.sort_unstable_by_key(|entry| entry.header);
    check_cover(bytes, directory, &entries, work)?;
    crate::whole_text(archive.comment(), work)?;
    let office = entries
        .iter()
        .any(|entry| matches!(entry.name.as_slice(), b"[Content_Types].xml" | b"mimetype"));
    for entry in &entries {
        crate::whole_text(&entry.name, work)?;
        crate::whole_text(&entry.comment, work)?;
        let data = &bytes[entry.data..entry.data + entry.compressed];
        let content = inflate(entry, data, work.text_bytes_left)?;
        let content = content.expose();
        if !(office && added::is_one(&entry.name, content) && is_passed(content, work)?) {
            within(content, work)?;
        }
    }
    Ok(())
}

/// Whether what office programs add may be passed over: it is no text, and not much in the whole
/// file. What can be read in it is looked into.
fn is_passed(content: &[u8], work: &mut Work) -> Result<bool, Closed> {
    let left = work.added_left.checked_sub(content.len());
    let (Some(left), false) = (left, decode::is_any(content)?) else {
        return Ok(false);
    };
    work.added_left = left;
    let collector = &mut work.collector;
    decode::pieces(content, &mut |text| text::look(text, collector))?;
    Ok(true)
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
fn directory_end(
    bytes: &[u8],
    start: usize,
    entries: &[Entry],
    work: &mut Work,
) -> Result<usize, Closed> {
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
        if !fits {
            return Err(Closed::Damaged);
        }
        extra::look(bytes.get(extra..comment).ok_or(Closed::Damaged)?, work)?;
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
fn check_cover(
    bytes: &[u8],
    directory: usize,
    entries: &[Entry],
    work: &mut Work,
) -> Result<(), Closed> {
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
            && u16_at(bytes, at + 8)? == method
            && sizes_fit(bytes, at, flags, entry)?;
        let next = entries.get(index + 1).map_or(directory, |next| next.header);
        let end = data.checked_add(entry.compressed).ok_or(Closed::Damaged)?;
        let rest = bytes.get(end..next).ok_or(Closed::Damaged)?;
        let described = flags & FLAG_DESCRIPTOR != 0 && is_descriptor(rest, entry);
        if !same || !(rest.is_empty() || described) {
            return Err(Closed::Damaged);
        }
        extra::look(bytes.get(extra..data).ok_or(Closed::Damaged)?, work)?;
        at = next;
    }
    if at == directory {
        Ok(())
    } else {
        Err(Closed::Damaged)
    }
}

/// Whether an entry's own header says its checksum and sizes, or nothing where they follow the data.
fn sizes_fit(bytes: &[u8], at: usize, flags: u16, entry: &Entry) -> Result<bool, Closed> {
    let later = flags & FLAG_DESCRIPTOR != 0;
    let crc = u32_at(bytes, at + 14)?;
    let fits = |said: u32, size: u64| {
        u64::from(said) == size || said == SIZE_ELSEWHERE || later && said == 0
    };
    Ok((crc == entry.crc || later && crc == 0)
        && fits(u32_at(bytes, at + 18)?, entry.compressed as u64)
        && fits(u32_at(bytes, at + 22)?, entry.size))
}

/// Whether bytes are the checksum and the sizes, of 4 or 8 bytes, with a signature or without.
fn is_descriptor(bytes: &[u8], entry: &Entry) -> bool {
    let compressed = (entry.compressed as u64).to_le_bytes();
    let size = entry.size.to_le_bytes();
    let crc = entry.crc.to_le_bytes();
    [4, 8].into_iter().any(|length| {
        let plain = [&crc, &compressed[..length], &size[..length]].concat();
        bytes == plain || bytes.strip_prefix(DESCRIPTOR) == Some(&plain[..])
    })
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16, Closed> {
    let two = bytes.get(at..).and_then(<[u8]>::first_chunk);
    two.map(|two| u16::from_le_bytes(*two))
        .ok_or(Closed::Damaged)
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32, Closed> {
    let four = bytes.get(at..).and_then(<[u8]>::first_chunk);
    four.map(|four| u32::from_le_bytes(*four))
        .ok_or(Closed::Damaged)
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
