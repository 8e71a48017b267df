//! Tests of the whole recorder, on the simulated disk and on a real one.

mod append;
mod cases;
mod changes;
mod crash;
mod effects;
mod power;
mod snapshots;
mod space;
mod terminals;
mod threads;
mod units;
mod unseen;
mod wal;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use event::record::{Approval, Body, Change, Exposure, Who, change_bytes, decode};
use event::{
    ActorId, ChangeId, Class, ClientId, Digest, Fingerprint, Outcome, Plain, Role, SessionId,
};
use tokio::sync::oneshot;

use crate::batch::{Charge, Probe, Refusal, StatementScope};
use crate::charge::{Ask, Paid};
use crate::clock::Clock;
use crate::core::{Core, Job, Progress, Report};
use crate::list::{List, ListClosed, ListSealer};
use crate::reader::{Entry, Reader};
use crate::recorder::{Folders, Options};
use crate::sim::Sim;
use crate::wal::Prepare;
use crate::{LedgerError, list};

pub(crate) const MINUTE: u64 = 60_000;
pub(crate) const OPERATOR: ActorId = ActorId(1);
pub(super) const ADMINISTRATOR: ActorId = ActorId(2);
pub(super) const ALICE: ActorId = ActorId(3);
pub(super) const BOB: ActorId = ActorId(4);

pub(crate) fn client(number: u32) -> ClientId {
    ClientId::new(number).unwrap()
}

/// A clock that stands still until it is told.
#[derive(Default)]
pub(crate) struct TestClock {
    pub(super) wall_ms: AtomicU64,
    pub(super) boot_ms: AtomicU64,
    pub(super) boot: AtomicU64,
    /// How far BOOTTIME goes whenever it is read, ms.
    pub(super) ticks: AtomicU64,
}

impl TestClock {
    pub(crate) fn new() -> Arc<Self> {
        let clock = Self::default();
        clock.wall_ms.store(1_700_000_000_000, Ordering::Relaxed);
        clock.boot_ms.store(5_000, Ordering::Relaxed);
        Arc::new(clock)
    }

    pub(crate) fn pass(&self, ms: u64) {
        self.wall_ms.fetch_add(ms, Ordering::Relaxed);
        self.boot_ms.fetch_add(ms, Ordering::Relaxed);
    }
}

impl Clock for TestClock {
    fn wall_ms(&self) -> u64 {
        self.wall_ms.load(Ordering::Relaxed)
    }
    fn boot_ms(&self) -> u64 {
        let ticks = self.ticks.load(Ordering::Relaxed);
        self.boot_ms.fetch_add(ticks, Ordering::Relaxed)
    }
    fn boot_id(&self) -> [u8; 16] {
        u128::from(self.boot.load(Ordering::Relaxed)).to_be_bytes()
    }
}

/// Seals by flipping bits; one client's keys can be destroyed.
#[derive(Default)]
pub(crate) struct TestSealer {
    pub(crate) destroyed: AtomicU64,
}

impl ListSealer for TestSealer {
    fn seal_list(
        &self,
        client: ClientId,
        _month: u32,
        _commitment: &Digest,
        plaintext: &[u8],
    ) -> Result<Vec<u8>, ListClosed> {
        if self.destroyed.load(Ordering::Relaxed) == u64::from(client.get()) {
            return Err(ListClosed::Destroyed);
        }
        Ok(plaintext.iter().map(|byte| byte ^ 0x5a).collect())
    }

    fn open_list(
        &self,
        client: ClientId,
        month: u32,
        commitment: &Digest,
        sealed: &[u8],
    ) -> Result<Plain<Vec<u8>>, ListClosed> {
        self.seal_list(client, month, commitment, sealed)
            .map(Plain::new)
    }
}

pub(crate) fn options() -> Options {
    Options {
        segment_bytes: 16 << 10,
        hot_segments: 3,
        say: Arc::new(|_| {}),
        on_fatal: Arc::new(|_| {}),
        ..Options::default()
    }
}

/// The folders on a simulated disk.
pub(super) fn folders(sim: &Sim, with_snapshots: bool) -> Folders {
    Folders {
        wal: Arc::new(sim.clone()),
        snapshots: with_snapshots.then(|| Arc::new(sim.snapshots()) as _),
        archive: None,
    }
}

