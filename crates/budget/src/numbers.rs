//! The numbers in force: limits of every budget, for each role. See docs/format/numbers.md.
//!
//! The canonical form is TOML that people read. Nothing has a default in the file: every limit is
//! written, `"unlimited"` included; a role that is left out has no budget at all.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use event::Role;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::Window;

/// How many distinct units each window may hold; `None`: no limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// In any 60 minutes.
    pub hour: Option<u64>,
    /// In any 24 hours.
    pub day: Option<u64>,
    /// In any 30 days.
    pub month: Option<u64>,
    /// Since the ledger began.
    pub all: Option<u64>,
}

impl Limits {
    /// Nothing at all.
    pub const ZERO: Self = Self::new(0, 0, 0, 0);

    /// A limit in every window.
    pub const fn new(hour: u64, day: u64, month: u64, all: u64) -> Self {
        Self {
            hour: Some(hour),
            day: Some(day),
            month: Some(month),
            all: Some(all),
        }
    }

    /// No limit over all time.
    pub const fn renewing(hour: u64, day: u64, month: u64) -> Self {
        Self {
            hour: Some(hour),
            day: Some(day),
            month: Some(month),
            all: None,
        }
    }

    /// The limit of a window; `None`: no limit.
    pub fn window(&self, window: Window) -> Option<u64> {
        match window {
            Window::Hour => self.hour,
            Window::Day => self.day,
            Window::Month => self.month,
            Window::All => self.all,
        }
    }

    fn window_mut(&mut self, window: Window) -> &mut Option<u64> {
        match window {
            Window::Hour => &mut self.hour,
            Window::Day => &mut self.day,
            Window::Month => &mut self.month,
            Window::All => &mut self.all,
        }
    }

    /// Whether a limit is greater than the other's, or missing where the other has one.
    pub fn looser_than(&self, other: &Self) -> bool {
        Window::ALL
            .into_iter()
            .any(|window| match (self.window(window), other.window(window)) {
                (Some(mine), Some(theirs)) => mine > theirs,
                (None, Some(_)) => true,
                (_, None) => false,
            })
    }
}

/// The numbers of an actor's role.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RoleNumbers {
    /// Distinct subjects in clear, for each client.
    pub subjects_per_client: Limits,
    /// Distinct subjects in clear: the sum over all clients.
    pub subjects: Limits,
    /// Distinct values probed, for each client.
    pub probes_per_client: Limits,
    /// Distinct values probed; one probed over several clients counts once.
    pub probes: Limits,
    /// Distinct masked values, for each client.
    pub masked_per_client: Limits,
    /// Distinct masked values: the sum over all clients.
    pub masked: Limits,
    /// Distinct values that one statement may probe.
    pub statement_probes_max: u32,
}

impl RoleNumbers {
    /// Nothing at all: what a role that is not in the file has.
    pub const ZERO: Self = Self {
        subjects_per_client: Limits::ZERO,
        subjects: Limits::ZERO,
        probes_per_client: Limits::ZERO,
        probes: Limits::ZERO,
        masked_per_client: Limits::ZERO,
        masked: Limits::ZERO,
        statement_probes_max: 0,
    };

    fn limits(&self) -> [(&'static str, &Limits); 6] {
        [
            ("subjects_per_client", &self.subjects_per_client),
            ("subjects", &self.subjects),
            ("probes_per_client", &self.probes_per_client),
            ("probes", &self.probes),
            ("masked_per_client", &self.masked_per_client),
            ("masked", &self.masked),
        ]
    }

    fn looser_than(&self, other: &Self) -> bool {
        self.statement_probes_max > other.statement_probes_max
            || self
                .limits()
                .iter()
                .zip(other.limits())
                .any(|((_, a), (_, b))| a.looser_than(b))
    }
}

/// The numbers of each client over all actors: sums.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClientNumbers {
    /// Distinct subjects in clear.
    pub subjects: Limits,
    /// Distinct values probed.
    pub probes: Limits,
    /// Distinct masked values.
    pub masked: Limits,
}

impl ClientNumbers {
    fn limits(&self) -> [(&'static str, &Limits); 3] {
        [
            ("subjects", &self.subjects),
            ("probes", &self.probes),
            ("masked", &self.masked),
        ]
    }
}

/// All numbers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Numbers {
    /// Entries that all budgets together remember, 17 to 34 bytes each; past it everything new
    /// counts as new each time.
    pub entries_max: u64,
    /// So many bytes of free text (UTF-8) count as one subject; at least 1.
    pub free_text_bytes_per_subject: u32,
    /// For each client, over all actors.
    pub client: ClientNumbers,
    /// For each role; a role that is missing has [`RoleNumbers::ZERO`].
    pub roles: BTreeMap<Role, RoleNumbers>,
}

