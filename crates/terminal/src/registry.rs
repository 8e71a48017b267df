//! Values of a Windows registry: what a policy comes to there, and what an export of one holds.
//!
//! [`Registry::read`] takes the text that `reg export` and `regedit` write (UTF-16LE with its mark, or
//! UTF-8; several files one behind the other will do); [`Registry::to_reg`] writes that form and
//! [`Registry::to_pol`] the form of group policy ([MS-GPREG] section 2.2.1). Keys and names are the
//! same in capitals and small letters, as Windows has it.
//!
//! Fuzz target: [`Registry::read`].

use std::collections::BTreeMap;

/// Longest export that is read, bytes. A whole `HKEY_LOCAL_MACHINE` is longer: export the keys that
/// docs/terminal-evidence.md names.
pub const EXPORT_BYTES_MAX: usize = 32 << 20;
/// Most values of a registry.
pub const VALUES_MAX: usize = 100_000;
/// The hive that all of a policy's keys are in.
pub const MACHINE: &str = "HKEY_LOCAL_MACHINE";

/// Types of values ([MS-RRP] section 2.2.9).
const REG_SZ: u32 = 1;
const REG_EXPAND_SZ: u32 = 2;
const REG_BINARY: u32 = 3;
const REG_DWORD: u32 = 4;
/// `**delvals.`: group policy clears the key before it writes what follows.
const CLEAR: &str = "**delvals.";

/// What a value holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// REG_DWORD.
    Dword(u32),
    /// REG_SZ or REG_EXPAND_SZ.
    Text(String),
    /// Any other type, as it stands there.
    Bytes(u32, Vec<u8>),
}

impl Value {
    /// In a word, for people.
    #[must_use]
    pub fn shown(&self) -> String {
        match self {
            Self::Dword(number) => number.to_string(),
            Self::Text(text) => format!("`{}`", crate::device::clean(text, SHOWN_BYTES_MAX)),
            Self::Bytes(kind, bytes) => format!("{} bytes of type {kind}", bytes.len()),
        }
    }
}

/// Longest text of a value that is shown, bytes.
const SHOWN_BYTES_MAX: usize = 80;

/// Why an export cannot be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadExport {
    /// Longer than [`EXPORT_BYTES_MAX`].
    #[error(
        "the export is longer than {} MiB; export only the keys of the policy",
        EXPORT_BYTES_MAX >> 20
    )]
    TooLong,
    /// More than [`VALUES_MAX`] values.
    #[error("the export holds more than {VALUES_MAX} values; export only the keys of the policy")]
    TooMany,
    /// Neither UTF-16LE with its mark nor UTF-8.
    #[error("the export is neither UTF-16LE nor UTF-8; `reg export` writes UTF-16LE")]
    Encoding,
    /// It does not begin as an export does.
    #[error(
        "it does not begin with `Windows Registry Editor Version 5.00`; it is no export of a registry"
    )]
    Header,
    /// A line of another form.
    #[error("line {line} of the export is no {expected}")]
    Line {
        /// Which, from 1.
        line: usize,
        /// What it should have been.
        expected: &'static str,
    },
}

/// A place: a key and the name of a value in it; the empty name is the key's default value.
type Place = (String, String);

/// Values by their places. Registries are the same whatever the capitals of their places.
#[derive(Clone, Default, Debug)]
pub struct Registry {
    /// By the places in small letters; with the places as they are written.
    values: BTreeMap<Place, (Place, Value)>,
}

fn place(key: &str, name: &str) -> Place {
    (key.to_lowercase(), name.to_lowercase())
}

impl PartialEq for Registry {
    fn eq(&self, other: &Self) -> bool {
        let mut pairs = self.values.iter().zip(&other.values);
        self.len() == other.len() && pairs.all(|((a, (_, x)), (b, (_, y)))| a == b && x == y)
    }
}

impl Eq for Registry {}

impl Registry {
    /// Sets a value; the last one counts. A key keeps its first spelling, as it is one key.
    pub fn set(&mut self, key: &str, name: &str, value: Value) {
        let place = place(key, name);
        let spelled = self
            .values
            .range((place.0.clone(), String::new())..)
            .next()
            .filter(|((of, _), _)| *of == place.0)
            .map_or_else(|| key.to_owned(), |(_, ((key, _), _))| key.clone());
        self.values
            .insert(place, ((spelled, name.to_owned()), value));
    }

