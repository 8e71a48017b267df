//! What must not work (THREATS.md), tried on one stage by each attacker: the maintainer, the
//! operator, whoever speaks the protocol by hand, a fake server, the administrator.
//!
//! Every byte that a driver gets is searched for the customers' values where the attacker may have
//! none; at the end PostgreSQL's data folder and log, the ledger and the gate's own output are
//! searched for all of them. Cases do not stop at a failure: the table at the end names each.

mod administrator;
mod cells;
mod cut;
mod fake_server;
mod maintainer;
mod operator;
mod protocol;
mod revoked;
mod unplanned;
mod wire;

use std::fmt::Display;
use std::path::Path;

use crate::centre::{Centre, Plan, all_customers};
pub(crate) use crate::driver::{Answer, one, simple, texts};
use aho_corasick::AhoCorasick;
use budget::{Limits, Numbers};
use event::Role;

pub(crate) const CLIENTS: u32 = 3;
pub(crate) const CUSTOMERS: usize = 100;
const CANARIES: u32 = 3;
/// Subjects that an operator may have of one client, and probes.
pub(crate) const SUBJECTS: u64 = 20;
pub(crate) const PROBES: u64 = 30;
/// Limits of the gate.
pub(crate) const LIMITS: &str =
    "login_failures_per_minute_max = 100000\nbind_bytes_max = 1048576\n";
/// What a budget's end is called.
pub(crate) const BUDGET: &str = "53400";

/// One attack and what came out.
struct Case {
    name: String,
    held: bool,
}

/// The stage, and the table of what was tried on it.
pub(crate) struct Trial {
    pub(crate) centre: Centre,
    values: AhoCorasick,
    cases: Vec<Case>,
}

impl Trial {
    pub(crate) fn case(
        &mut self,
        attack: &'static str,
        name: impl Display,
        held: bool,
        came_out: impl Display,
    ) {
        let (name, came_out) = (name.to_string(), came_out.to_string());
        let came_out: String = came_out.chars().take(160).collect();
        let mark = if held { "held" } else { "OPEN" };
        println!("{mark}  {attack:>3}  {name}: {came_out}");
        self.cases.push(Case { name, held });
    }

    /// Whether bytes hold a customer's value.
    pub(crate) fn leaks(&self, bytes: impl AsRef<[u8]>) -> bool {
        self.values.is_match(bytes.as_ref())
    }

    fn leaks_in(&self, folder: &Path) -> (usize, Vec<String>) {
        let (mut looked_at, mut found) = (0, Vec::new());
        let mut paths = vec![folder.to_owned()];
        while let Some(path) = paths.pop() {
            if path.is_dir() {
                let entries = std::fs::read_dir(&path).unwrap();
                paths.extend(entries.map(|entry| entry.unwrap().path()));
            } else if let Ok(bytes) = std::fs::read(&path) {
                looked_at += 1;
                if let Some(hit) = self.values.find(&bytes) {
                    found.push(format!(
                        "{}: value {}",
                        path.display(),
                        hit.pattern().as_u32()
                    ));
                }
            }
        }
        (looked_at, found)
    }
}

/// Values that are brought in by one attack each.
pub(crate) fn trap(n: u32) -> (String, String) {
    (
        format!("罠金糸雀 {n:04}号"),
        format!("080-7{n:03}-{:04}", 1_000 + n),
    )
}

fn values() -> AhoCorasick {
    let mut values = Vec::new();
    for (name, phone) in (1..100).map(trap) {
        values.push(name);
        values.push(phone);
    }
    for client in 1..=CLIENTS {
        for customer in all_customers(client, CUSTOMERS, CANARIES).into_values() {
            let written = customer.phone.expose().clone();
            let digits: String = written.chars().filter(char::is_ascii_digit).collect();
            values.push(format!("+81{}", &digits[1..]));
            values.push(digits);
            values.push(written);
            values.push(customer.email.expose().clone());
            values.push(customer.name.expose().clone());
        }
    }
    AhoCorasick::new(values).unwrap()
}

fn numbers() -> Numbers {
    let mut numbers = Numbers::default();
    let operator = numbers.roles.get_mut(&Role::Operator).unwrap();
    operator.subjects_per_client = Limits::new(SUBJECTS, 300, 3_000, 20_000);
    operator.subjects = Limits::new(SUBJECTS + 5, 400, 5_000, 50_000);
    operator.probes_per_client = Limits::renewing(PROBES, 600, 6_000);
    numbers
}

#[tokio::test(flavor = "multi_thread")]
async fn what_must_not_work() {
    let plan = Plan {
        name: "attacks",
        clients: CLIENTS,
        customers: CUSTOMERS,
        canaries: CANARIES,
        people: &[
            ("suzuki", "maintainer", ""),
            ("writer", "supervisor", "1"),
            ("reader", "supervisor", "1"),
            ("pager", "operator", "1,2"),
            ("mixer", "operator", "1,2"),
            ("racer", "operator", "1"),
            ("guesser", "operator", "1"),
            ("mask", "operator", "1"),
            ("wire", "supervisor", "1,2"),
            ("leaver", "supervisor", "1"),
            ("holder", "supervisor", "1"),
            ("cutter", "operator", "1"),
            ("mover", "operator", "1"),
            ("spoofer", "operator", "1"),
            ("spoofer2", "operator", "1"),
        ],
        numbers: numbers(),
        limits: LIMITS,
        segment_bytes: 256 << 10,
    };
    let mut trial = Trial {
        centre: Centre::set_up(&plan).await,
        values: values(),
        cases: Vec::new(),
    };
    trial.centre.start().await;
    maintainer::run(&mut trial).await;
    cells::run(&mut trial).await;
    unplanned::run(&mut trial).await;
    protocol::run(&mut trial).await;
    cut::run(&mut trial).await;
    operator::run(&mut trial).await;
    revoked::run(&mut trial).await;
    administrator::run(&mut trial).await;
    fake_server::run(&mut trial).await;
    nothing_leaked(&mut trial);
    sum_up(&trial);
}

/// No customer's value in any file of the server, the ledger or the gate.
fn nothing_leaked(trial: &mut Trial) {
    let postgres = trial.centre.postgres.data_dir().to_owned();
    for (name, folder) in [
        ("PostgreSQL's data folder and log", postgres),
        (
            "the gate's folder, ledger included",
            trial.centre.dir.clone(),
        ),
    ] {
        let (looked_at, found) = trial.leaks_in(&folder);
        let held = found.is_empty() && looked_at > 10;
        let came_out = format!("{looked_at} files; {found:?}");
        trial.case("3", format!("plaintext in {name}"), held, came_out);
    }
    let said = trial.centre.said();
    let held = !trial.leaks(&said);
    trial.case("3", "plaintext in what the gate prints", held, said.len());
}

fn sum_up(trial: &Trial) {
    let open: Vec<&str> = trial
        .cases
        .iter()
        .filter(|case| !case.held)
        .map(|case| case.name.as_str())
        .collect();
    println!("{} cases, {} open", trial.cases.len(), open.len());
    assert!(open.is_empty(), "{open:#?}");
    assert!(trial.cases.len() >= 50);
}
