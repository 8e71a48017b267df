//! Trust policies (C2SP tlog-policy): which logs are known, which witnesses, and which sets of
//! witnesses are enough. Line based; nothing is sent or read by anyone but the parties of one
//! system, yet every byte is checked.
//!
//! Stricter than the specification in one point: names and URLs must be UTF-8 (they are compared as
//! bytes all the same; comments may hold any bytes that the specification allows).

use std::collections::{HashMap, HashSet};
use std::str::FromStr;

use crate::key::{Algorithm, KeyError, VerifierKey};
use crate::note::Verified;

/// The longest policy, in bytes.
pub const POLICY_BYTES_MAX: usize = 1024 * 1024;

/// A policy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Policy {
    logs: Vec<Log>,
    witnesses: Vec<Witness>,
    groups: Vec<Group>,
    quorum: Quorum,
}

/// A log that may sign checkpoints.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Log {
    /// Its key; the name is the log's origin.
    pub key: VerifierKey,
    /// Where it is.
    pub url: Option<String>,
}

/// A witness that may cosign them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Witness {
    /// Its name, in this policy only.
    pub name: String,
    /// Its key.
    pub key: VerifierKey,
    /// Its submission prefix (tlog-witness).
    pub url: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Group {
    threshold: usize,
    members: Vec<Node>,
}

/// A witness or a group of an earlier line, by its number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Node {
    Witness(usize),
    Group(usize),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Quorum {
    None,
    Node(Node),
}

/// Why a policy does not parse.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("line {line} of the policy: {problem}")]
pub struct PolicyError {
    /// From 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a line of a policy.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Problem {
    /// Longer than [`POLICY_BYTES_MAX`].
    #[error("the policy is longer than 1 MiB")]
    TooLong,
    /// A control character other than tab and newline, or DEL.
    #[error("there is a control character")]
    Control,
    /// Not UTF-8 outside of a comment.
    #[error("this is not UTF-8")]
    NotUtf8,
    /// The last line does not end: the file is cut off.
    #[error("the line does not end in a newline: the policy may be cut off")]
    CutOff,
    /// No such kind of line.
    #[error("expected log, witness, group or quorum, or a comment behind #")]
    Keyword,
    /// Too few or too many items.
    #[error("expected: {0}")]
    Form(&'static str),
    /// A key that does not parse, or of the wrong kind.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The same public key on an earlier line of this kind.
    #[error("this public key is on an earlier line already")]
    DuplicateKey,
    /// The name is taken, or reserved.
    #[error("the name {0} is taken already")]
    NameTaken(String),
    /// Not defined on an earlier line.
    #[error("{0} is not defined on an earlier line")]
    Unknown(String),
    /// In a group already.
    #[error("{0} is a member of a group already")]
    MemberTwice(String),
    /// Not `any`, `all` or a number from 1 to the number of members.
    #[error("expected any, all or a number from 1 to {members}")]
    Threshold {
        /// How many members the group has.
        members: usize,
    },
    /// A second quorum line.
    #[error("there is a quorum line already")]
    SecondQuorum,
    /// No quorum line in the whole policy.
    #[error("the policy ends without a quorum line")]
    NoQuorum,
}

const LOG_FORM: &str = "log VKEY [URL]";
const WITNESS_FORM: &str = "witness NAME VKEY [URL]";
const GROUP_FORM: &str = "group NAME any|all|NUMBER MEMBER...";
const QUORUM_FORM: &str = "quorum NAME";

impl Policy {
    /// Reads a policy file.
    ///
    /// # Errors
    /// At the first line that is wrong.
    pub fn parse(bytes: &[u8]) -> Result<Self, PolicyError> {
        let mut parser = Parser::default();
        let last = parser
            .read(bytes)
            .map_err(|(line, problem)| PolicyError { line, problem })?;
        match parser.quorum {
            Some(quorum) => Ok(Self {
                logs: parser.logs,
                witnesses: parser.witnesses,
                groups: parser.groups,
                quorum,
            }),
            None => Err(PolicyError {
                line: last,
                problem: Problem::NoQuorum,
            }),
        }
    }

