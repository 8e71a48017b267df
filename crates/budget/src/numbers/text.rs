//! The canonical text of the numbers: TOML that people read. Nothing has a default in the file:
//! every limit is written, `"unlimited"` included.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use event::Role;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{ClientNumbers, Limits, Numbers, NumbersError, RoleNumbers};
use crate::Window;

impl Numbers {
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
