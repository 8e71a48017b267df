//! From a text to statements whose literals are sealed, and what each does to the session.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use event::{ClientId, GrantId, Outcome, Plain};
use ledger::Probe;
use pgwire::Oids;
use pgwire::frontend::Bind;
use sql::{Kind, SessionNames, Settings, Statement};

use super::{Engine, Setting};
use crate::errors::{self, GateError};
use crate::rights::Scope;
use crate::way_in::{self, Effect, Planned, Portal, Prepared};

use event::record::RefusalReason as Reason;

/// Longest purpose, in bytes.
const PURPOSE_BYTES_MAX: usize = 200;

struct Names<'a> {
    prepared: &'a HashMap<Vec<u8>, Arc<Prepared>>,
    portals: &'a HashMap<Vec<u8>, Arc<Portal>>,
    cursors: &'a HashSet<String>,
}

impl SessionNames for Names<'_> {
    fn prepared(&self, name: &str) -> Option<Arc<Statement>> {
        self.prepared
            .get(name.as_bytes())
            .map(|prepared| Arc::clone(prepared.statement()))
    }

    fn cursor_is_sealed(&self, name: &str) -> bool {
        self.cursors.contains(name) || self.portals.contains_key(name.as_bytes())
    }
}

impl Engine {
    fn plan_text(&self, text: &[u8]) -> Result<sql::Script, GateError> {
        let text = std::str::from_utf8(text).map_err(|_| errors::not_utf8())?;
        let settings = Settings {
            standard_conforming_strings: self.standard_conforming_strings,
            several_clients: self.rights.scope().clients().len() > 1,
            cells_only: self.rights.moves_cells(),
            depth_max: self.shared.limits.statement_depth_max,
        };
        let names = Names {
            prepared: &self.prepared,
            portals: &self.portals,
            cursors: &self.cursors,
        };
        let known = self.live.known();
        Ok(sql::plan(text, known.catalogue(), &settings, &names)?)
    }

    /// Rights as they are now. In a database without a pin nothing is opened, probed or sealed.
    fn refresh_rights(&mut self) -> Result<(), GateError> {
        let pinned = self.live.known().is_pinned();
        self.rights.set_pinned(pinned);
        self.rights.refresh()
    }

    /// Settings that came with the start-up packet.
    pub(crate) fn start_settings(&mut self, given: &[(String, String)]) -> Result<(), GateError> {
        self.refresh_rights()?;
        for (name, value) in given {
            let setting = self.setting(name, Some(value))?;
            self.apply_setting(setting);
        }
        Ok(())
    }

    /// Plans a simple Query. `None`: nothing of it concerns the gate.
    pub(super) fn plan_script(&mut self, text: &[u8]) -> Result<Option<sql::Script>, GateError> {
        self.refresh_rights()?;
        let script = self.plan_text(text)?;
        let concerns = script.statements.iter().any(concerns_gate);
        if concerns && !self.utf8 && script.statements.iter().any(|statement| statement.sealed) {
            return Err(errors::encoding());
        }
        Ok(concerns.then_some(script))
    }

    /// Plans the text of a Parse.
    pub(super) fn plan_one(&mut self, text: &[u8], types: Oids<'_>) -> Result<Planned, GateError> {
        let Some(script) = self.plan_script(text)? else {
            return Ok(Planned::Plain);
        };
        let mut statements = script.statements.into_iter();
        match (statements.next(), statements.next()) {
            (Some(statement), None) => {
                let types: Vec<u32> = types.iter().collect();
                Ok(Planned::Sealed(Box::new(self.prepare(statement, &types)?)))
            }
            (None, _) => Ok(Planned::Plain),
            _ => Err(errors::several_in_parse()),
        }
    }

    /// Seals a statement's literals.
    pub(super) fn prepare(
        &mut self,
        statement: Statement,
        types: &[u32],
    ) -> Result<Prepared, GateError> {
        let effect = self.effect_of(&statement)?;
        way_in::prepare(statement, types, &mut self.rights, effect)
    }

    fn effect_of(&mut self, statement: &Statement) -> Result<Effect, GateError> {
        Ok(match &statement.kind {
            Kind::Set { name, value, .. } if name.starts_with("sekisho.") => {
                Effect::Setting(self.setting(name, value.as_deref())?)
            }
            Kind::Reset { name } if name == "all" => Effect::Reset { statements: false },
            Kind::Reset { name } if name.starts_with("sekisho.") => {
                Effect::Setting(self.setting(name, None)?)
            }
            Kind::Set { name, value, .. } if name == "client_encoding" => {
                Effect::Encoding(value.as_deref().is_some_and(is_utf8))
            }
            Kind::Prepare { name, inner } if inner.sealed => {
                let inner =
                    way_in::prepare((**inner).clone(), &[], &mut self.rights, Effect::None)?;
                Effect::Keep(name.clone(), Arc::new(inner))
            }
            Kind::Prepare { name, .. } => Effect::Drop(Some(name.clone())),
            Kind::Deallocate(name) => Effect::Drop(name.clone()),
            Kind::Discard => Effect::Reset { statements: true },
            Kind::DeclareCursor { name, .. } if statement.sealed => {
                Effect::OpenCursor(name.clone())
            }
            Kind::CloseCursor(name) => Effect::CloseCursor(name.clone()),
            Kind::Ddl => Effect::Schema,
            _ => Effect::None,
        })
    }