    /// The logs, in the file's order.
    pub fn logs(&self) -> &[Log] {
        &self.logs
    }

    /// The witnesses, in the file's order.
    pub fn witnesses(&self) -> &[Witness] {
        &self.witnesses
    }

    /// Whether no cosignature is needed (`quorum none`).
    pub fn needs_none(&self) -> bool {
        self.quorum == Quorum::None
    }

    /// All keys, of logs and witnesses: what to open a checkpoint with.
    pub fn keys(&self) -> Vec<VerifierKey> {
        let logs = self.logs.iter().map(|log| &log.key);
        logs.chain(self.witnesses.iter().map(|it| &it.key))
            .cloned()
            .collect()
    }

    /// Whether the witnesses with these names of the policy are enough. Unknown names count nothing.
    pub fn quorum<'a>(&self, cosigned: impl IntoIterator<Item = &'a str>) -> bool {
        let names: HashSet<&str> = cosigned.into_iter().collect();
        self.enough(|witness| names.contains(witness.name.as_str()))
    }

    /// Whether these verified signatures are enough.
    pub fn quorum_of(&self, verified: &[Verified<'_>]) -> bool {
        // A witness's key is of type 0x04: a log's plain signature never equals it.
        let keys: HashSet<&VerifierKey> = verified.iter().map(|it| it.key).collect();
        self.enough(|witness| keys.contains(&witness.key))
    }

    fn enough(&self, cosigned: impl Fn(&Witness) -> bool) -> bool {
        let is = |node: Node, met: &[bool]| match node {
            Node::Witness(number) => cosigned(&self.witnesses[number]),
            Node::Group(number) => met[number],
        };
        // A group's members are on earlier lines: one pass, however deep they nest.
        let mut met = Vec::with_capacity(self.groups.len());
        for group in &self.groups {
            let count = group.members.iter().filter(|it| is(**it, &met)).count();
            met.push(count >= group.threshold);
        }
        match self.quorum {
            Quorum::None => true,
            Quorum::Node(node) => is(node, &met),
        }
    }
}

impl FromStr for Policy {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Self, PolicyError> {
        Self::parse(text.as_bytes())
    }
}

#[derive(Default)]
struct Parser {
    logs: Vec<Log>,
    witnesses: Vec<Witness>,
    groups: Vec<Group>,
    quorum: Option<Quorum>,
    names: HashMap<String, Node>,
    members: HashSet<Node>,
    log_keys: HashSet<[u8; crate::key::KEY_BYTES]>,
    witness_keys: HashSet<[u8; crate::key::KEY_BYTES]>,
}

impl Parser {
    /// Reads all lines; gives the number of the last one.
    fn read(&mut self, bytes: &[u8]) -> Result<usize, (usize, Problem)> {
        if bytes.len() > POLICY_BYTES_MAX {
            return Err((1, Problem::TooLong));
        }
        let mut last = 1;
        for (line, text) in (1..).zip(bytes.split_inclusive(|byte| *byte == b'\n')) {
            last = line;
            self.line(text).map_err(|problem| (line, problem))?;
        }
        Ok(last)
    }

    fn line(&mut self, line: &[u8]) -> Result<(), Problem> {
        let line = line.strip_suffix(b"\n").ok_or(Problem::CutOff)?;
        if line.iter().any(|it| matches!(it, 0..=8 | 10..=31 | 127)) {
            return Err(Problem::Control);
        }
        let blank = |it: &u8| matches!(it, b' ' | b'\t');
        match line.iter().find(|it| !blank(it)) {
            None | Some(b'#') => return Ok(()),
            Some(_) => {}
        }
        let line = std::str::from_utf8(line).map_err(|_| Problem::NotUtf8)?;
        let items: Vec<&str> = line
            .split([' ', '\t'])
            .filter(|it| !it.is_empty())
            .collect();
        match items[..] {
            ["log", ref rest @ ..] => self.log(rest),
            ["witness", ref rest @ ..] => self.witness(rest),
            ["group", ref rest @ ..] => self.group(rest),
            ["quorum", ref rest @ ..] => self.quorum(rest),
            _ => Err(Problem::Keyword),
        }
    }

