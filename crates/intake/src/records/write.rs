//! A record to a JSON line.

use std::fmt::Write as _;

use watch::{Call, Exposure, Order, Part, Record, TerminalEvent, What};

use super::build::{EVENTS, FINDINGS, REASONS};
use crate::names::Names;
use crate::time;

/// Writes a record as a line, with its end. The same record gives the same bytes.
pub fn write(record: &Record<'_>, names: &Names, out: &mut String) {
    let mut line = Line { out, names };
    line.out.push_str("{\"time\":");
    line.time_value(record.at_ms);
    line.number("sequence", record.sequence);
    line.what(&record.what, record.at_ms);
    line.out.push_str("}\n");
}

struct Line<'a> {
    out: &'a mut String,
    names: &'a Names,
}

impl Line<'_> {
    fn what(&mut self, what: &What<'_>, at_ms: u64) {
        match what {
            What::Tick => self.kind("tick"),
            What::Actor {
                actor,
                role,
                active,
            } => {
                self.kind("actor");
                self.actor(*actor);
                self.text("role", role.name());
                self.yes("active", *active);
            }
            What::Away {
                actor,
                from_ms,
                until_ms,
            } => {
                self.kind("away");
                self.actor(*actor);
                self.time("from", *from_ms);
                self.time("until", *until_ms);
            }
            What::SessionOpened {
                actor,
                role,
                session,
                terminal,
            } => {
                self.kind("session-opened");
                self.actor(*actor);
                self.text("role", role.name());
                self.number("session", session.0);
                self.terminal(*terminal);
            }
            What::SessionClosed { session } => {
                self.kind("session-closed");
                self.number("session", session.0);
            }
            What::Exposure(exposure) => self.exposure(exposure),
            What::Refused {
                actor,
                client,
                reason,
                count,
            } => {
                self.kind("refused");
                actor.iter().for_each(|actor| self.actor(*actor));
                client.iter().for_each(|client| self.client(*client));
                self.text("reason", word(&REASONS, *reason));
                self.number("count", (*count).into());
            }
            What::Gate {
                actor,
                client,
                kind,
                count,
            } => {
                self.kind("gate");
                self.actor(*actor);
                client.iter().for_each(|client| self.client(*client));
                self.text("finding", word(&FINDINGS, *kind));
                self.number("count", (*count).into());
            }
            What::Call(call) => self.call(call),
            What::Terminal {
                terminal,
                actor,
                event,
                bytes,
            } => {
                self.kind("terminal");
                self.terminal(*terminal);
                actor.iter().for_each(|actor| self.actor(*actor));
                self.text("event", word::<TerminalEvent>(&EVENTS, *event));
                self.optional("bytes", *bytes);
            }
            What::Canary { client, subject } => {
                self.kind("canary");
                self.client(*client);
                self.key("subject", *subject);
            }
            What::Rebaselined { actor } => {
                self.kind("rebaselined");
                self.actor(*actor);
            }
            What::ListsDestroyed { client } => {
                self.kind("lists-destroyed");
                self.client(*client);
            }
            rest => self.grants_and_parts(rest, at_ms),
        }
    }

    fn grants_and_parts(&mut self, what: &What<'_>, at_ms: u64) {
        match what {
            What::Granted {
                grant,
                actor,
                client,
                amount,
                until_ms,
            } => {
                self.kind("granted");
                self.name("grant", &self.names.grant_name(*grant));
                self.actor(*actor);
                self.client(*client);
                self.number("amount", *amount);
                self.time("until", *until_ms);
            }
            What::GrantEnded { grant } => {
                self.kind("grant-ended");
                self.name("grant", &self.names.grant_name(*grant));
            }
            What::Returned { rows, accounted } => {
                self.kind("returned");
                self.number("rows", *rows);
                self.number("accounted", *accounted);
            }
            What::Alive { part } => {
                self.kind("alive");
                self.part(*part);
            }
            What::Stopped { part } => {
                self.kind("stopped");
                self.part(*part);
            }
            What::Gap {
                part,
                from_ms,
                until_ms,
                missing,
            } => {
                self.kind("gap");
                self.part(*part);
                self.time("from", *from_ms);
                if *until_ms != at_ms {
                    self.time("until", *until_ms);
                }
                self.optional("missing", *missing);
            }
            // The others are written by `what`.
            _ => {}
        }
    }

    fn exposure(&mut self, exposure: &Exposure<'_>) {
        self.kind("exposure");
        self.actor(exposure.actor);
        self.text("role", exposure.role.name());
        if let Some(session) = exposure.session {
            self.number("session", session.0);
        }
        self.client(exposure.client);
        if let Some(grant) = exposure.grant {
            self.name("grant", &self.names.grant_name(grant));
        }
        self.optional("rows", exposure.rows.into());
        self.number("subjects", exposure.subjects.into());
        if let Some(new) = exposure.new {
            self.number("new", new.into());
        }
        self.optional("masked", exposure.masked.into());
        self.optional("probes", exposure.probes.into());
        if let Some(missed) = exposure.missed {
            self.number("missed", missed.into());
        }
        if exposure.order != Order::default() {
            let Order {
                pairs,
                ascending,
                near,
            } = exposure.order;
            let order = format_args!(
                ",\"order\":{{\"pairs\":{pairs},\"ascending\":{ascending},\"near\":{near}}}"
            );
            self.put(order);
        }
        if exposure.shape != 0 {
            self.key("shape", exposure.shape);
        }
        for (at, key) in exposure.keys.iter().enumerate() {
            self.out.push_str(if at == 0 { ",\"keys\":[" } else { "," });
            self.put(format_args!("\"#{key:016x}\""));
        }
        if !exposure.keys.is_empty() {
            self.out.push(']');
        }
    }

    fn call(&mut self, call: &Call) {
        self.kind("call");
        self.actor(call.actor);
        self.client(call.client);
        if let Some(subject) = call.subject {
            self.key("subject", subject);
        }
        self.time("from", call.from_ms);
        self.time("until", call.until_ms);
    }

    fn part(&mut self, part: Part) {
        match part {
            Part::Gate => self.text("part", "gate"),
            Part::Source => self.text("part", "source"),
            Part::Counters => self.text("part", "counters"),
            Part::Witness(number) => {
                self.text("part", "witness");
                self.number("witness", number.into());
            }
            Part::Terminal(terminal) => {
                self.text("part", "terminal");
                self.terminal(terminal);
            }
            Part::Calls(client) => {
                self.text("part", "calls");
                self.client(client);
            }
        }
    }

    fn kind(&mut self, kind: &str) {
        self.text("kind", kind);
    }

    fn actor(&mut self, actor: event::ActorId) {
        self.name("actor", &self.names.actor_name(actor));
    }

    fn client(&mut self, client: event::ClientId) {
        self.name("client", &self.names.client_name(client));
    }

    fn terminal(&mut self, terminal: watch::TerminalId) {
        self.name("terminal", &self.names.terminal_name(terminal));
    }

    fn time(&mut self, field: &str, unix_ms: u64) {
        self.put(format_args!(",\"{field}\":"));
        self.time_value(unix_ms);
    }

    fn time_value(&mut self, unix_ms: u64) {
        match time::rfc3339(unix_ms) {
            Some(text) => self.put(format_args!("\"{text}\"")),
            None => self.put(format_args!("{unix_ms}")),
        }
    }

    /// A count that says nothing when it is 0.
    fn optional(&mut self, field: &str, count: u64) {
        if count != 0 {
            self.number(field, count);
        }
    }

    fn number(&mut self, field: &str, number: u64) {
        self.put(format_args!(",\"{field}\":{number}"));
    }

    fn yes(&mut self, field: &str, yes: bool) {
        self.put(format_args!(",\"{field}\":{yes}"));
    }

    fn key(&mut self, field: &str, key: u64) {
        self.put(format_args!(",\"{field}\":\"#{key:016x}\""));
    }

    /// A text that needs no escapes.
    fn text(&mut self, field: &str, text: &str) {
        self.put(format_args!(",\"{field}\":\"{text}\""));
    }

    /// A name: digits as a number, anything else as a text.
    fn name(&mut self, field: &str, name: &str) {
        let digits = name.bytes().all(|byte| byte.is_ascii_digit());
        if digits
            && name
                .parse::<u64>()
                .is_ok_and(|number| number.to_string() == name)
        {
            self.put(format_args!(",\"{field}\":{name}"));
        } else {
            let quoted = serde_json::Value::from(name);
            self.put(format_args!(",\"{field}\":{quoted}"));
        }
    }

    fn put(&mut self, what: std::fmt::Arguments<'_>) {
        self.out
            .write_fmt(what)
            .expect("writing to a string cannot fail");
    }
}

/// The word for a meaning.
fn word<T: Copy + PartialEq>(words: &[(&'static str, T)], meant: T) -> &'static str {
    words
        .iter()
        .find(|(_, meaning)| *meaning == meant)
        .map_or("unknown", |(word, _)| word)
}
