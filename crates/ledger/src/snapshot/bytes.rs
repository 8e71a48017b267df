//! A snapshot's file as blocks, written and read piece by piece with its digest: docs/format/snapshot.md.
//!
//! Never: a panic or more memory than the file has bytes, whatever the bytes.

use std::io;

use aws_lc_rs::digest::{Context, SHA256};
use event::Digest;

use crate::io::{Io, IoFile};

/// Bytes written or read at once.
const CHUNK: usize = 1 << 20;

/// Appends values to a block: numbers little endian, lists and texts behind their length.
pub(crate) trait Put {
    fn u8(&mut self, value: u8);
    fn bool(&mut self, value: bool) {
        self.u8(u8::from(value));
    }
    fn u16(&mut self, value: u16);
    fn u32(&mut self, value: u32);
    fn u64(&mut self, value: u64);
    /// A count or length. What is counted fits in memory; past 2^32 the file would not be read.
    fn count(&mut self, value: usize) {
        self.u32(u32::try_from(value).unwrap_or(u32::MAX));
    }
    fn bytes(&mut self, value: &[u8]);
    fn option<T>(&mut self, value: Option<T>, put: impl FnOnce(&mut Self, T)) {
        self.bool(value.is_some());
        if let Some(value) = value {
            put(self, value);
        }
    }
}

impl Put for Vec<u8> {
    fn u8(&mut self, value: u8) {
        self.push(value);
    }
    fn u16(&mut self, value: u16) {
        self.extend_from_slice(&value.to_le_bytes());
    }
    fn u32(&mut self, value: u32) {
        self.extend_from_slice(&value.to_le_bytes());
    }
    fn u64(&mut self, value: u64) {
        self.extend_from_slice(&value.to_le_bytes());
    }
    fn bytes(&mut self, value: &[u8]) {
        self.count(value.len());
        self.extend_from_slice(value);
    }
}

/// Takes values from a block. `None`: it is malformed.
pub(crate) struct Take<'a>(pub(crate) &'a [u8]);

impl<'a> Take<'a> {
    pub(crate) fn raw(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }
    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.raw(N)?.try_into().ok()
    }
    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }
    pub(crate) fn bool(&mut self) -> Option<bool> {
        match self.u8()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }
    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }
    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }
    pub(crate) fn bytes(&mut self) -> Option<&'a [u8]> {
        let count = self.u32()?;
        self.raw(usize::try_from(count).ok()?)
    }
    pub(crate) fn text(&mut self) -> Option<String> {
        String::from_utf8(self.bytes()?.to_vec()).ok()
    }
    /// `Some(None)`: it says that there is none.
    pub(crate) fn option<T>(
        &mut self,
        take: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Option<Option<T>> {
        if self.bool()? {
            take(self).map(Some)
        } else {
            Some(None)
        }
    }
    /// A list behind its count.
    pub(crate) fn list<T>(
        &mut self,
        mut take: impl FnMut(&mut Self) -> Option<T>,
    ) -> Option<Vec<T>> {
        let count = self.u32()?;
        // Grows with what is there, whatever the count says.
        let mut all = Vec::new();
        for _ in 0..count {
            all.push(take(self)?);
        }
        Some(all)
    }
    /// What was taken, if nothing is left.
    pub(crate) fn end<T>(self, taken: T) -> Option<T> {
        self.0.is_empty().then_some(taken)
    }
}

/// Writes blocks to a file.
pub(crate) struct Writer {
    file: Box<dyn IoFile>,
    at: u64,
    buffer: Vec<u8>,
    digest: Context,
}

impl Writer {
    pub(crate) fn new(file: Box<dyn IoFile>) -> Self {
        Self {
            file,
            at: 0,
            buffer: Vec::new(),
            digest: Context::new(&SHA256),
        }
    }

    /// Bytes without a frame: the header.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.digest.update(bytes);
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= CHUNK {
            self.spill()?;
        }
        Ok(())
    }

    pub(crate) fn block(&mut self, kind: u8, bytes: &[u8]) -> io::Result<()> {
        let length = u32::try_from(bytes.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let mut head = vec![kind];
        head.u32(length);
        self.raw(&head)?;
        self.raw(bytes)
    }

    fn spill(&mut self) -> io::Result<()> {
        self.file.write_at(self.at, &self.buffer)?;
        self.at += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Makes it durable; the digest of all bytes.
    pub(crate) fn finish(mut self) -> io::Result<Digest> {
        self.spill()?;
        self.file.sync_all()?;
        Ok(sum(self.digest))
    }
}

fn sum(digest: Context) -> Digest {
    let mut sum = [0; 32];
    sum.copy_from_slice(digest.finish().as_ref());
    Digest(sum)
}

/// Reads blocks of a file.
pub(crate) struct Source<'a> {
    io: &'a dyn Io,
    name: &'a str,
    at: u64,
    chunk: Vec<u8>,
    /// How far `chunk` was given.
    given: usize,
    digest: Context,
}

impl<'a> Source<'a> {
    pub(crate) fn new(io: &'a dyn Io, name: &'a str) -> Self {
        Self {
            io,
            name,
            at: 0,
            chunk: Vec::new(),
            given: 0,
            digest: Context::new(&SHA256),
        }
    }

    /// The next `count` bytes.
    pub(crate) fn raw(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let mut taken = Vec::new();
        while taken.len() < count {
            if self.given == self.chunk.len() {
                self.chunk = self.io.read_at(self.name, self.at, CHUNK as u64)?;
                self.at += self.chunk.len() as u64;
                self.given = 0;
                if self.chunk.is_empty() {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            let rest = &self.chunk[self.given..];
            let some = &rest[..rest.len().min(count - taken.len())];
            self.digest.update(some);
            taken.extend_from_slice(some);
            self.given += some.len();
        }
        Ok(taken)
    }

    pub(crate) fn block(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let head = self.raw(5)?;
        let mut take = Take(&head);
        let (kind, length) = (take.u8().unwrap_or(0), take.u32().unwrap_or(0));
        Ok((kind, self.raw(length as usize)?))
    }

    /// The digest of all bytes; `None` if some are left.
    pub(crate) fn finish(self) -> io::Result<Option<Digest>> {
        let more =
            self.given < self.chunk.len() || !self.io.read_at(self.name, self.at, 1)?.is_empty();
        Ok((!more).then(|| sum(self.digest)))
    }
}
