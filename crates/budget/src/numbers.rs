//! The numbers in force: limits of every budget, for each role. See docs/format/numbers.md.
//!
//! A role that is left out has no budget at all.

mod text;

use std::collections::BTreeMap;

use event::Role;

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

    /// One part in so many of each limit; where there is none, there stays none.
    fn lowered(&self, parts: u64) -> Self {
        let mut lowered = *self;
        for window in Window::ALL {
            let limit = lowered.window_mut(window);
            *limit = limit.map(|limit| limit / parts.max(1));
        }
        lowered
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
    /// Values in exact columns that one statement may search for.
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

    /// The same with one part in so many of each limit of a role's actors.
    #[must_use]
    pub fn lowered(&self, role: Role, parts: u64) -> Self {
        let mut lowered = self.clone();
        if let Some(of) = lowered.roles.get_mut(&role) {
            for limits in [
                &mut of.subjects_per_client,
                &mut of.subjects,
                &mut of.probes_per_client,
                &mut of.probes,
                &mut of.masked_per_client,
                &mut of.masked,
            ] {
                *limits = limits.lowered(parts);
            }
        }
        lowered
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
}