/// A ledger on the simulated disk, driven step by step.
pub(crate) struct Rig {
    pub(crate) core: Core,
    pub(crate) sim: Sim,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) sealer: Arc<TestSealer>,
}

impl Rig {
    pub(crate) fn create(sim: &Sim, clock: &TestClock) -> Result<(), LedgerError> {
        Core::create(
            &folders(sim, false),
            Prepare::Inline,
            clock,
            &options(),
            "Centre",
            [7; 16],
        )
    }

    pub(super) fn open(sim: &Sim, clock: &Arc<TestClock>) -> Result<(Self, Report), LedgerError> {
        Self::open_with(sim, clock, &Arc::default())
    }

    pub(super) fn open_with(
        sim: &Sim,
        clock: &Arc<TestClock>,
        sealer: &Arc<TestSealer>,
    ) -> Result<(Self, Report), LedgerError> {
        Self::open_in(folders(sim, false), (sim, clock, sealer))
    }

    pub(crate) fn open_in(
        folders: Folders,
        (sim, clock, sealer): (&Sim, &Arc<TestClock>, &Arc<TestSealer>),
    ) -> Result<(Self, Report), LedgerError> {
        let (core, report) = Core::open(
            folders,
            Prepare::Inline,
            Arc::clone(sealer) as _,
            Arc::clone(clock) as _,
            options(),
        )?;
        let rig = Self {
            core,
            sim: sim.clone(),
            clock: Arc::clone(clock),
            sealer: Arc::clone(sealer),
        };
        Ok((rig, report))
    }

    /// A new ledger with clients 1 to 3, an operator and numbers, still in its bootstrap.
    pub(crate) fn new() -> Self {
        let (sim, clock) = (Sim::default(), TestClock::new());
        Self::create(&sim, &clock).unwrap();
        let (mut rig, _) = Self::open(&sim, &clock).unwrap();
        rig.set_up().unwrap();
        rig
    }

    pub(crate) fn set_up(&mut self) -> Result<(), Refusal> {
        for number in 1..=3 {
            self.propose(Change::ClientAdded {
                client: client(number),
                code: format!("c{number}"),
                name: format!("Client {number}"),
            })?;
        }
        self.propose(actor(OPERATOR, "operator", Role::Operator))?;
        self.propose(numbers(10))?;
        Ok(())
    }

    /// Ends the process in order and starts it again.
    pub(crate) fn restart(self) -> (Self, Report) {
        let Self {
            mut core,
            sim,
            clock,
            sealer,
        } = self;
        core.stop();
        drop(core);
        Self::open_with(&sim, &clock, &sealer).unwrap()
    }

    /// Starts again what was stopped.
    pub(super) fn restart_stopped(self) -> (Self, Report) {
        let Self {
            core,
            sim,
            clock,
            sealer,
        } = self;
        drop(core);
        Self::open_with(&sim, &clock, &sealer).unwrap()
    }

    /// Ends in order, and starts after the machine did, this much later by the wall clock.
    pub(super) fn reboot(self, wall_step_ms: u64) -> (Self, Report) {
        let Self {
            mut core,
            sim,
            clock,
            sealer,
        } = self;
        core.stop();
        drop(core);
        clock.wall_ms.fetch_add(wall_step_ms, Ordering::Relaxed);
        clock.boot.fetch_add(1, Ordering::Relaxed);
        clock.boot_ms.store(1, Ordering::Relaxed);
        Self::open_with(&sim, &clock, &sealer).unwrap()
    }

    pub(crate) fn ask<T>(
        &mut self,
        job: impl FnOnce(oneshot::Sender<Result<T, Refusal>>) -> Job,
    ) -> Result<T, Refusal> {
        let (answer, mut answered) = oneshot::channel();
        self.core.take(job(answer));
        let _ = self.core.flush();
        answered.try_recv().expect("flush answers")
    }

    pub(crate) fn append(&mut self, ask: Ask) -> Result<Paid, Refusal> {
        self.ask(|answer| Job::Append(Arc::new(ask), answer))
    }

    pub(crate) fn propose(&mut self, what: Change) -> Result<(ChangeId, Progress), Refusal> {
        self.ask(|answer| Job::Propose(ADMINISTRATOR, what, answer))
    }

    pub(super) fn approve(
        &mut self,
        change: ChangeId,
        approval: Approval,
    ) -> Result<Progress, Refusal> {
        self.ask(|answer| Job::Approve(change, approval, answer))
    }

