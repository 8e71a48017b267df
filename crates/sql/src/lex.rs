//! A small lexer by PostgreSQL's rules (`scan.l`), for three things: to bound the nesting before
//! the parser recurses, to make literals mean the same whatever `standard_conforming_strings` is,
//! and to decode literals.
//!
//! Invariant: what it takes for a literal, a quoted name or a comment has to be the same as what
//! the parser takes for one; `tree::parse` compares them and refuses the text if they differ.

use event::Plain;

use crate::Refusal;

/// What a token is, as far as it matters here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Token {
    /// A key word or a name that is not quoted.
    Word,
    /// `"..."` or `U&"..."`.
    Quoted,
    /// `'...'`.
    Plain,
    /// `E'...'`.
    Escape,
    /// `U&'...'`.
    Unicode,
    /// `N'...'`.
    National,
    /// `B'...'` or `X'...'`.
    Bits,
    /// `$tag$...$tag$`.
    Dollar,
    /// A comment.
    Comment,
    /// One character of anything else, or a number, or `$n`.
    Other(u8),
}

/// A token and its bytes in the text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Lexeme {
    pub(crate) token: Token,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

fn is_name_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

fn is_name(byte: u8) -> bool {
    is_name_start(byte) || byte.is_ascii_digit() || byte == b'$'
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

/// Splits a text into tokens; white space is left out.
pub(crate) struct Lexer<'a> {
    bytes: &'a [u8],
    at: usize,
    conforming: bool,
    /// The last literal, for its continuation on a later line.
    before: Option<Token>,
    newline: bool,
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(text: &'a str, standard_conforming_strings: bool) -> Self {
        Self {
            bytes: text.as_bytes(),
            at: 0,
            conforming: standard_conforming_strings,
            before: None,
            newline: false,
        }
    }

    fn peek(&self, ahead: usize) -> u8 {
        self.bytes.get(self.at + ahead).copied().unwrap_or(0)
    }

    /// After the opening quote: to behind the closing one.
    fn quoted(&mut self, quote: u8, backslashes: bool) {
        while let Some(byte) = self.bytes.get(self.at).copied() {
            self.at += 1;
            if byte == b'\\' && backslashes {
                self.at += 1;
            } else if byte == quote {
                if self.peek(0) != quote {
                    return;
                }
                self.at += 1;
            }
        }
        self.at = self.bytes.len();
    }

    fn comment(&mut self) {
        if self.peek(0) == b'-' {
            while !matches!(self.peek(0), b'\n' | b'\r') && self.at < self.bytes.len() {
                self.at += 1;
            }
            return;
        }
        let mut depth = 0_usize;
        while self.at < self.bytes.len() {
            match (self.peek(0), self.peek(1)) {
                (b'/', b'*') => depth += 1,
                (b'*', b'/') => depth -= 1,
                _ => {
                    self.at += 1;
                    continue;
                }
            }
            self.at += 2;
            if depth == 0 {
                return;
            }
        }
    }

    /// The length of `$tag$` here, if there is one.
    fn dollar_tag(&self) -> Option<usize> {
        let rest = self.bytes.get(self.at + 1..)?;
        if rest.first() == Some(&b'$') {
            return Some(2);
        }
        if !is_name_start(*rest.first()?) {
            return None;
        }
        let length = rest
            .iter()
            .position(|byte| *byte == b'$' || !is_name(*byte))?;
        (rest.get(length) == Some(&b'$')).then_some(length + 2)
    }

    fn dollar(&mut self, tag: usize) {
        let end = self.at + tag;
        let close = self.bytes.get(self.at..end).unwrap_or_default();
        let body = self.bytes.get(end..).unwrap_or_default();
        let found = body.windows(tag).position(|window| window == close);
        self.at = found.map_or(self.bytes.len(), |found| end + found + tag);
    }

    fn word(&mut self) {
        while is_name(self.peek(0)) {
            self.at += 1;
        }
    }

    fn token(&mut self) -> Token {
        let (first, second) = (self.peek(0), self.peek(1));
        let prefixed = match (first, second) {
            (b'e' | b'E', b'\'') => Some((Token::Escape, 2)),
            (b'b' | b'B' | b'x' | b'X', b'\'') => Some((Token::Bits, 2)),
            (b'n' | b'N', b'\'') => Some((Token::National, 2)),
            (b'u' | b'U', b'&') if self.peek(2) == b'\'' => Some((Token::Unicode, 3)),
            (b'u' | b'U', b'&') if self.peek(2) == b'"' => Some((Token::Quoted, 3)),
            (b'\'', _) => Some((Token::Plain, 1)),
            (b'"', _) => Some((Token::Quoted, 1)),
            _ => None,
        };
        if let Some((token, prefix)) = prefixed {
            let continued = self
                .before
                .filter(|_| self.newline && token == Token::Plain);
            self.at += prefix;
            let backslashes = match continued.unwrap_or(token) {
                Token::Escape => true,
                Token::Plain | Token::National => !self.conforming,
                _ => false,
            };
            self.quoted(
                if token == Token::Quoted { b'"' } else { b'\'' },
                backslashes,
            );
            self.before = (token != Token::Quoted).then(|| continued.unwrap_or(token));
            return token;
        }
        match (first, second) {
            (b'-', b'-') | (b'/', b'*') => {
                self.comment();
                return Token::Comment;
            }
            _ => self.before = None,
        }
        if first == b'$'
            && let Some(tag) = self.dollar_tag()
        {
            self.dollar(tag);
            return Token::Dollar;
        }
        if is_name_start(first) {
            self.word();
            return Token::Word;
        }
        self.at += 1;
        if first.is_ascii_digit() || first == b'$' {
            self.word();
        }
        Token::Other(first)
    }
}

