//! The syntax tree: parsing with its bounds, and small helpers to walk it.
//!
//! Invariant: a tree is only given out if the parser found no error and its literals, quoted
//! names and comments are where our own lexer sees them.

use event::Plain;
use squawk_syntax::ast::{self, AstNode};
use squawk_syntax::{SourceFile, SyntaxKind, SyntaxNode, SyntaxToken};

use crate::Refusal;
use crate::lex::{self, Lexer, Token};

/// Longest identifier that PostgreSQL keeps, in bytes.
const NAME_BYTES_MAX: usize = 63;

/// A text that is not nested too deeply, and its tokens.
pub(crate) struct Bounded<'t> {
    pub(crate) text: &'t str,
    lexemes: Vec<lex::Lexeme>,
    /// How deeply it is nested, in levels.
    pub(crate) depth: usize,
}

/// Reads the tokens of a text (with conforming strings) and judges its nesting.
pub(crate) fn bounded(text: &str, depth_max: usize) -> Result<Bounded<'_>, Refusal> {
    let lexemes: Vec<lex::Lexeme> = Lexer::new(text, true).collect();
    let own = lex::depth(text, &lexemes, depth_max)?;
    let depth = own.max(depth_of_bodies(text, &lexemes, depth_max)?);
    Ok(Bounded {
        text,
        lexemes,
        depth,
    })
}

/// Parses a text.
pub(crate) fn parse(bounded: &Bounded<'_>) -> Result<SyntaxNode, Refusal> {
    let Bounded { text, lexemes, .. } = bounded;
    let parse = SourceFile::parse(text);
    let errors = parse.errors();
    if let Some(error) = errors.first() {
        let start = usize::from(error.range().start());
        return Err(unparsed(text, start));
    }
    let root = parse.syntax_node();
    let mut ours = lexemes
        .iter()
        .filter(|lexeme| !matches!(lexeme.token, Token::Word | Token::Other(_)));
    for token in tokens(&root) {
        let quoted = match token.kind() {
            SyntaxKind::IDENT => token.text().ends_with('"'),
            SyntaxKind::COMMENT
            | SyntaxKind::STRING
            | SyntaxKind::ESC_STRING
            | SyntaxKind::UNICODE_ESC_STRING
            | SyntaxKind::NATIONAL_STRING
            | SyntaxKind::BIT_STRING
            | SyntaxKind::BYTE_STRING
            | SyntaxKind::DOLLAR_QUOTED_STRING => true,
            SyntaxKind::ERROR => return Err(unparsed(text, span(&token).0)),
            _ => false,
        };
        if quoted && ours.next().map(|lexeme| (lexeme.start, lexeme.end)) != Some(span(&token)) {
            return Err(unparsed(text, span(&token).0));
        }
    }
    match ours.next() {
        Some(lexeme) => Err(unparsed(text, lexeme.start)),
        None => Ok(root),
    }
}

/// The parser also parses the bodies of functions in SQL, which are string literals.
fn depth_of_bodies(
    text: &str,
    lexemes: &[lex::Lexeme],
    depth_max: usize,
) -> Result<usize, Refusal> {
    let mut deepest = 0;
    let piece = |lexeme: &lex::Lexeme| text.get(lexeme.start..lexeme.end).unwrap_or_default();
    let routine = lexemes.iter().any(|lexeme| {
        let word = piece(lexeme);
        lexeme.token == Token::Word
            && (word.eq_ignore_ascii_case("function") || word.eq_ignore_ascii_case("procedure"))
    });
    for lexeme in lexemes.iter().filter(|_| routine) {
        let raw = piece(lexeme);
        let body = match lexeme.token {
            Token::Plain => lex::decode_plain(between(raw, 1)),
            Token::National => lex::decode_plain(between(raw, 2)),
            Token::Escape => lex::decode_escape(between(raw, 2))?,
            Token::Unicode => lex::decode_unicode(between(raw, 3), '\\')?,
            Token::Dollar => Plain::new(raw.to_owned()),
            _ => continue,
        };
        // A dollar-quoted body would be one token.
        let code = body.expose().trim_matches('$');
        let inner: Vec<lex::Lexeme> = Lexer::new(code, true).collect();
        deepest = deepest.max(lex::depth(code, &inner, depth_max)?);
    }
    Ok(deepest)
}

fn unparsed(text: &str, at: usize) -> Refusal {
    let mut refusal = Refusal::new(
        "42601",
        "syntax error, or syntax that the gate does not know, beside sealed names; not sent",
    );
    refusal.position = Some(position(text, at));
    refusal
}

/// A byte's place in a text, in characters from 1.
pub(crate) fn position(text: &str, byte: usize) -> usize {
    text.char_indices()
        .take_while(|(index, _)| *index < byte)
        .count()
        + 1
}

/// All tokens below a node, in order.
pub(crate) fn tokens(node: &SyntaxNode) -> impl Iterator<Item = SyntaxToken> + use<> {
    node.descendants_with_tokens()
        .filter_map(|element| element.into_token())
}

/// A node's bytes.
pub(crate) fn range(node: &SyntaxNode) -> (usize, usize) {
    let range = node.text_range();
    (range.start().into(), range.end().into())
}

/// A token's bytes.
pub(crate) fn span(token: &SyntaxToken) -> (usize, usize) {
    let range = token.text_range();
    (range.start().into(), range.end().into())
}

/// The first child node of a kind.
pub(crate) fn child(node: &SyntaxNode, kind: SyntaxKind) -> Option<SyntaxNode> {
    node.children().find(|child| child.kind() == kind)
}