    /// A value.
    #[must_use]
    pub fn get(&self, key: &str, name: &str) -> Option<&Value> {
        self.values.get(&place(key, name)).map(|(_, value)| value)
    }

    /// A number.
    #[must_use]
    pub fn dword(&self, key: &str, name: &str) -> Option<u32> {
        match self.get(key, name) {
            Some(Value::Dword(number)) => Some(*number),
            _ => None,
        }
    }

    /// A text.
    #[must_use]
    pub fn text(&self, key: &str, name: &str) -> Option<&str> {
        match self.get(key, name) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// All values: key, name, value; ordered by key and name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str, &Value)> {
        self.values
            .values()
            .map(|((key, name), value)| (key.as_str(), name.as_str(), value))
    }

    /// The values of one key, not of those below it.
    pub fn of_key(&self, key: &str) -> impl Iterator<Item = (&str, &Value)> {
        let key = key.to_lowercase();
        let from = (key.clone(), String::new());
        self.values
            .range(from..)
            .take_while(move |((of, _), _)| *of == key)
            .map(|(_, ((_, name), value))| (name.as_str(), value))
    }

    /// How many values.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Reads an export.
    ///
    /// # Errors
    /// [`BadExport`].
    pub fn read(bytes: &[u8]) -> Result<Self, BadExport> {
        if bytes.len() > EXPORT_BYTES_MAX {
            return Err(BadExport::TooLong);
        }
        let text = decoded(bytes)?;
        let mut reader = Reader {
            rest: text.trim_start_matches(MARK),
            line: 1,
        };
        if !reader.header() {
            return Err(BadExport::Header);
        }
        let mut registry = Self::default();
        let mut key = None;
        while reader.skip_empty() {
            if reader.header() {
                key = None;
            } else if reader.rest.starts_with('[') {
                key = Some(reader.key()?);
            } else {
                let (name, value) = reader.value()?;
                let key: &str = key.as_deref().ok_or(reader.wrong("key in brackets"))?;
                registry.set(key, &name, value);
                if registry.len() > VALUES_MAX {
                    return Err(BadExport::TooMany);
                }
            }
        }
        Ok(registry)
    }

    /// As a file that `reg import` takes: UTF-16LE with its mark. Only numbers and texts, which is
    /// all that policies hold.
    #[must_use]
    pub fn to_reg(&self, comments: &[&str]) -> Vec<u8> {
        let mut text = format!("{HEADER}\r\n\r\n");
        for comment in comments {
            text.push_str(&format!("; {comment}\r\n"));
        }
        let mut open = "";
        for (key, name, value) in self.iter() {
            if !key.eq_ignore_ascii_case(open) {
                text.push_str(&format!("\r\n[{key}]\r\n"));
                open = key;
            }
            let name = match name {
                "" => "@".to_owned(),
                name => quoted(name),
            };
            let value = match value {
                Value::Dword(number) => format!("dword:{number:08x}"),
                Value::Text(text) => quoted(text),
                Value::Bytes(kind, bytes) => {
                    let bytes: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                    format!("hex({kind:x}):{}", bytes.join(","))
                }
            };
            text.push_str(&format!("{name}={value}\r\n"));
        }
        let mut bytes = vec![0xff, 0xfe];
        bytes.extend(utf16(&text));
        bytes
    }

    /// As `Registry.pol` of a group policy object: the keys of [`MACHINE`], the rest is left out.
    /// `lists` are keys whose values are cleared first, so that an entry that is gone is gone there.
    #[must_use]
    pub fn to_pol(&self, lists: &[&str]) -> Vec<u8> {
        let mut bytes = b"PReg\x01\0\0\0".to_vec();
        let mut open = "";
        for (key, name, value) in self.iter() {
            let Some(below) = below_machine(key) else {
                continue;
            };
            let is_new = !key.eq_ignore_ascii_case(open);
            if is_new && lists.iter().any(|list| list.eq_ignore_ascii_case(key)) {
                pol_entry(&mut bytes, below, CLEAR, REG_SZ, &terminated(" "));
            }
            open = key;
            match value {
                Value::Dword(number) => {
                    pol_entry(&mut bytes, below, name, REG_DWORD, &number.to_le_bytes());
                }
                Value::Text(text) => pol_entry(&mut bytes, below, name, REG_SZ, &terminated(text)),
                Value::Bytes(kind, data) => pol_entry(&mut bytes, below, name, *kind, data),
            }
        }
        bytes
    }
}