impl Iterator for Lexer<'_> {
    type Item = Lexeme;

    fn next(&mut self) -> Option<Lexeme> {
        self.newline = false;
        while self.at < self.bytes.len() && is_space(self.peek(0)) {
            self.newline |= matches!(self.peek(0), b'\n' | b'\r');
            self.at += 1;
        }
        if self.at >= self.bytes.len() {
            return None;
        }
        let start = self.at;
        let token = self.token();
        self.at = self.at.min(self.bytes.len());
        Some(Lexeme {
            token,
            start,
            end: self.at,
        })
    }
}

/// The tokens of a text, its literals made independent of `standard_conforming_strings`: where
/// that is off, `'a\'b'` is written `E'a\'b'`. Also gives the bytes (in the new text) of the
/// inserted letters.
pub(crate) fn conform(text: &str, standard_conforming_strings: bool) -> (String, Vec<usize>) {
    let mut out = String::with_capacity(text.len() + 16);
    let mut inserted = Vec::new();
    if standard_conforming_strings {
        out.push_str(text);
        return (out, inserted);
    }
    let pieces: Vec<Lexeme> = Lexer::new(text, false)
        .filter(|lexeme| lexeme.token != Token::Comment)
        .collect();
    let mut copied = 0;
    for (index, first) in pieces.iter().enumerate() {
        let before = index.checked_sub(1).and_then(|index| pieces.get(index));
        if first.token != Token::Plain
            || before.is_some_and(|before| continues(text, before, first))
        {
            continue;
        }
        let rest = pieces.get(index..).unwrap_or_default();
        let more = rest.windows(2).take_while(|pair| match pair {
            [one, next] => continues(text, one, next),
            _ => false,
        });
        let end = rest.get(more.count()).map_or(first.end, |last| last.end);
        if !text
            .get(first.start..end)
            .is_some_and(|literal| literal.contains('\\'))
        {
            continue;
        }
        out.push_str(text.get(copied..first.start).unwrap_or_default());
        copied = first.start;
        let glued = out
            .bytes()
            .next_back()
            .is_some_and(|byte| is_name(byte) || byte == b'&');
        for letter in if glued { " E" } else { "E" }.chars() {
            inserted.push(out.len());
            out.push(letter);
        }
    }
    out.push_str(text.get(copied..).unwrap_or_default());
    (out, inserted)
}

/// Whether a literal goes on in the next one, on a later line.
fn continues(text: &str, one: &Lexeme, next: &Lexeme) -> bool {
    next.token == Token::Plain
        && matches!(
            one.token,
            Token::Plain | Token::Escape | Token::National | Token::Unicode
        )
        && text
            .get(one.end..next.start)
            .is_some_and(|gap| gap.contains(['\n', '\r']))
}