    /// `SET sekisho.NAME TO VALUE`.
    fn setting(&self, name: &str, value: Option<&str>) -> Result<Setting, GateError> {
        let wrong = |message: String, hint: &str| {
            GateError::new("22023", message)
                .hint(hint.to_owned())
                .because(Reason::Policy)
        };
        match name {
            "sekisho.scope" => {
                let Some(value) = value else {
                    return Ok(Setting::Scope(Scope::new(self.rights.clients().to_vec())));
                };
                let mut clients = Vec::new();
                for part in value
                    .split(',')
                    .map(str::trim)
                    .filter(|part| !part.is_empty())
                {
                    let client = self
                        .client(part)
                        .filter(|c| self.rights.clients().contains(c));
                    clients.push(client.ok_or_else(|| {
                        wrong(
                            "sekisho.scope names a client that is not yours".to_owned(),
                            "Give numbers or codes of your clients, with commas between them.",
                        )
                    })?);
                }
                Ok(Setting::Scope(Scope::new(clients)))
            }
            "sekisho.purpose" => match value.map(str::trim).filter(|value| !value.is_empty()) {
                Some(value) if value.len() > PURPOSE_BYTES_MAX => Err(wrong(
                    format!("sekisho.purpose is longer than {PURPOSE_BYTES_MAX} bytes"),
                    "Give a code, a call's or a ticket's id.",
                )),
                value => Ok(Setting::Purpose(
                    value.map(|v| Arc::new(Plain::new(v.to_owned()))),
                )),
            },
            "sekisho.grant_id" => {
                let Some(value) = value else {
                    return Ok(Setting::Grant(None));
                };
                let grant = value.trim().parse().ok().map(GrantId);
                let state = self.shared.recorder.state();
                let mine = grant.filter(|grant| {
                    state
                        .grants
                        .get(grant)
                        .is_some_and(|g| g.grant.actor == self.person.actor)
                });
                mine.map(|grant| Setting::Grant(Some(grant)))
                    .ok_or_else(|| {
                        wrong(
                            "sekisho.grant_id is no grant of yours".to_owned(),
                            "`sekisho grant list` shows the grants that are in force.",
                        )
                    })
            }
            "sekisho.copy" => {
                let code = value.unwrap_or_default().trim().to_ascii_uppercase();
                // What a session's address says is no proof of where it is.
                let terminal = self.person.terminal_id.filter(|_| self.person.passed_on);
                match terminal.filter(|it| self.shared.copies.waits(*it, &code)) {
                    Some(_) => Ok(Setting::Copy(code)),
                    None => Err(wrong(
                        "sekisho.copy is no code of a copy that waits at this session's terminal"
                            .to_owned(),
                        "Say it in a session through the terminal whose `sekisho-post copy` shows it.",
                    )),
                }
            }
            _ => Err(wrong(
                "no such setting of Sekisho".to_owned(),
                "There are sekisho.scope, sekisho.purpose, sekisho.grant_id and sekisho.copy.",
            )),
        }
    }

    fn client(&self, text: &str) -> Option<ClientId> {
        if let Ok(number) = text.parse() {
            return ClientId::new(number);
        }
        let state = self.shared.recorder.state();
        state
            .clients
            .iter()
            .find(|(_, client)| client.code == text)
            .map(|(id, _)| *id)
    }

    pub(super) fn bind_sealed(
        &mut self,
        prepared: Arc<Prepared>,
        bind: &Bind<'_>,
    ) -> Result<Portal, GateError> {
        self.refresh_rights()?;
        way_in::bind(prepared, bind, &mut self.rights, &mut self.to_server)
    }

    /// Looks at the rights for everything a portal asks for, as they are now, and gives its probes.
    pub(super) fn rights_for(&mut self, portal: &Portal) -> Result<Vec<Probe>, GateError> {
        self.refresh_rights()?;
        if portal.scope() != self.rights.scope() {
            return Err(GateError::new(
                "55000",
                "the session's scope changed since the statement was prepared",
            )
            .hint("Prepare the statement again after SET sekisho.scope."));
        }
        // It may have been planned before the encoding changed.
        if !self.utf8 && portal.prepared.statement().sealed {
            return Err(errors::encoding());
        }
        if let Kind::CopyOut(copy) = &portal.prepared.statement().kind
            && !self.rights.opens_nothing()
            && crate::copy_format::of(&copy.format).is_none()
        {
            return Err(errors::copy_format());
        }
        let (mut probes, mut searched) = (Vec::new(), 0);
        for asked in portal.asked() {
            searched += u32::from(asked.search && asked.primary);
            self.rights
                .demand(asked.client, asked.class, asked.search, asked.class.name())?;
            if let Some(mut probe) = way_in::probe_of(*asked) {
                probe.as_exposure =
                    self.rights.outcome(asked.client, asked.class) == Outcome::Masked;
                probes.push(probe);
            }
        }
        let rules = self.rights.rules();
        let most = rules.numbers.role(self.person.role).statement_probes_max;
        if searched > most {
            return Err(errors::too_many_searched(searched, most));
        }
        Ok(probes)
    }
}

/// Whether a statement has to be a run of its own.
fn concerns_gate(statement: &Statement) -> bool {
    statement.sealed
        || match &statement.kind {
            Kind::Set { name, .. } | Kind::Reset { name } => {
                name.starts_with("sekisho.") || name == "client_encoding" || name == "all"
            }
            Kind::Discard => true,
            Kind::Deallocate(_) | Kind::Prepare { .. } | Kind::CloseCursor(_) => true,
            _ => false,
        }
}

fn is_utf8(name: &str) -> bool {
    let name: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    name.eq_ignore_ascii_case("utf8") || name.eq_ignore_ascii_case("unicode")
}