/// A key below [`MACHINE`].
fn below_machine(key: &str) -> Option<&str> {
    let (hive, below) = key.split_once('\\')?;
    hive.eq_ignore_ascii_case(MACHINE).then_some(below)
}

/// `[key;name;type;size;data]` of [MS-GPREG] section 2.2.1.
fn pol_entry(bytes: &mut Vec<u8>, key: &str, name: &str, kind: u32, data: &[u8]) {
    // A policy's texts are some kilobytes long.
    let size = u32::try_from(data.len()).unwrap_or(u32::MAX);
    bytes.extend(utf16("["));
    bytes.extend(terminated(key));
    bytes.extend(utf16(";"));
    bytes.extend(terminated(name));
    bytes.extend(utf16(";"));
    bytes.extend(kind.to_le_bytes());
    bytes.extend(utf16(";"));
    bytes.extend(size.to_le_bytes());
    bytes.extend(utf16(";"));
    bytes.extend(data);
    bytes.extend(utf16("]"));
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

fn terminated(text: &str) -> Vec<u8> {
    let mut bytes = utf16(text);
    bytes.extend([0, 0]);
    bytes
}

fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{escaped}\"")
}

const HEADER: &str = "Windows Registry Editor Version 5.00";
/// The header of old versions, in the machine's code page.
const HEADER_4: &str = "REGEDIT4";
/// The mark of UTF-16; files that were copied one behind the other have it in between.
const MARK: char = '\u{feff}';

fn decoded(bytes: &[u8]) -> Result<String, BadExport> {
    match bytes {
        [0xff, 0xfe, rest @ ..] => {
            let (pairs, odd) = rest.as_chunks::<2>();
            if !odd.is_empty() {
                return Err(BadExport::Encoding);
            }
            let units = pairs.iter().map(|pair| u16::from_le_bytes(*pair));
            char::decode_utf16(units)
                .collect::<Result<_, _>>()
                .map_err(|_| BadExport::Encoding)
        }
        _ => match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(BadExport::Encoding),
        },
    }
}

/// What of an export is still to be read.
struct Reader<'a> {
    rest: &'a str,
    line: usize,
}

impl<'a> Reader<'a> {
    fn wrong(&self, expected: &'static str) -> BadExport {
        BadExport::Line {
            line: self.line,
            expected,
        }
    }

    /// Takes so many bytes, which end at a border of characters.
    fn take(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(bytes);
        self.line += taken.bytes().filter(|byte| *byte == b'\n').count();
        self.rest = rest;
        taken
    }

