//! Records of detection's own as detection sees them: fictitious subjects, calls, terminals, counters,
//! and whose pace is its usual one. Pure but for the keys that open what is beside a record.

use anyhow::{Context, Result};
use event::record::Body;
use event::{ActorId, ClientId, Digest, LogId, Plain, TerminalEvent};
use gate::terminal_number;
use ledger::list::{SALT_BYTES, month};
use ledger::{Entry, ListClosed, ListSealer};
use terminal::decide::Outcome;
use terminal::report::{Report, Said};
use watch::{Part, TerminalId, What};

use crate::terminals::posture;

/// The first byte of calls beside a record.
const CALLS_VERSION: u8 = 1;
/// Bytes of a call beside a record.
const CALL_BYTES: usize = 28;
/// Calls in one record at most.
pub const CALLS_MAX: usize = 2000;

/// A terminal's number.
pub fn terminal(name: &str) -> TerminalId {
    TerminalId(intake::key::of_text(name))
}

/// Gives what such a record says, with its time; `false`: it is another kind of record.
pub fn give(
    lists: Option<&dyn ListSealer>,
    entry: &Entry,
    body: &Body,
    give: &mut dyn FnMut(u64, What<'_>),
) -> Result<bool> {
    match body {
        Body::Canary { list, .. } => {
            if let (LogId::Client(client), Some(plaintext)) =
                (entry.log, opened(lists, entry, list)?)
            {
                let content = ledger::list::decode(plaintext.expose())
                    .with_context(|| format!("record {}: its list is malformed", entry.sequence))?;
                for (_, subject, _) in content.rows {
                    give(entry.wall_ms, What::Canary { client, subject });
                }
            }
        }
        Body::Calls { list, by, .. } => {
            if let (LogId::Client(client), Some(plaintext)) =
                (entry.log, opened(lists, entry, list)?)
            {
                let bytes = plaintext.expose().get(SALT_BYTES..).unwrap_or_default();
                let calls = decode_calls(client, bytes).with_context(|| {
                    format!("record {}: its calls are malformed", entry.sequence)
                })?;
                for call in of_others(calls, *by) {
                    give(entry.wall_ms, What::Call(call));
                }
            }
        }
        Body::Terminal {
            terminal: name,
            actor,
            said,
            bytes,
            at_ms,
        } => {
            let what = What::Terminal {
                terminal: terminal(name),
                actor: *actor,
                event: *said,
                bytes: *bytes,
            };
            // A terminal's clock may be wrong; it is never later than its record.
            give((*at_ms).min(entry.wall_ms), what);
        }
        Body::TerminalReport {
            terminal: of,
            report,
            ..
        } => {
            if let Some(what) = reported(of, &report.0) {
                give(entry.wall_ms, what);
            }
        }
        Body::TerminalHealth {
            terminal: of,
            lacks,
            ..
        } => {
            let is_silence = |lack: &String| {
                lack.starts_with(posture::SILENT) || lack.starts_with(posture::CONTRADICTS)
            };
            if lacks.iter().any(is_silence) {
                let what = What::Gap {
                    part: Part::Terminal(terminal(&terminal_number(of))),
                    from_ms: entry.wall_ms,
                    until_ms: entry.wall_ms,
                    missing: 1,
                };
                give(entry.wall_ms, what);
            }
        }
        Body::TerminalAsked { .. } | Body::TerminalEvidence { .. } => {}
        Body::Counters {
            rows,
            accounted,
            set_back,
            ..
        } => {
            let (rows, accounted) = (*rows, *accounted);
            give(entry.wall_ms, What::Returned { rows, accounted });
            if *set_back {
                let gap = What::Gap {
                    part: Part::Counters,
                    from_ms: entry.wall_ms,
                    until_ms: entry.wall_ms,
                    missing: 0,
                };
                give(entry.wall_ms, gap);
            }
        }
        Body::Rebaselined { actor, asked, .. } => {
            // The first person only asks.
            if asked.is_some() {
                give(entry.wall_ms, What::Rebaselined { actor: *actor });
            }
        }
        Body::Case { .. }
        | Body::CaseNoted { .. }
        | Body::CaseClosed { .. }
        | Body::CaseReopened { .. } => {}
        _ => return Ok(false),
    }
    Ok(true)
}

/// What a terminal's report is to detection, if anything.
fn reported(of: &Digest, report: &[u8]) -> Option<What<'static>> {
    let id = terminal(&terminal_number(of));
    let said = |event, bytes| What::Terminal {
        terminal: id,
        actor: None,
        event,
        bytes,
    };
    match Report::decode(report).ok()?.body {
        Said::Attached(device)
            if device.outcome == Outcome::Refuse && device.kind.carries_data() =>
        {
            Some(said(TerminalEvent::MediaRefused, 0))
        }
        Said::Refused { .. } => Some(said(TerminalEvent::MediaRefused, 0)),
        Said::Written { bytes, .. } => Some(said(TerminalEvent::MediaWritten, bytes)),
        Said::Heartbeat(_) => Some(What::Alive {
            part: Part::Terminal(id),
        }),
        Said::Stopping => Some(What::Stopped {
            part: Part::Terminal(id),
        }),
        _ => None,
    }
}

