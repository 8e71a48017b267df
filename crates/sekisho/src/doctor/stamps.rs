//! Whether an authority stamps the root log, if one is configured.

use super::Check;
use crate::commands::time::shown;
use crate::config::Config;
use crate::folder::Folder;

const NAME: &str = "time stamps";
const DAY_MS: u64 = 86_400_000;
/// So many intervals without a stamp are worth a word.
const MISSED_MAX: u64 = 3;

pub(super) fn check(folder: &Folder, config: &Config, now_ms: u64) -> Option<Check> {
    let url = config.logs.timestamps.as_ref()?;
    if let Err(error) = crate::logs::timestamp_roots(folder, config) {
        let todo = "Put the authority's root certificate (PEM) there.";
        return Some(Check::fail(NAME, format!("{error:#}"), todo));
    }
    let index = crate::commands::ledger::store(folder)
        .and_then(|store| Ok(ledger::logs::stamping::load(&store)?));
    let index = match index {
        Ok(index) => index,
        Err(error) => {
            let todo = "Restore root/timestamps from a copy of the logs.";
            return Some(Check::fail(NAME, format!("{error:#}"), todo));
        }
    };
    let interval_ms = config.logs.timestamp_interval_ms;
    let Some(newest) = index.newest() else {
        let todo = "Start `sekisho serve` and look at what it says of the authority.";
        return Some(Check::warn(NAME, format!("{url}: none came yet"), todo));
    };
    let at = shown(newest.time_ms);
    if now_ms.saturating_sub(newest.time_ms) > interval_ms.saturating_mul(MISSED_MAX) {
        let todo = "Look at what `sekisho serve` says of the authority.";
        return Some(Check::warn(
            NAME,
            format!("{url}: the newest is of {at}"),
            todo,
        ));
    }
    let ahead_ms = u64::from(config.logs.timestamp_renew_days) * DAY_MS;
    if newest.until_ms < now_ms.saturating_add(ahead_ms) {
        let end = shown(newest.until_ms);
        let saw = format!("{url}: its certificate ends on {end}, and it still signs with it");
        let todo = "Ask the authority for its next certificate, or name another authority.";
        return Some(Check::warn(NAME, saw, todo));
    }
    Some(Check::ok(NAME, format!("{url}: the newest is of {at}")))
}