/// How deeply a text is nested, in levels; refuses more than the parser may be given. `lexemes`
/// are all its tokens.
///
/// The bound is on the depth that a syntax tree could have: open brackets, CASEs, and for every
/// level still open the operators since its last comma.
pub(crate) fn depth(text: &str, lexemes: &[Lexeme], depth_max: usize) -> Result<usize, Refusal> {
    let mut levels: Vec<usize> = vec![0];
    let (mut depth, mut sticky, mut glued) = (0_usize, 0_usize, None);
    let mut deepest = 0;
    for lexeme in lexemes {
        let mut operator = false;
        match lexeme.token {
            Token::Other(open @ (b'(' | b'[')) => {
                // a[1][2] is as deep as it is long.
                if let (b'[', Some(level)) = (open, levels.last_mut()) {
                    *level += 1;
                    depth += 1;
                }
                levels.push(0);
            }
            Token::Other(b')' | b']') if levels.len() > 1 => {
                depth -= levels.pop().unwrap_or(0);
            }
            Token::Other(b',') => {
                if let Some(level) = levels.last_mut() {
                    depth -= std::mem::take(level);
                }
            }
            Token::Other(b';') => {
                levels.clear();
                levels.push(0);
                (depth, sticky) = (0, 0);
            }
            Token::Other(byte) => operator = byte != b'$' && !byte.is_ascii_digit(),
            Token::Word => {
                if let Some(2..=9) = text.get(lexeme.start..lexeme.end).map(str::len) {
                    let word = text.get(lexeme.start..lexeme.end).unwrap_or_default();
                    let one_of =
                        |words: &[&str]| words.iter().any(|w| word.eq_ignore_ascii_case(w));
                    operator = one_of(&[
                        "and", "or", "not", "is", "in", "like", "between", "join", "collate",
                        "isnull", "notnull", "ilike", "at",
                    ]);
                    if one_of(&[
                        "case",
                        "union",
                        "except",
                        "intersect",
                        "array",
                        "explain",
                        "with",
                    ]) {
                        sticky += 1;
                    }
                }
            }
            _ => {}
        }
        let joined = glued == Some(lexeme.start) && lexeme.token != Token::Word;
        if operator && !joined {
            depth += 1;
            if let Some(level) = levels.last_mut() {
                *level += 1;
            }
        }
        let joins =
            operator && !matches!(lexeme.token, Token::Word | Token::Other(b'.' | b'-' | b'+'));
        glued = joins.then_some(lexeme.end);
        deepest = deepest.max(depth + sticky + levels.len());
        if deepest > depth_max {
            return Err(Refusal::new(
                "54001",
                format!(
                    "statement names something sealed and is nested deeper than {depth_max} levels"
                ),
            )
            .hint("split it, or write a long chain of AND or OR as IN (...) or = ANY (...)"));
        }
    }
    Ok(deepest)
}

/// A literal that PostgreSQL would refuse too.
pub(crate) fn undecodable() -> Refusal {
    Refusal::new(
        "22P02",
        "a string literal beside sealed columns cannot be decoded",
    )
    .hint("write it as '...' or E'...' in valid UTF-8, without a zero byte")
}

/// What is between the quotes of `'...'`, without doubled quotes.
pub(crate) fn decode_plain(inner: &str) -> Plain<String> {
    Plain::new(inner.replace("''", "'"))
}

/// Decodes what is between the quotes of `E'...'`.
pub(crate) fn decode_escape(inner: &str) -> Result<Plain<String>, Refusal> {
    let mut out = Plain::new(Vec::<u8>::with_capacity(inner.len()));
    let mut chars = inner.chars().peekable();
    let mut high: Option<u32> = None;
    while let Some(character) = chars.next() {
        if character != '\\' {
            if character == '\'' {
                chars.next();
            }
            push_char(out.expose_mut(), character);
            continue;
        }
        let escaped = chars.next().ok_or_else(undecodable)?;
        match escaped {
            'b' => out.expose_mut().push(8),
            'f' => out.expose_mut().push(12),
            'n' => out.expose_mut().push(b'\n'),
            'r' => out.expose_mut().push(b'\r'),
            't' => out.expose_mut().push(b'\t'),
            'v' => out.expose_mut().push(11),
            '0'..='7' => {
                let mut value = escaped.to_digit(8).unwrap_or(0);
                for _ in 0..2 {
                    let Some(digit) = chars.peek().and_then(|next| next.to_digit(8)) else {
                        break;
                    };
                    chars.next();
                    value = value * 8 + digit;
                }
                out.expose_mut().push((value & 0xff) as u8);
            }
            'x' if chars.peek().is_some_and(char::is_ascii_hexdigit) => {
                let mut value = 0;
                for _ in 0..2 {
                    let Some(digit) = chars.peek().and_then(|next| next.to_digit(16)) else {
                        break;
                    };
                    chars.next();
                    value = value * 16 + digit;
                }
                out.expose_mut().push((value & 0xff) as u8);
            }
            'u' | 'U' => {
                let value = hex(&mut chars, if escaped == 'u' { 4 } else { 8 })?;
                surrogate(&mut high, value, |c| push_char(out.expose_mut(), c))?;
                if high.is_some() && chars.peek() != Some(&'\\') {
                    return Err(undecodable());
                }
                continue;
            }
            other => push_char(out.expose_mut(), other),
        }
        if high.is_some() {
            return Err(undecodable());
        }
    }
    if high.is_some() || out.expose().contains(&0) {
        return Err(undecodable());
    }
    std::str::from_utf8(out.expose())
        .map(|text| Plain::new(text.to_owned()))
        .map_err(|_| undecodable())
}

