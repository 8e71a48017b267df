//! Cases in a client's report: what detection found about people who saw its customers, and who closed it.

use std::collections::BTreeMap;

use event::ActorId;
use event::CloseReason;
use event::record::Body;
use serde_json::{Value, json};

use crate::lang::Lang;
use crate::time::At;

/// Cases that are listed; more are counted.
const CASES_MAX: usize = 1000;

/// A case in the client's log.
#[derive(Clone, Debug)]
struct Case {
    opened: At,
    actor: Option<ActorId>,
    /// Codes of the detectors, ascending.
    detectors: Vec<u8>,
    findings: u32,
    grave: bool,
    /// Who asked to close it, of a grave one.
    asked: Option<ActorId>,
    closed: Option<(At, CloseReason, ActorId)>,
}

/// All of them.
#[derive(Clone, Default, Debug)]
pub(super) struct Cases {
    all: BTreeMap<u32, Case>,
    more: u64,
}

fn detector(code: u8, lang: Lang) -> &'static str {
    let (en, ja) = match code {
        1 => ("many at once", "短時間の大量閲覧"),
        2 => ("a sustained rise", "閲覧の増加"),
        3 => ("many over a year", "長期の大量閲覧"),
        4 => ("taken in order", "順番の閲覧"),
        5 => ("guessing", "推測の照会"),
        6 => ("tampering", "改変"),
        7 => ("a list, then a file or medium", "一覧の後の持出し操作"),
        8 => ("several people together", "複数人の合算"),
        9 => ("an account of several people", "共用の疑い"),
        10 => ("silence", "沈黙"),
        11 => ("a planted customer was seen", "おとり顧客の閲覧"),
        12 => ("no call explains it", "通話のない閲覧"),
        _ => ("another kind", "その他"),
    };
    lang.pick(en, ja)
}

impl Cases {
    /// Takes a record of a case.
    pub(super) fn visit(&mut self, at: At, body: &Body) {
        match body {
            Body::Case {
                case,
                finding,
                grave,
                ..
            } => {
                if self.all.len() >= CASES_MAX && !self.all.contains_key(case) {
                    self.more += 1;
                    return;
                }
                let known = self.all.entry(*case).or_insert(Case {
                    opened: at,
                    actor: finding.actor,
                    detectors: Vec::new(),
                    findings: 0,
                    grave: false,
                    asked: None,
                    closed: None,
                });
                known.findings = known.findings.saturating_add(1);
                known.grave |= *grave;
                known.asked = None;
                if let Err(place) = known.detectors.binary_search(&finding.detector) {
                    known.detectors.insert(place, finding.detector);
                }
            }
            Body::CaseClosed {
                case,
                by,
                asked,
                reason,
                ..
            } => {
                if let Some(known) = self.all.get_mut(case) {
                    if known.grave && asked.is_none() {
                        known.asked = Some(*by);
                    } else {
                        known.closed = Some((at, *reason, *by));
                    }
                }
            }
            Body::CaseReopened { case, .. } => {
                if let Some(known) = self.all.get_mut(case) {
                    known.closed = None;
                }
            }
            _ => {}
        }
    }