    /// Takes what is left of the line, without its end.
    fn take_line(&mut self) -> &'a str {
        let end = self.rest.find('\n').map_or(self.rest.len(), |at| at + 1);
        self.take(end).trim_end_matches(['\r', '\n'])
    }

    fn header(&mut self) -> bool {
        let is_header = [HEADER, HEADER_4]
            .iter()
            .any(|header| self.rest.starts_with(header));
        if is_header {
            self.take_line();
        }
        is_header
    }

    /// Passes over empty lines, comments and marks; `false` at the end.
    fn skip_empty(&mut self) -> bool {
        loop {
            let full = self
                .rest
                .trim_start_matches(|it: char| it.is_whitespace() || it == MARK);
            self.take(self.rest.len() - full.len());
            if !self.rest.starts_with(';') {
                return !self.rest.is_empty();
            }
            self.take_line();
        }
    }

    /// `[HKEY_...\...]`. A key's name may hold brackets, so the last one of the line ends it.
    fn key(&mut self) -> Result<String, BadExport> {
        let wrong = self.wrong("key in brackets");
        let line = self.take_line().trim_end();
        let key = line.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
        match key {
            // `[-KEY]` deletes: no export says that.
            Some(key) if !key.is_empty() && !key.starts_with('-') => Ok(key.to_owned()),
            _ => Err(wrong),
        }
    }

    /// `"name"=value` or `@=value`.
    fn value(&mut self) -> Result<(String, Value), BadExport> {
        let name = match self.rest.strip_prefix('@') {
            Some(_) => {
                self.take(1);
                String::new()
            }
            None => self.quoted()?,
        };
        self.spaces();
        if !self.rest.starts_with('=') {
            return Err(self.wrong("name with its value"));
        }
        self.take(1);
        self.spaces();
        let value = if self.rest.starts_with('"') {
            Value::Text(self.quoted()?)
        } else if self.rest.starts_with("hex") {
            self.bytes()?
        } else {
            let wrong = self.wrong("value");
            let digits = self.take_line().trim();
            let digits = digits.strip_prefix("dword:").ok_or(wrong.clone())?;
            Value::Dword(u32::from_str_radix(digits, 16).map_err(|_| wrong)?)
        };
        Ok((name, value))
    }

    fn spaces(&mut self) {
        let full = self.rest.trim_start_matches([' ', '\t']);
        self.take(self.rest.len() - full.len());
    }

    /// A text in quotation marks; it may go over several lines.
    fn quoted(&mut self) -> Result<String, BadExport> {
        let wrong = self.wrong("text in quotation marks");
        if !self.rest.starts_with('"') {
            return Err(wrong);
        }
        let mut text = String::new();
        let mut escaped = false;
        for (at, letter) in self.rest.char_indices().skip(1) {
            match letter {
                _ if escaped => {
                    text.push(letter);
                    escaped = false;
                }
                '\\' => escaped = true,
                '"' => {
                    self.take(at + 1);
                    return Ok(text);
                }
                _ => text.push(letter),
            }
        }
        Err(wrong)
    }

    /// `hex:01,02` or `hex(2):25,00,\` with more lines.
    fn bytes(&mut self) -> Result<Value, BadExport> {
        let wrong = self.wrong("list of bytes");
        let mut line = self.take_line().trim_end();
        let (kind, first) = line.split_once(':').ok_or(wrong.clone())?;
        let kind = match kind.strip_prefix("hex").map(|kind| kind.trim()) {
            Some("") => REG_BINARY,
            Some(kind) => kind
                .strip_prefix('(')
                .and_then(|kind| kind.strip_suffix(')'))
                .and_then(|kind| u32::from_str_radix(kind, 16).ok())
                .ok_or(wrong.clone())?,
            None => return Err(wrong),
        };
        line = first;
        let mut bytes = Vec::new();
        loop {
            let (digits, goes_on) = match line.strip_suffix('\\') {
                Some(digits) => (digits, true),
                None => (line, false),
            };
            for byte in digits.split(',').map(str::trim).filter(|it| !it.is_empty()) {
                bytes.push(u8::from_str_radix(byte, 16).map_err(|_| wrong.clone())?);
            }
            if !goes_on {
                return Ok(typed(kind, bytes));
            }
            line = self.take_line().trim_end();
        }
    }
}

/// Bytes as what their type says, if they are that.
fn typed(kind: u32, bytes: Vec<u8>) -> Value {
    match kind {
        REG_DWORD => match bytes.as_slice().try_into() {
            Ok(number) => Value::Dword(u32::from_le_bytes(number)),
            Err(_) => Value::Bytes(kind, bytes),
        },
        REG_SZ | REG_EXPAND_SZ => {
            let (pairs, odd) = bytes.as_chunks::<2>();
            let units = pairs.iter().map(|pair| u16::from_le_bytes(*pair));
            match char::decode_utf16(units).collect::<Result<String, _>>() {
                Ok(text) if odd.is_empty() => Value::Text(text.trim_end_matches('\0').to_owned()),
                _ => Value::Bytes(kind, bytes),
            }
        }
        _ => Value::Bytes(kind, bytes),
    }
}

#[cfg(test)]
mod tests;
