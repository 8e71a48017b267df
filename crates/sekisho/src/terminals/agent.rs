//! One agent's connection: Hello, then reports in their order, each acknowledged when it is durable.

use std::time::{Duration, Instant};

use event::record::Body;
use event::{Digest, LogId, Octets, System};
use ledger::terminals::Standing;
use terminal::chain::{Chain, ChainError, Taken};
use terminal::heartbeat::Heartbeat;
use terminal::report::{Report, Said};
use terminal::wire::{self, FromAgent, FromGate, Hello};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use super::frames::Frames;
use super::{Parts, posture};
use crate::service::now_ms;

/// The first message comes within this time.
const HELLO_MAX: Duration = Duration::from_secs(10);
/// How often what is in force is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// A new policy may take so long to be in force on a terminal.
const POLICY_TAKES_MAX: Duration = Duration::from_secs(30);
/// A machine that asks is answered for so long; then it asks again.
const WAITING_MAX: Duration = Duration::from_secs(120);
/// Heartbeats that say nothing new stand in one record, so many at most.
const QUIET_MAX: u64 = 30;
/// A terminal that reports things that make no sense is asked again after this time.
const HEARTBEAT_MS_WAITING: u32 = 5_000;

/// The policy that a connection was sent.
#[derive(Default)]
pub(super) struct Offered {
    welcomed: bool,
    /// SHA-256 of its text; `None`: none is in force.
    text: Option<Digest>,
    /// Its digest.
    policy: Option<[u8; 32]>,
    /// The one before it on this connection, and until when that was in force.
    before: Option<([u8; 32], Instant)>,
}

impl Offered {
    /// Whether the terminal may still be taking the newest: this is the one before, changed just now.
    pub(super) fn is_taking(&self, policy: &[u8; 32]) -> bool {
        let before = self.before.as_ref();
        before.is_some_and(|(it, since)| it == policy && since.elapsed() < POLICY_TAKES_MAX)
    }
}

/// Why a connection ends.
enum End {
    /// It was closed, or speaks something else.
    Gone,
    /// Its reports do not continue what the ledger has.
    Broken(String),
}

impl From<std::io::Error> for End {
    fn from(_: std::io::Error) -> Self {
        Self::Gone
    }
}

struct Link<'a> {
    frames: Frames,
    of: Digest,
    connection: u64,
    parts: &'a Parts,
}

/// Serves an agent until it goes away, or nothing of it is taken.
pub(super) async fn serve(stream: TlsStream<TcpStream>, of: Digest, parts: &Parts) {
    let mut link = Link {
        frames: Frames::new(stream),
        of,
        connection: 0,
        parts,
    };
    let hello = match timeout(HELLO_MAX, link.message()).await {
        Ok(Ok(FromAgent::Hello(hello))) => hello,
        _ => return,
    };
    if link.standing() != Some(Standing::Approved) && !link.is_approved_now(&hello).await {
        return;
    }
    link.connection = parts.board.enter(of);
    if let Err(End::Broken(why)) = link.run(&hello).await {
        let lacks = vec![format!("{}: {why}", posture::CONTRADICTS)];
        let _ = posture::tell(&parts.handle, of, lacks).await;
    }
}