    /// A batch of rows, each one customer: name and tag made from a number.
    pub(crate) fn batch(&self, rows: impl IntoIterator<Item = (u32, u64)>) -> Ask {
        let rows = rows
            .into_iter()
            .map(|(of, subject)| vec![charge(of, subject)])
            .collect();
        self.rows(rows, Vec::new())
    }

    pub(super) fn rows(&self, rows: Vec<Vec<Charge>>, probes: Vec<Probe>) -> Ask {
        Ask {
            who: Who {
                actor: OPERATOR,
                role: Role::Operator,
                session: SessionId(1),
                grant: None,
            },
            scope: StatementScope {
                shape: Arc::new((Digest([1; 32]), "select".into())),
                purpose: Some(Arc::new(Plain::new("call 42".into()))),
                policy: Digest([2; 32]),
                generation: self.core.state.generation,
                order: event::record::Order::default(),
                terminal: None,
                purpose_ms: 0,
                found: None,
            },
            probes,
            rows,
        }
    }
}

pub(super) fn charge(of: u32, subject: u64) -> Charge {
    Charge {
        client: client(of),
        class: Class::Name,
        outcome: Outcome::Clear,
        fingerprint: Fingerprint(subject),
        weight: 1,
        tag: subject + 1_000_000,
    }
}

pub(super) fn probe(of: u32, value: u64, primary: bool) -> Probe {
    Probe {
        client: client(of),
        class: Class::Phone,
        fingerprint: Fingerprint(value),
        primary,
        as_exposure: false,
    }
}

pub(super) fn actor(actor: ActorId, login: &str, role: Role) -> Change {
    Change::ActorSet {
        actor,
        login: login.into(),
        role,
        clients: Vec::new(),
        active: true,
    }
}

/// Numbers that give an operator so many subjects, and as many probes, for each client and in all.
pub(crate) fn numbers(subjects: u64) -> Change {
    let mut numbers = budget::Numbers::default();
    let limits = budget::Limits::new(subjects, subjects, subjects, subjects);
    let operator = numbers.roles.get_mut(&Role::Operator).unwrap();
    operator.subjects_per_client = limits;
    operator.subjects = limits;
    operator.probes_per_client = limits;
    operator.probes = limits;
    numbers.client.subjects = budget::Limits::renewing(100_000, 100_000, 100_000);
    Change::Numbers {
        toml: numbers.to_toml(),
    }
}

pub(super) fn key_pair(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
}

pub(super) fn signing_key(actor: ActorId, seed: u8) -> Change {
    Change::SigningKey {
        actor,
        public_key: key_pair(seed).public_key().as_ref().try_into().unwrap(),
    }
}

pub(super) fn sign(approver: ActorId, seed: u8, change: ChangeId, what: &Change) -> Approval {
    let signature = key_pair(seed).sign(&change_bytes(&[7; 16], change, what));
    Approval {
        approver,
        signature: signature.as_ref().try_into().unwrap(),
    }
}

/// All that a reader is shown.
pub(crate) fn entries(sim: &Sim) -> Vec<Entry> {
    let mut reader = Reader::over(Arc::new(sim.clone())).unwrap();
    std::iter::from_fn(|| reader.next_entry().unwrap()).collect()
}

pub(super) fn bodies(sim: &Sim) -> Vec<Body> {
    let entries = entries(sim);
    entries
        .iter()
        .map(|entry| decode(&entry.record).unwrap())
        .collect()
}

pub(super) fn exposures(sim: &Sim) -> Vec<(Exposure, List)> {
    let mut found = Vec::new();
    for entry in entries(sim) {
        if let Body::Exposure(exposure) = decode(&entry.record).unwrap() {
            let plaintext: Vec<u8> = entry.attachment.iter().map(|byte| byte ^ 0x5a).collect();
            assert_eq!(list::commitment(&plaintext), exposure.list);
            found.push((exposure, list::decode(&plaintext).unwrap()));
        }
    }
    found
}

/// Fingerprints of all names that the ledger says were released.
pub(super) fn recorded(sim: &Sim) -> BTreeSet<u64> {
    exposures(sim)
        .into_iter()
        .flat_map(|(_, list)| list.rows)
        .filter(|(kind, ..)| *kind == budget::SetKind::Clear(Class::Name))
        .map(|(_, fingerprint, _)| fingerprint)
        .collect()
}