/// Whether a node has a token of a kind as its own child.
pub(crate) fn has_token(node: &SyntaxNode, kind: SyntaxKind) -> bool {
    node.children_with_tokens()
        .any(|element| element.kind() == kind)
}

/// Whether a node is an expression.
pub(crate) fn is_expr(node: &SyntaxNode) -> bool {
    ast::Expr::can_cast(node.kind())
}

/// Whether a node is a query that gives rows.
pub(crate) fn is_query(node: &SyntaxNode) -> bool {
    ast::SelectVariant::can_cast(node.kind())
}

/// The expressions among a node's children.
pub(crate) fn exprs(node: &SyntaxNode) -> Vec<SyntaxNode> {
    node.children().filter(is_expr).collect()
}

/// The first expression among a node's children.
pub(crate) fn expr(node: &SyntaxNode) -> Option<SyntaxNode> {
    node.children().find(is_expr)
}

/// A name as PostgreSQL would store it: folded unless quoted, cut to 63 bytes.
pub(crate) fn name(node: &SyntaxNode) -> String {
    let mut text = ast::normalize_name_node(node);
    if text.len() > NAME_BYTES_MAX {
        let mut end = NAME_BYTES_MAX;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
    }
    text
}

/// The name parts of a PATH, PATH_REF or a node around one, outermost first.
pub(crate) fn path(node: &SyntaxNode) -> Vec<String> {
    node.descendants()
        .filter(|part| {
            matches!(
                part.kind(),
                SyntaxKind::PATH_SEGMENT | SyntaxKind::PATH_SEGMENT_REF
            )
        })
        .map(|part| name(&part))
        .collect()
}

/// A name quoted so that `to_regclass` reads it.
pub(crate) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// What a literal node holds.
pub(crate) enum Constant {
    /// A string, decoded.
    Text(Plain<String>),
    /// `$n`.
    Parameter(u16),
    /// NULL.
    Null,
    /// DEFAULT.
    Default,
    /// An integer without sign that fits.
    Integer(u64),
    /// Anything else: other numbers, booleans, bit strings.
    Other,
}

/// Reads a LITERAL node.
pub(crate) fn constant(literal: &SyntaxNode) -> Result<Constant, Refusal> {
    let mut text: Option<Plain<String>> = None;
    let mut kind = None;
    let mut uescape = false;
    let escape = escape_char(literal);
    for token in tokens(literal).filter(|token| !token.kind().is_trivia()) {
        let raw = token.text();
        let piece = match token.kind() {
            SyntaxKind::POSITIONAL_PARAM => {
                let number = raw.get(1..).and_then(|digits| digits.parse().ok());
                return number
                    .filter(|n| *n > 0)
                    .map(Constant::Parameter)
                    .ok_or_else(|| {
                        Refusal::new(
                            "42P02",
                            "there is no such parameter; the greatest is $65535",
                        )
                    });
            }
            SyntaxKind::NULL_KW => return Ok(Constant::Null),
            SyntaxKind::DEFAULT_KW => return Ok(Constant::Default),
            SyntaxKind::INT_NUMBER => {
                return Ok(raw.parse().map_or(Constant::Other, Constant::Integer));
            }
            SyntaxKind::UESCAPE_KW => {
                uescape = true;
                continue;
            }
            SyntaxKind::STRING if uescape => continue,
            SyntaxKind::STRING => match kind {
                Some(SyntaxKind::ESC_STRING) => lex::decode_escape(between(raw, 1))?,
                Some(SyntaxKind::UNICODE_ESC_STRING) => {
                    lex::decode_unicode(between(raw, 1), escape)?
                }
                _ => lex::decode_plain(between(raw, 1)),
            },
            SyntaxKind::ESC_STRING => lex::decode_escape(between(raw, 2))?,
            SyntaxKind::NATIONAL_STRING => lex::decode_plain(between(raw, 2)),
            SyntaxKind::UNICODE_ESC_STRING => lex::decode_unicode(between(raw, 3), escape)?,
            SyntaxKind::DOLLAR_QUOTED_STRING => {
                let tag = raw
                    .get(1..)
                    .and_then(|rest| rest.find('$'))
                    .map_or(0, |tag| tag + 2);
                let end = raw.len().saturating_sub(tag);
                Plain::new(raw.get(tag..end).unwrap_or_default().to_owned())
            }
            _ => return Ok(Constant::Other),
        };
        kind = kind.or(Some(token.kind()));
        match &mut text {
            None => text = Some(piece),
            Some(text) => text.expose_mut().push_str(piece.expose()),
        }
    }
    Ok(text.map_or(Constant::Other, Constant::Text))
}

fn between(raw: &str, prefix: usize) -> &str {
    raw.get(prefix..raw.len().saturating_sub(1))
        .unwrap_or_default()
}

fn escape_char(literal: &SyntaxNode) -> char {
    tokens(literal)
        .skip_while(|token| token.kind() != SyntaxKind::UESCAPE_KW)
        .find(|token| token.kind() == SyntaxKind::STRING)
        .and_then(|token| token.text().chars().nth(1))
        .unwrap_or('\\')
}

/// Drops parentheses around an expression.
pub(crate) fn bare(node: &SyntaxNode) -> SyntaxNode {
    let mut node = node.clone();
    while node.kind() == SyntaxKind::PAREN_EXPR {
        match expr(&node) {
            Some(inner) if !has_query(&node) => node = inner,
            _ => break,
        }
    }
    node
}

fn has_query(node: &SyntaxNode) -> bool {
    node.children().any(|child| is_query(&child))
}