impl Link<'_> {
    async fn run(&mut self, hello: &Hello) -> Result<(), End> {
        let mut chain = self.chain();
        self.greet(&mut chain, hello)?;
        let mut policy = Offered::default();
        let mut heartbeat = None;
        loop {
            if !self.parts.board.counts(&self.of, self.connection)
                || self.standing() != Some(Standing::Approved)
            {
                return Ok(());
            }
            self.offer_policy(&mut policy).await?;
            // Dropped in the middle it loses nothing: what was read stays in `read`.
            let Ok(message) = timeout(LOOK, self.message()).await else {
                continue;
            };
            let FromAgent::Report(bytes) = message? else {
                return Err(End::Gone);
            };
            let taken = chain.take(&bytes, now_ms());
            match taken.map_err(|error| End::Broken(error.to_string()))? {
                Taken::New {
                    report,
                    contradictions,
                    live,
                } => {
                    let odd = contradictions.iter();
                    let odd = odd
                        .map(|it| format!("{}: {it}", posture::CONTRADICTS))
                        .collect();
                    self.take(*report, bytes, (&policy, live, odd), &mut heartbeat)
                        .await?;
                    // Only what is recorded, or may be left out, was taken.
                    self.parts.board.keep_chain(self.of, &chain);
                }
                Taken::Again => {
                    let sequence = self.reported();
                    self.send(&FromGate::Ack { sequence }).await?;
                }
            }
        }
    }

    fn standing(&self) -> Option<Standing> {
        super::standing(&self.parts.handle, &self.of)
    }

    async fn is_approved_now(&mut self, hello: &Hello) -> bool {
        matches!(
            timeout(WAITING_MAX, self.wait_for_approval(hello)).await,
            Ok(Ok(()))
        )
    }

    /// Notes that a machine asks, once, and says so until somebody has decided.
    async fn wait_for_approval(&mut self, hello: &Hello) -> Result<(), End> {
        if self.standing().is_none() {
            let asked = Body::TerminalAsked {
                terminal: self.of,
                name: hello.name.clone(),
                system: System::Linux,
            };
            let noted = match self.parts.board.may_ask() {
                true => self.parts.handle.record(LogId::Centre, asked).await.is_ok(),
                false => false,
            };
            if !noted {
                self.welcome(wire::Standing::Unknown, 0).await?;
                return Err(End::Gone);
            }
        }
        let told = match self.standing() {
            Some(Standing::Retired) => wire::Standing::Retired,
            _ => wire::Standing::Waiting,
        };
        self.welcome(told, 0).await?;
        if told == wire::Standing::Retired {
            return Err(End::Gone);
        }
        while self.standing() != Some(Standing::Approved) {
            if let Ok(message) = timeout(LOOK, self.message()).await {
                // Nothing is taken from it yet.
                message?;
            }
        }
        Ok(())
    }

    /// Whether what it says fits. An acknowledgement that it never got, or that this process does not
    /// remember, makes it begin earlier: the reports themselves tell then.
    fn greet(&self, chain: &mut Chain, hello: &Hello) -> Result<(), End> {
        let greeted = match chain.hello(hello, now_ms()) {
            Err(ChainError::Forgot { .. }) => {
                let from_here = Hello {
                    next: chain.sequence() + 1,
                    last: chain.last(),
                    ..hello.clone()
                };
                chain.hello(&from_here, now_ms())
            }
            greeted => greeted,
        };
        greeted.map_err(|error| End::Broken(error.to_string()))
    }

    /// Where its reports go on: as this process saw them, else as the ledger has them.
    fn chain(&self) -> Chain {
        let state = self.parts.handle.state();
        let known = state.terminals.all.get(&self.of);
        let (reported, head) = known.map_or((0, [0; 32]), |it| (it.reported, it.head.0));
        let kept = self.parts.board.chain(&self.of);
        kept.filter(|it| it.sequence() >= reported && reported > 0)
            .unwrap_or_else(|| Chain::resume(reported, (reported > 0).then_some(head)))
    }

    /// Sends what is in force, if the terminal was not sent it yet.
    async fn offer_policy(&mut self, offered: &mut Offered) -> Result<(), End> {
        let state = self.parts.handle.state();
        let in_force = state.terminals.policy.as_ref().map(|(digest, _)| *digest);
        if offered.welcomed && in_force == offered.text {
            return Ok(());
        }
        let policy = self.parts.board.policy(&state.terminals);
        let heartbeat_ms = policy.as_ref().map_or(HEARTBEAT_MS_WAITING, |it| {
            it.heartbeat_s.saturating_mul(1000)
        });
        self.welcome(wire::Standing::Approved, heartbeat_ms).await?;
        if let (Some(_), Some((_, text))) = (&policy, &state.terminals.policy) {
            let text = text.as_str().to_owned();
            self.send(&FromGate::Policy { text }).await?;
        }
        // Only a change while it is connected takes time; whoever connects has taken what there is.
        let before = offered.policy.filter(|_| offered.welcomed);
        offered.before = before.map(|before| (before, Instant::now()));
        offered.welcomed = true;
        offered.text = in_force;
        offered.policy = policy.map(|it| it.digest());
        Ok(())
    }

    /// Records a report, or lets it wait for the next one if it says nothing new; then the health that
    /// follows from it.
    async fn take(
        &mut self,
        report: Report,
        bytes: Vec<u8>,
        (offered, live, odd): (&Offered, bool, Vec<String>),
        before: &mut Option<Heartbeat>,
    ) -> Result<(), End> {
        let sequence = report.sequence;
        let reported = self.reported();
        let mut lacks = (!odd.is_empty()).then(|| odd.clone());
        let mut quiet = false;
        if let Said::Heartbeat(heartbeat) = report.body {
            let state = self.parts.handle.state();
            let mut all = odd;
            all.extend(posture::lacks(
                &self.parts.board,
                &state.terminals,
                &heartbeat,
                offered,
            ));
            if live {
                self.parts.board.heard(&self.of);
                quiet = all.is_empty()
                    && before
                        .as_ref()
                        .is_some_and(|it| it.says_the_same(&heartbeat))
                    && sequence.saturating_sub(reported) < QUIET_MAX;
                *before = Some(*heartbeat);
            }
            // One that waited on the terminal's disk says how it was: it may take health, never give it.
            lacks = (live || !all.is_empty()).then_some(all);
        }
        let wait = match quiet {
            true => Duration::ZERO,
            false => self.parts.board.wait(self.of),
        };
        let (loses, gains) = posture::follows(lacks, !wait.is_zero());
        self.tell(loses).await?;
        if !quiet {
            // Nothing is read from it meanwhile: what it has to say waits on its own disk.
            tokio::time::sleep(wait).await;
            let body = Body::TerminalReport {
                terminal: self.of,
                since: reported + 1,
                sequence,
                report: Octets(bytes),
            };
            let recorded = self.parts.handle.record(LogId::Centre, body).await;
            recorded.map_err(|_| End::Gone)?;
        }
        self.tell(gains).await?;
        // A quiet one is not acknowledged yet; the answer shows that the gate lives.
        let sequence = if quiet { reported } else { sequence };
        self.send(&FromGate::Ack { sequence }).await
    }

    async fn tell(&self, lacks: Option<Vec<String>>) -> Result<(), End> {
        let Some(lacks) = lacks else { return Ok(()) };
        let told = posture::tell(&self.parts.handle, self.of, lacks).await;
        told.map_err(|_| End::Gone)
    }

    fn reported(&self) -> u64 {
        let state = self.parts.handle.state();
        state
            .terminals
            .all
            .get(&self.of)
            .map_or(0, |it| it.reported)
    }

    async fn welcome(&mut self, standing: wire::Standing, heartbeat_ms: u32) -> Result<(), End> {
        let state = self.parts.handle.state();
        let policy = self.parts.board.policy(&state.terminals);
        let policy = policy.map_or([0; 32], |it| it.digest());
        let welcome = FromGate::Welcome {
            standing,
            acknowledged: self.reported(),
            heartbeat_ms,
            policy,
        };
        self.send(&welcome).await
    }

    async fn send(&mut self, message: &FromGate) -> Result<(), End> {
        Ok(self.frames.send(&message.encode()).await?)
    }

    /// The next message. Cancelling it loses nothing.
    async fn message(&mut self) -> Result<FromAgent, End> {
        Ok(self.frames.next(FromAgent::decode).await?)
    }
}