    fn log(&mut self, items: &[&str]) -> Result<(), Problem> {
        let (vkey, url) = match *items {
            [vkey] => (vkey, None),
            [vkey, url] => (vkey, Some(url.to_owned())),
            _ => return Err(Problem::Form(LOG_FORM)),
        };
        let key = key(vkey, Algorithm::Ed25519)?;
        if !self.log_keys.insert(*key.public()) {
            return Err(Problem::DuplicateKey);
        }
        self.logs.push(Log { key, url });
        Ok(())
    }

    fn witness(&mut self, items: &[&str]) -> Result<(), Problem> {
        let (name, vkey, url) = match *items {
            [name, vkey] => (name, vkey, None),
            [name, vkey, url] => (name, vkey, Some(url.to_owned())),
            _ => return Err(Problem::Form(WITNESS_FORM)),
        };
        let key = key(vkey, Algorithm::CosignatureV1)?;
        if !self.witness_keys.insert(*key.public()) {
            return Err(Problem::DuplicateKey);
        }
        self.name(name, Node::Witness(self.witnesses.len()))?;
        self.witnesses.push(Witness {
            name: name.to_owned(),
            key,
            url,
        });
        Ok(())
    }

    fn group(&mut self, items: &[&str]) -> Result<(), Problem> {
        let [name, threshold, ref members @ ..] = *items else {
            return Err(Problem::Form(GROUP_FORM));
        };
        if members.is_empty() {
            return Err(Problem::Form(GROUP_FORM));
        }
        let threshold = match threshold {
            "any" => 1,
            "all" => members.len(),
            number => crate::text::decimal(number)
                .and_then(|it| usize::try_from(it).ok())
                .filter(|it| (1..=members.len()).contains(it))
                .ok_or(Problem::Threshold {
                    members: members.len(),
                })?,
        };
        let mut nodes = Vec::with_capacity(members.len());
        for member in members {
            let node = self.defined(member)?;
            // So that a witness counts in one way only.
            if !self.members.insert(node) {
                return Err(Problem::MemberTwice((*member).to_owned()));
            }
            nodes.push(node);
        }
        self.name(name, Node::Group(self.groups.len()))?;
        self.groups.push(Group {
            threshold,
            members: nodes,
        });
        Ok(())
    }

    fn quorum(&mut self, items: &[&str]) -> Result<(), Problem> {
        let [name] = *items else {
            return Err(Problem::Form(QUORUM_FORM));
        };
        if self.quorum.is_some() {
            return Err(Problem::SecondQuorum);
        }
        self.quorum = Some(match name {
            "none" => Quorum::None,
            name => Quorum::Node(self.defined(name)?),
        });
        Ok(())
    }

    fn defined(&self, name: &str) -> Result<Node, Problem> {
        let node = self.names.get(name).copied();
        node.ok_or_else(|| Problem::Unknown(name.to_owned()))
    }

    fn name(&mut self, name: &str, node: Node) -> Result<(), Problem> {
        if name == "none" || self.names.contains_key(name) {
            return Err(Problem::NameTaken(name.to_owned()));
        }
        self.names.insert(name.to_owned(), node);
        Ok(())
    }
}

fn key(vkey: &str, needed: Algorithm) -> Result<VerifierKey, Problem> {
    let key: VerifierKey = vkey.parse()?;
    let given = key.algorithm();
    if given != needed {
        return Err(KeyError::OtherAlgorithm { given, needed }.into());
    }
    Ok(key)
}