/// Why a text is not numbers.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("numbers, line {line}: `{key}`: {problem}; allowed: {allowed}")]
pub struct NumbersError {
    /// The line, from 1.
    pub line: usize,
    /// The key, with the tables it stands in: `role.operator.subjects.hour`.
    pub key: String,
    /// What is wrong.
    pub problem: String,
    /// What would be right.
    pub allowed: String,
}

impl Default for Numbers {
    /// What `sekisho init` proposes.
    fn default() -> Self {
        let operator = RoleNumbers {
            subjects_per_client: Limits::new(60, 300, 3_000, 20_000),
            subjects: Limits::new(80, 400, 5_000, 50_000),
            probes_per_client: Limits::renewing(120, 600, 6_000),
            probes: Limits::renewing(160, 800, 10_000),
            masked_per_client: Limits::renewing(300, 1_500, 15_000),
            masked: Limits::renewing(400, 2_000, 20_000),
            statement_probes_max: 16,
        };
        let supervisor = RoleNumbers {
            subjects_per_client: Limits::new(100, 500, 5_000, 30_000),
            subjects: Limits::new(150, 800, 8_000, 80_000),
            statement_probes_max: 32,
            ..operator
        };
        let client_officer = RoleNumbers {
            masked_per_client: Limits::renewing(300, 1_500, 15_000),
            masked: Limits::renewing(300, 1_500, 15_000),
            ..RoleNumbers::ZERO
        };
        let of = |role| match role {
            Role::Operator => operator,
            Role::Supervisor => supervisor,
            Role::ClientOfficer => client_officer,
            _ => RoleNumbers::ZERO,
        };
        Self {
            entries_max: 20_000_000,
            free_text_bytes_per_subject: 600,
            client: ClientNumbers {
                subjects: Limits::renewing(2_000, 10_000, 100_000),
                probes: Limits::renewing(4_000, 20_000, 200_000),
                masked: Limits::renewing(10_000, 50_000, 500_000),
            },
            roles: Role::ALL.iter().map(|&role| (role, of(role))).collect(),
        }
    }
}

impl Numbers {
    /// The numbers of a role.
    pub fn role(&self, role: Role) -> &RoleNumbers {
        self.roles.get(&role).unwrap_or(&RoleNumbers::ZERO)
    }

    /// How many subjects a free text of so many bytes counts for: at least one.
    pub fn free_text_weight(&self, bytes: usize) -> u32 {
        let weight = bytes.div_ceil(self.free_text_bytes_per_subject.max(1) as usize);
        u32::try_from(weight).unwrap_or(u32::MAX).max(1)
    }

    /// Whether any number is greater, or a limit missing that the other has.
    pub fn looser_than(&self, other: &Self) -> bool {
        let client = self.client.limits().into_iter().zip(other.client.limits());
        self.entries_max > other.entries_max
            || self.free_text_bytes_per_subject > other.free_text_bytes_per_subject
            || client
                .into_iter()
                .any(|((_, mine), (_, theirs))| mine.looser_than(theirs))
            || Role::ALL
                .iter()
                .any(|&role| self.role(role).looser_than(other.role(role)))
    }

    /// The canonical text. `parse` gives the same numbers back.
    pub fn to_toml(&self) -> String {
        let mut out = String::from(HEAD);
        let _ = write!(out, "{ENTRIES}entries_max = {}\n\n", self.entries_max);
        let bytes = self.free_text_bytes_per_subject;
        let _ = write!(out, "{FREE_TEXT}free_text_bytes_per_subject = {bytes}\n\n");
        let _ = writeln!(out, "{CLIENT}[client]");
        write_limits(&mut out, &self.client.limits());
        out.push_str(ROLES);
        for (role, numbers) in &self.roles {
            let _ = writeln!(out, "\n[role.{role}]");
            write_limits(&mut out, &numbers.limits());
            let _ = writeln!(
                out,
                "statement_probes_max = {}",
                numbers.statement_probes_max
            );
        }
        out
    }

