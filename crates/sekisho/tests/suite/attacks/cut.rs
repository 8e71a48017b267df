//! Attack 15: a read that is cut while its Sync could have passed with it (`sync_may_ride` in
//! gate/engine/driver.rs). What is undone has to be undone all the same.

use super::wire::{
    Wire, bind_execute, code, flush, parse, query, rows, status, sync, tags, together,
};
use super::{BUDGET, Trial};

pub(crate) async fn run(trial: &mut Trial) {
    cut_beside_a_write(trial).await;
    cut_of_a_read_that_sets(trial).await;
    cut_behind_a_begin(trial).await;
}

/// More people than the cutter may have; of whom he may have, he has the first.
const ALL: &str = "SELECT phone FROM customers WHERE client_id = 1 ORDER BY id";
const FIRST: &str = "SELECT phone FROM customers WHERE client_id = 1 ORDER BY id LIMIT 1";

/// A cut undoes what was written since the last Sync, told to be done or not: the Sync of a read
/// passes before its rows are judged only if nothing else is in its transaction.
async fn cut_beside_a_write(trial: &mut Trial) {
    for (name, insert, count, undo) in [
        (
            "an unsealed INSERT",
            "INSERT INTO calls (client_id, topic) VALUES (1, 'beside a cut')",
            "SELECT count(*) FROM calls WHERE topic = 'beside a cut'",
            "DELETE FROM calls WHERE topic = 'beside a cut'",
        ),
        (
            "a sealed INSERT",
            "INSERT INTO customers (id, client_id) VALUES (902, 1)",
            "SELECT count(*) FROM customers WHERE id = 902",
            "DELETE FROM customers WHERE id = 902",
        ),
    ] {
        for answered in [false, true] {
            let mut wire = Wire::log_in(&trial.centre, "cutter").await;
            for (read, expected) in [(ALL, (Some(BUDGET), "0")), (FIRST, (None, "1"))] {
                let mut write = vec![parse("", insert), bind_execute("", None)];
                let read = [parse("", read), bind_execute("", None), sync()];
                let mut got = Vec::new();
                if answered {
                    write.push(flush());
                    wire.send(&together(&write)).await;
                    got = wire.until(b'C').await;
                    write.clear();
                }
                let rest = [together(&write), together(&read)].concat();
                got.extend(wire.ask(&rest).await);
                let after = wire.ask(&query(count)).await;
                let came = (code(&got), rows(&after));
                let held = (came.0.as_deref(), came.1[0].as_str()) == expected
                    && status(&got) == Some('I');
                trial.case(
                    "15",
                    format!(
                        "{name}{} in the transaction of a read {}",
                        if answered { ", told to be done," } else { "" },
                        match expected.0 {
                            Some(_) => "that is cut is undone",
                            None => "that is not cut stays",
                        },
                    ),
                    held,
                    format!("{came:?}, {}", tags(&got)),
                );
            }
            wire.ask(&query(undo)).await;
        }
    }
}

/// A read that sets something is not let pass either.
async fn cut_of_a_read_that_sets(trial: &mut Trial) {
    let mut wire = Wire::log_in(&trial.centre, "cutter").await;
    let before = rows(&wire.ask(&query("SHOW work_mem")).await);
    let sets = "SELECT phone, set_config('work_mem', '77MB', false) FROM customers WHERE client_id = 1 ORDER BY id";
    let got = wire
        .ask(&together(&[
            parse("", sets),
            bind_execute("", None),
            sync(),
        ]))
        .await;
    let after = rows(&wire.ask(&query("SHOW work_mem")).await);
    let held = code(&got).as_deref() == Some(BUDGET) && after == before;
    trial.case(
        "15",
        "a read that sets something, cut",
        held,
        format!("{:?}, {before:?}, then {after:?}", code(&got)),
    );
}

/// A transaction whose beginning PostgreSQL has not answered yet is aborted by a cut.
async fn cut_behind_a_begin(trial: &mut Trial) {
    let begun = together(&[parse("", "BEGIN"), bind_execute("", None), sync()]);
    for (name, begin) in [
        ("a simple BEGIN", query("BEGIN").to_vec()),
        ("BEGIN and its Sync", begun),
    ] {
        let mut wire = Wire::log_in(&trial.centre, "cutter").await;
        let read = together(&[parse("", ALL), bind_execute("", None), sync()]);
        wire.send(&[begin, read].concat()).await;
        let first = wire.until_ready().await;
        let then = wire.until_ready().await;
        let after = wire.ask(&query("SELECT 1")).await;
        let over = wire.ask(&query("ROLLBACK")).await;
        let statuses = [&first, &then, &after, &over].map(|got| status(got));
        let held = statuses == [Some('T'), Some('E'), Some('E'), Some('I')]
            && code(&then).as_deref() == Some(BUDGET)
            && code(&after).as_deref() == Some("25P02");
        trial.case(
            "15",
            format!("a cut behind {name} in the same packet aborts the transaction"),
            held,
            format!("{statuses:?}, {:?}, {:?}", code(&then), code(&after)),
        );
    }
}