/// What is beside a record; `None`: its key was destroyed, or the bytes are gone.
fn opened(
    lists: Option<&dyn ListSealer>,
    entry: &Entry,
    commitment: &Digest,
) -> Result<Option<Plain<Vec<u8>>>> {
    let (Some(lists), LogId::Client(client)) = (lists, entry.log) else {
        return Ok(None);
    };
    if entry.attachment.is_empty() {
        return Ok(None);
    }
    let opened = lists.open_list(client, month(entry.wall_ms), commitment, &entry.attachment);
    match opened {
        Ok(plaintext) => Ok(Some(plaintext)),
        Err(ListClosed::Destroyed) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("record {}: its list", entry.sequence)),
    }
}

/// Calls as they stand beside a record (docs/format/record.md).
pub fn encode_calls(calls: &[watch::Call]) -> Plain<Vec<u8>> {
    let mut bytes = Vec::with_capacity(1 + calls.len() * CALL_BYTES);
    bytes.push(CALLS_VERSION);
    for call in calls {
        bytes.extend_from_slice(&call.actor.0.to_le_bytes());
        bytes.extend_from_slice(&call.subject.unwrap_or(0).to_le_bytes());
        bytes.extend_from_slice(&call.from_ms.to_le_bytes());
        bytes.extend_from_slice(&call.until_ms.to_le_bytes());
    }
    Plain::new(bytes)
}

/// Nobody explains himself: calls of whoever brought them in count for nothing.
fn of_others(calls: Vec<watch::Call>, by: ActorId) -> impl Iterator<Item = watch::Call> {
    calls.into_iter().filter(move |call| call.actor != by)
}

fn decode_calls(client: ClientId, bytes: &[u8]) -> Option<Vec<watch::Call>> {
    let (version, rest) = bytes.split_first()?;
    let (calls, left) = rest.as_chunks::<CALL_BYTES>();
    if *version != CALLS_VERSION || !left.is_empty() {
        return None;
    }
    let number = |bytes: &[u8]| bytes.first_chunk().map(|it| u64::from_le_bytes(*it));
    calls
        .iter()
        .map(|call| {
            let (actor, rest) = call.split_first_chunk::<4>()?;
            Some(watch::Call {
                actor: ActorId(u32::from_le_bytes(*actor)),
                client,
                subject: Some(number(rest)?).filter(|subject| *subject != 0),
                from_ms: number(rest.get(8..)?)?,
                until_ms: number(rest.get(16..)?)?,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A terminal's clock that is far ahead moves nothing: all that comes after would be late.
    #[test]
    fn no_event_is_later_than_its_record() {
        let entry = Entry {
            sequence: 1,
            log: LogId::Centre,
            index: 0,
            wall_ms: 1_000,
            elapsed_ms: 0,
            record: Vec::new(),
            attachment: Vec::new(),
        };
        for (said_ms, given_ms) in [(u64::MAX, 1_000), (1_001, 1_000), (999, 999)] {
            let body = Body::Terminal {
                terminal: "t".into(),
                actor: None,
                said: event::TerminalEvent::Sent,
                bytes: 0,
                at_ms: said_ms,
            };
            let mut times = Vec::new();
            give(None, &entry, &body, &mut |at_ms, _| times.push(at_ms)).unwrap();
            assert_eq!(times, [given_ms]);
        }
    }

    #[test]
    fn calls_come_back_and_others_do_not() {
        let client = ClientId::new(3).unwrap();
        let call = |actor, subject, from_ms| watch::Call {
            actor: ActorId(actor),
            client,
            subject,
            from_ms,
            until_ms: from_ms + 60_000,
        };
        let calls = vec![call(1, Some(u64::MAX), 5), call(u32::MAX, None, 1 << 40)];
        let bytes = encode_calls(&calls);
        assert_eq!(decode_calls(client, bytes.expose()), Some(calls.clone()));
        let others: Vec<_> = of_others(calls, ActorId(1)).collect();
        assert_eq!(others, [call(u32::MAX, None, 1 << 40)]);
        assert_eq!(decode_calls(client, &bytes.expose()[..30]), None);
        assert_eq!(decode_calls(client, &[2]), None);
        assert_eq!(decode_calls(client, &[]), None);
    }
}