    /// Reads numbers. Each key is required, except whole roles; unknown keys are errors.
    pub fn parse(text: &str) -> Result<Self, NumbersError> {
        let reader = Reader { text };
        let root = DeTable::parse(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            reader.error(
                at,
                "(the file)",
                error.message(),
                "TOML as `sekisho init` writes it",
            )
        })?;
        let at = root.span().start;
        let root = root.get_ref();
        reader.known(
            "",
            root,
            &[
                "entries_max",
                "free_text_bytes_per_subject",
                "client",
                "role",
            ],
        )?;
        let entries_max = reader.number("", at, root, "entries_max", 0, MAX)?;
        let bytes = reader.number(
            "",
            at,
            root,
            "free_text_bytes_per_subject",
            1,
            u32::MAX.into(),
        )?;
        let (at_client, client) = reader.table("", at, root, "client")?;
        reader.known("client.", client, &["subjects", "probes", "masked"])?;
        let limits = |key| reader.limits("client.", at_client, client, key);
        let client = ClientNumbers {
            subjects: limits("subjects")?,
            probes: limits("probes")?,
            masked: limits("masked")?,
        };
        let (_, role_table) = reader.table("", at, root, "role")?;
        let mut roles = BTreeMap::new();
        for (name, value) in role_table {
            let role: Role = name
                .get_ref()
                .parse()
                .map_err(|error: event::UnknownCode| {
                    let key = format!("role.{}", name.get_ref());
                    reader.error(name.span().start, &key, "no such role", &error.allowed)
                })?;
            roles.insert(role, reader.role(role, name.span().start, value)?);
        }
        Ok(Self {
            entries_max,
            free_text_bytes_per_subject: u32::try_from(bytes).unwrap_or(u32::MAX),
            client,
            roles,
        })
    }
}

/// TOML's integers are signed.
const MAX: u64 = i64::MAX as u64;

const HEAD: &str = "\
# Numbers of Sekisho: how many distinct subjects, probes and masked values.
# Windows slide: `hour` means in any 60 minutes. `all` counts since the ledger began.
# A limit is a whole number from 0, or \"unlimited\".
# A greater number comes into force only with the signatures of two approvers.

";
const ENTRIES: &str = "\
# Memory: entries that all budgets together remember, about 34 bytes each at most.
# Past it, everything that is not remembered counts as new each time.
";
const FREE_TEXT: &str = "\
# So many bytes of free text count as one subject: a note can hold many people.
";
const CLIENT: &str = "\
# For each client, over all actors together.
";
const ROLES: &str = "
# For each role: for one client (`.._per_client`) and over all clients.
# A probe is a value searched for, or sealed on the way in. A masked value is 090-****-1234.
# A role that is left out, or has zeroes, gets nothing. Maintainers, administrators and approvers
# get nothing whatever stands here: the policy denies them first.
";

fn write_limits(out: &mut String, limits: &[(&str, &Limits)]) {
    for (key, limits) in limits {
        let _ = write!(out, "{key} = {{ ");
        for (index, window) in Window::ALL.into_iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            let _ = write!(out, "{comma}{} = ", key_of(window));
            let _ = match limits.window(window) {
                Some(number) => write!(out, "{number}"),
                None => write!(out, "\"unlimited\""),
            };
        }
        out.push_str(" }\n");
    }
}

fn key_of(window: Window) -> &'static str {
    match window {
        Window::Hour => "hour",
        Window::Day => "day",
        Window::Month => "month",
        Window::All => "all",
    }
}

/// Reads values, and says where they stand when they are wrong.
struct Reader<'a> {
    text: &'a str,
}