/// Decodes what is between the quotes of `U&'...'`.
pub(crate) fn decode_unicode(inner: &str, escape: char) -> Result<Plain<String>, Refusal> {
    let mut out = Plain::new(String::with_capacity(inner.len()));
    let mut chars = inner.chars().peekable();
    let mut high: Option<u32> = None;
    while let Some(character) = chars.next() {
        if character == escape && chars.peek() != Some(&escape) {
            let digits = if chars.peek() == Some(&'+') {
                chars.next();
                6
            } else {
                4
            };
            let value = hex(&mut chars, digits)?;
            surrogate(&mut high, value, |c| out.expose_mut().push(c))?;
            continue;
        }
        if high.is_some() {
            return Err(undecodable());
        }
        if character == '\'' || character == escape {
            chars.next();
        }
        out.expose_mut().push(character);
    }
    if high.is_some() || out.expose().contains('\0') {
        return Err(undecodable());
    }
    Ok(out)
}

fn push_char(out: &mut Vec<u8>, character: char) {
    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
}

fn hex(chars: &mut impl Iterator<Item = char>, digits: usize) -> Result<u32, Refusal> {
    let mut value = 0_u32;
    for _ in 0..digits {
        let digit = chars
            .next()
            .and_then(|next| next.to_digit(16))
            .ok_or_else(undecodable)?;
        value = value
            .checked_mul(16)
            .and_then(|v| v.checked_add(digit))
            .ok_or_else(undecodable)?;
    }
    Ok(value)
}

fn surrogate(high: &mut Option<u32>, value: u32, push: impl FnOnce(char)) -> Result<(), Refusal> {
    match (high.take(), value) {
        (None, 0xd800..=0xdbff) => {
            *high = Some(value);
            Ok(())
        }
        (Some(first), 0xdc00..=0xdfff) => {
            let value = 0x10000 + ((first - 0xd800) << 10) + (value - 0xdc00);
            char::from_u32(value).map(push).ok_or_else(undecodable)
        }
        (None, _) if value != 0 => char::from_u32(value).map(push).ok_or_else(undecodable),
        _ => Err(undecodable()),
    }
}

/// Reads an array literal of one dimension, such as `{a,"b c",NULL}`. `None`: it is none.
pub(crate) fn array_elements(text: &str) -> Option<Vec<Option<Plain<String>>>> {
    let inner = text.trim_matches(|c: char| c.is_ascii() && is_space(c as u8));
    let inner = inner.strip_prefix('{')?.strip_suffix('}')?;
    let mut out = Vec::new();
    let mut chars = inner.chars().peekable();
    let space = |c: &char| c.is_ascii() && is_space(*c as u8);
    while chars.next_if(space).is_some() {}
    if chars.peek().is_none() {
        return Some(out);
    }
    loop {
        let mut element = Plain::new(String::new());
        let (mut quoted, mut closed, mut kept) = (false, false, 0);
        loop {
            match chars.peek().copied() {
                None | Some(',') => break,
                Some('{' | '}') => return None,
                Some('"') => {
                    if quoted || !element.expose().is_empty() {
                        return None;
                    }
                    quoted = true;
                    chars.next();
                    loop {
                        match chars.next()? {
                            '"' => break,
                            '\\' => element.expose_mut().push(chars.next()?),
                            other => element.expose_mut().push(other),
                        }
                    }
                    closed = true;
                    kept = element.expose().len();
                }
                Some(next) if space(&next) => {
                    chars.next();
                    if !closed && !element.expose().is_empty() {
                        element.expose_mut().push(next);
                    }
                }
                Some(_) if closed => return None,
                Some('\\') => {
                    chars.next();
                    element.expose_mut().push(chars.next()?);
                    kept = element.expose().len();
                }
                Some(next) => {
                    chars.next();
                    element.expose_mut().push(next);
                    kept = element.expose().len();
                }
            }
        }
        element.expose_mut().truncate(kept);
        if !quoted && element.expose().is_empty() {
            return None;
        }
        let null = !quoted && element.expose().eq_ignore_ascii_case("null");
        out.push((!null).then_some(element));
        if chars.next().is_none() {
            return Some(out);
        }
    }
}
