//! Many subjects in a session, an hour, a day, beyond what the role's people ever had in a year, what
//! grants allow left out.

use event::ClientId;

use crate::cases::Said;
use crate::finding::{Bits, Cause, Detector, Window};
use crate::record::{Exposure, Record};
use crate::sketch::mix;
use crate::watch::{HOUR_MS, MINUTE_MS, Watch};

/// What the end of a budget adds.
const BUDGET_ENDED: Bits = Bits(10 << 8);

impl Watch {
    pub(crate) fn look_at_burst(
        &mut self,
        record: &Record<'_>,
        place: usize,
        day: u32,
        exposure: &Exposure<'_>,
        subjects: u64,
        said: &mut Vec<Said>,
    ) {
        if subjects == 0 {
            return;
        }
        let (hour, session) = (
            record.at_ms / HOUR_MS,
            // A session that stays open is another one each day.
            exposure.session.map_or(0, |session| mix(day, session.0)),
        );
        let actor = &mut self.actors[place];
        let history = &mut self.roles.of(actor.role).history;
        let found = actor.days[day as usize % 2].found;
        if actor.hour.0 != hour {
            if !found {
                history.add(Window::Hour, actor.hour.1);
            }
            actor.hour = (hour, 0);
        }
        if actor.session.0 != session {
            if !found {
                history.add(Window::Session, actor.session.1);
            }
            actor.session = (session, 0, record.at_ms);
        }
        actor.hour.1 += subjects;
        actor.session.1 += subjects;
        self.say_burst(record, place, day, exposure.client, Bits(0), said);
    }

    /// A budget ended in the middle of it: that it was reached is a sign of its own.
    pub(crate) fn budget_ended(
        &mut self,
        record: &Record<'_>,
        place: usize,
        day: u32,
        client: Option<ClientId>,
        said: &mut Vec<Said>,
    ) {
        let is_now = self.actors[place].hour.0 == record.at_ms / HOUR_MS;
        if let Some(client) = client
            .or_else(|| self.actors[place].home())
            .filter(|_| is_now)
        {
            self.say_burst(record, place, day, client, BUDGET_ENDED, said);
        }
    }

    fn say_burst(
        &mut self,
        record: &Record<'_>,
        place: usize,
        day: u32,
        client: ClientId,
        sign: Bits,
        said: &mut Vec<Said>,
    ) {
        let actor = &self.actors[place];
        if actor.spoke & (1 << Detector::Burst as u8) != 0 {
            return;
        }
        let today = &actor.days[day as usize % 2];
        let session = if actor.session.0 == 0 {
            0
        } else {
            actor.session.1
        };
        let windows = [
            (
                Window::Hour,
                actor.hour.1,
                today.first_ms.max(actor.hour.0 * HOUR_MS),
            ),
            (Window::Day, today.subjects, today.first_ms),
            (Window::Session, session, actor.session.2),
        ];
        let granted = today.granted;
        let history = self.roles.history(actor.role);
        let best = windows
            .into_iter()
            .filter(|&(window, count, _)| count > history.usual_max(window))
            .map(|(window, count, since)| (history.bits(window, count), window, count, since))
            .max_by_key(|&(bits, window, ..)| (bits, window));
        let Some((bits, window, count, since)) = best else {
            return;
        };
        let bits = Bits(bits.0 + sign.0);
        if bits < self.cases.floor() {
            return;
        }
        let cause = Cause::Burst {
            window,
            subjects: count,
            minutes: (record.at_ms.saturating_sub(since) / MINUTE_MS).max(1),
            usual_max: history.usual_max(window),
            granted,
        };
        self.actors[place].days[day as usize % 2].found = true;
        self.find(record, place, Some(client), bits, cause, said);
    }
}