impl Reader<'_> {
    fn error(&self, at: usize, key: &str, problem: &str, allowed: &str) -> NumbersError {
        let before = self.text.as_bytes().iter().take(at);
        NumbersError {
            line: 1 + before.filter(|&&byte| byte == b'\n').count(),
            key: key.to_owned(),
            problem: problem.to_owned(),
            allowed: allowed.to_owned(),
        }
    }

    /// Refuses keys that mean nothing.
    fn known(&self, prefix: &str, table: &DeTable<'_>, keys: &[&str]) -> Result<(), NumbersError> {
        match table
            .keys()
            .find(|key| !keys.contains(&key.get_ref().as_ref()))
        {
            None => Ok(()),
            Some(key) => {
                let name = format!("{prefix}{}", key.get_ref());
                Err(self.error(key.span().start, &name, "unknown key", &keys.join(", ")))
            }
        }
    }

    fn get<'t, 'd>(
        &self,
        prefix: &str,
        at: usize,
        table: &'t DeTable<'d>,
        key: &str,
        allowed: &str,
    ) -> Result<&'t Spanned<DeValue<'d>>, NumbersError> {
        table
            .get(key)
            .ok_or_else(|| self.error(at, &format!("{prefix}{key}"), "is missing", allowed))
    }

    fn table<'t, 'd>(
        &self,
        prefix: &str,
        at: usize,
        table: &'t DeTable<'d>,
        key: &str,
    ) -> Result<(usize, &'t DeTable<'d>), NumbersError> {
        let value = self.get(prefix, at, table, key, "a table")?;
        match value.get_ref() {
            DeValue::Table(table) => Ok((value.span().start, table)),
            _ => {
                let key = format!("{prefix}{key}");
                Err(self.error(value.span().start, &key, "is not a table", "a table"))
            }
        }
    }

    fn number(
        &self,
        prefix: &str,
        at: usize,
        table: &DeTable<'_>,
        key: &str,
        min: u64,
        max: u64,
    ) -> Result<u64, NumbersError> {
        let allowed = format!("a whole number from {min} to {max}");
        let value = self.get(prefix, at, table, key, &allowed)?;
        whole(value.get_ref())
            .filter(|number| (min..=max).contains(number))
            .ok_or_else(|| {
                let key = format!("{prefix}{key}");
                self.error(value.span().start, &key, "is not such a number", &allowed)
            })
    }

    fn limits(
        &self,
        prefix: &str,
        at: usize,
        table: &DeTable<'_>,
        key: &str,
    ) -> Result<Limits, NumbersError> {
        let (at, table) = self.table(prefix, at, table, key)?;
        let prefix = format!("{prefix}{key}.");
        self.known(&prefix, table, &Window::ALL.map(key_of))?;
        let allowed = format!("a whole number from 0 to {MAX}, or \"unlimited\"");
        let mut limits = Limits::ZERO;
        for window in Window::ALL {
            let value = self.get(&prefix, at, table, key_of(window), &allowed)?;
            *limits.window_mut(window) = match value.get_ref() {
                DeValue::String(text) if text == "unlimited" => None,
                other => Some(whole(other).ok_or_else(|| {
                    let key = format!("{prefix}{}", key_of(window));
                    self.error(value.span().start, &key, "is not a limit", &allowed)
                })?),
            };
        }
        Ok(limits)
    }

    fn role(
        &self,
        role: Role,
        at: usize,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<RoleNumbers, NumbersError> {
        let DeValue::Table(table) = value.get_ref() else {
            return Err(self.error(at, &format!("role.{role}"), "is not a table", "a table"));
        };
        let prefix = format!("role.{role}.");
        let mut keys: Vec<_> = RoleNumbers::ZERO
            .limits()
            .iter()
            .map(|(key, _)| *key)
            .collect();
        keys.push("statement_probes_max");
        self.known(&prefix, table, &keys)?;
        let limits = |key| self.limits(&prefix, at, table, key);
        let probes_max = self.number(
            &prefix,
            at,
            table,
            "statement_probes_max",
            0,
            u32::MAX.into(),
        )?;
        Ok(RoleNumbers {
            subjects_per_client: limits("subjects_per_client")?,
            subjects: limits("subjects")?,
            probes_per_client: limits("probes_per_client")?,
            probes: limits("probes")?,
            masked_per_client: limits("masked_per_client")?,
            masked: limits("masked")?,
            statement_probes_max: u32::try_from(probes_max).unwrap_or(u32::MAX),
        })
    }
}