    /// One sentence a case.
    pub(super) fn said(
        &self,
        lang: Lang,
        show: &dyn Fn(At) -> String,
        name: &dyn Fn(ActorId) -> String,
    ) -> Vec<String> {
        let mut all = Vec::new();
        for (number, case) in &self.all {
            let what: Vec<&str> = case
                .detectors
                .iter()
                .map(|it| detector(*it, lang))
                .collect();
            let opened = show(case.opened);
            let about = case.actor.map(name);
            all.push(match lang {
                Lang::En => {
                    let about =
                        about.map_or("nobody in particular".into(), |it| format!("actor {it}"));
                    let ended = match &case.closed {
                        None => "open".to_owned(),
                        Some((at, reason, by)) => format!(
                            "closed on {} by actor {} as {}",
                            show(*at),
                            name(*by),
                            reason.name()
                        ),
                    };
                    format!(
                        "Case {number} of {opened}, about {about}: {}; {} findings; {ended}",
                        what.join(", "),
                        case.findings
                    )
                }
                Lang::Ja => {
                    let about = about.map_or("特定の担当者なし".into(), |it| {
                        format!("担当者 {it}")
                    });
                    let ended = match &case.closed {
                        None => "未了".to_owned(),
                        Some((at, reason, by)) => format!(
                            "{} に担当者 {} が終了（{}）",
                            show(*at),
                            name(*by),
                            reason_ja(*reason)
                        ),
                    };
                    format!(
                        "案件 {number}（{opened}、{about}）: {}、検知 {} 件、{ended}",
                        what.join("・"),
                        case.findings
                    )
                }
            });
        }
        if self.more > 0 {
            let more = self.more;
            all.push(match lang {
                Lang::En => format!("and findings of further cases: {more}"),
                Lang::Ja => format!("ほかの案件の検知 {more} 件"),
            });
        }
        all
    }

    /// For programs.
    pub(super) fn json(&self) -> Vec<Value> {
        let one = |(number, case): (&u32, &Case)| {
            let detectors = case.detectors.iter();
            json!({
                "case": number, "opened_ms": case.opened, "actor": case.actor.map(|it| it.0),
                "detectors": detectors.map(|it| detector(*it, Lang::En)).collect::<Vec<_>>(),
                "findings": case.findings, "grave": case.grave,
                "asked": case.asked.map(|it| it.0),
                "closed": case.closed.map(|(at, reason, by)|
                    json!({"at_ms": at, "reason": reason.name(), "by": by.0})),
            })
        };
        self.all.iter().map(one).collect()
    }
}

fn reason_ja(reason: CloseReason) -> &'static str {
    match reason {
        CloseReason::Explained => "説明がついた",
        CloseReason::FalseAlarm => "誤検知",
        CloseReason::Acted => "対応済み",
        CloseReason::Duplicate => "別の案件と同じ",
    }
}

#[cfg(test)]
mod tests {
    use event::Response;
    use event::record::CaseFinding;
    use event::{ClientId, Digest};

    use super::*;

    #[test]
    fn a_grave_case_is_open_until_the_second_person() {
        let mut cases = Cases::default();
        let found = Body::Case {
            case: 7,
            new: true,
            finding: CaseFinding {
                detector: 11,
                actor: Some(ActorId(3)),
                others: Vec::new(),
                client: ClientId::new(1),
                bits: 9,
                version: 1,
                numbers: vec![1],
                cause: Some(4),
                at_ms: 0,
                rests_on: Vec::new(),
                days: Vec::new(),
            },
            grave: true,
            response: Response::Suspend,
        };
        let closed = |by, asked: Option<u32>| Body::CaseClosed {
            case: 7,
            by: ActorId(by),
            asked: asked.map(ActorId),
            reason: CloseReason::Acted,
            text: Digest([0; 32]),
        };
        let said = |cases: &Cases, lang| {
            let all = cases.said(lang, &|at| format!("t{}", at.0), &|actor| actor.to_string());
            all.join("\n")
        };
        cases.visit(At(5), &found);
        cases.visit(At(6), &closed(4, None));
        assert_eq!(
            said(&cases, Lang::En),
            "Case 7 of t5, about actor 3: a planted customer was seen; 1 findings; open"
        );
        cases.visit(At(8), &closed(5, Some(4)));
        assert!(said(&cases, Lang::En).ends_with("closed on t8 by actor 5 as acted"));
        assert!(said(&cases, Lang::Ja).ends_with("t8 に担当者 5 が終了（対応済み）"));
        let reopened = Body::CaseReopened {
            case: 7,
            by: ActorId(4),
            text: Digest([0; 32]),
        };
        cases.visit(At(9), &reopened);
        assert!(said(&cases, Lang::En).ends_with("open"));
        assert_eq!(cases.json()[0]["closed"], Value::Null);
    }
}