/// A whole number from 0, as TOML writes it.
fn whole(value: &DeValue<'_>) -> Option<u64> {
    let DeValue::Integer(integer) = value else {
        return None;
    };
    let number = i64::from_str_radix(integer.as_str(), integer.radix()).ok()?;
    u64::try_from(number).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_limits() -> impl Strategy<Value = Limits> {
        let limit = || proptest::option::of(prop_oneof![0..5u64, 0..=MAX]);
        (limit(), limit(), limit(), limit()).prop_map(|(hour, day, month, all)| Limits {
            hour,
            day,
            month,
            all,
        })
    }

    fn any_role() -> impl Strategy<Value = RoleNumbers> {
        (proptest::array::uniform6(any_limits()), any::<u32>()).prop_map(|(l, max)| RoleNumbers {
            subjects_per_client: l[0],
            subjects: l[1],
            probes_per_client: l[2],
            probes: l[3],
            masked_per_client: l[4],
            masked: l[5],
            statement_probes_max: max,
        })
    }

    fn any_numbers() -> impl Strategy<Value = Numbers> {
        let role = proptest::sample::select(Role::ALL);
        (
            0..=MAX,
            1..=u32::MAX,
            proptest::array::uniform3(any_limits()),
            proptest::collection::btree_map(role, any_role(), 0..9),
        )
            .prop_map(
                |(entries_max, free_text_bytes_per_subject, c, roles)| Numbers {
                    entries_max,
                    free_text_bytes_per_subject,
                    client: ClientNumbers {
                        subjects: c[0],
                        probes: c[1],
                        masked: c[2],
                    },
                    roles,
                },
            )
    }

    proptest! {
        #[test]
        fn the_text_gives_the_numbers_back(numbers in any_numbers()) {
            let text = numbers.to_toml();
            // An empty list of roles writes no `[role.x]`, and so no table `role`.
            if numbers.roles.is_empty() {
                prop_assert_eq!(Numbers::parse(&text).unwrap_err().key, "role");
            } else {
                let parsed = Numbers::parse(&text);
                prop_assert_eq!(parsed.as_ref(), Ok(&numbers));
                prop_assert_eq!(parsed.map(|numbers| numbers.to_toml()), Ok(text));
            }
        }

        #[test]
        fn any_text_is_an_error_or_numbers(text in "\\PC{0,200}") {
            let _ = Numbers::parse(&text);
        }

        #[test]
        fn looser_is_seen_in_every_single_number(
            numbers in any_numbers(), role in 0..9usize, budget in 0..6usize, window in 0..4usize,
        ) {
            let role = Role::ALL[role];
            let mut looser = numbers.clone();
            let entry = looser.roles.entry(role).or_insert(RoleNumbers::ZERO);
            let limits = [
                &mut entry.subjects_per_client, &mut entry.subjects,
                &mut entry.probes_per_client, &mut entry.probes,
                &mut entry.masked_per_client, &mut entry.masked,
            ];
            let limit = limits.into_iter().nth(budget).unwrap().window_mut(Window::ALL[window]);
            let raised = match *limit {
                Some(number) if number % 2 == 0 => Some(number + 1),
                Some(_) => None,
                None => Some(7),
            };
            let tightened = limit.is_none();
            *limit = raised;
            prop_assert_eq!(looser.looser_than(&numbers), !tightened);
            prop_assert_eq!(numbers.looser_than(&looser), tightened);
            prop_assert!(!numbers.looser_than(&numbers));
        }
    }

    #[test]
    fn defaults_come_back_and_are_tight_where_they_have_to_be() {
        let numbers = Numbers::default();
        assert_eq!(Numbers::parse(&numbers.to_toml()), Ok(numbers.clone()));
        let nothing = [
            Role::Maintainer,
            Role::Administrator,
            Role::Security,
            Role::Auditor,
            Role::Approver,
            Role::Importer,
        ];
        for role in nothing {
            assert_eq!(*numbers.role(role), RoleNumbers::ZERO);
        }
    }

    #[test]
    fn errors_name_line_key_and_what_is_allowed() {
        let text = Numbers::default().to_toml();
        let line_of = |needle: &str| 1 + text.lines().position(|l| l.contains(needle)).unwrap();
        let operator = line_of("[role.operator]");

        let error = Numbers::parse(&text.replacen("hour = 60,", "hour = -1,", 1)).unwrap_err();
        assert_eq!(error.key, "role.operator.subjects_per_client.hour");
        assert_eq!(error.line, operator + 1);
        assert!(error.allowed.contains("unlimited"), "{error}");

        let error = Numbers::parse(&text.replacen("hour = 60,", "", 1)).unwrap_err();
        assert_eq!(
            (error.key.as_str(), error.line),
            ("role.operator.subjects_per_client.hour", operator + 1)
        );
        assert_eq!(error.problem, "is missing");

        let error = Numbers::parse(&text.replace("role.operator", "role.operater")).unwrap_err();
        assert_eq!(error.line, operator);
        assert!(error.allowed.contains("operator, supervisor"), "{error}");

        let error = Numbers::parse(&text.replacen("entries_max", "entry_max", 1)).unwrap_err();
        assert_eq!(
            (error.key.as_str(), error.line),
            ("entry_max", line_of("entries_max ="))
        );

        let error = Numbers::parse("a = [\n1,\nx]").unwrap_err();
        assert_eq!(error.line, 3);

        for wrong in ["0x", "1.5", "\"many\"", "9223372036854775808", "true"] {
            let text = text.replacen("hour = 60,", &format!("hour = {wrong},"), 1);
            assert_eq!(
                Numbers::parse(&text).unwrap_err().line,
                operator + 1,
                "{wrong}"
            );
        }
    }

    #[test]
    fn free_text_costs_by_length() {
        let numbers = Numbers {
            free_text_bytes_per_subject: 100,
            ..Numbers::default()
        };
        let weights = [0, 1, 100, 101, 1_000].map(|bytes| numbers.free_text_weight(bytes));
        assert_eq!(weights, [1, 1, 1, 2, 10]);
    }
}
