//! Faults of the real program that need a process: its clock set back an hour and forward a year,
//! while it serves and between two starts (libfaketime over its wall clock), by which no budget is
//! gained and none is frozen; a second process on its folder.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::centre::{Centre, DEADLINE, Plan, unlimited};
use budget::{Limits, Numbers};
use event::Role;
use event::record::{Body, decode};
use tokio_postgres::Client;

/// Subjects of an operator in an hour.
const HOURLY: u64 = 3;
const HOUR_MS: i64 = 3_600_000;
const YEAR_MS: i64 = 365 * 24 * HOUR_MS;
/// `$LIB` is the loader's own word for lib/x86_64-linux-gnu and the like.
const LIBRARY: &str = "/usr/$LIB/faketime/libfaketimeMT.so.1";

fn numbers() -> Numbers {
    let mut numbers = unlimited();
    let operator = numbers.roles.get_mut(&Role::Operator).unwrap();
    operator.subjects = Limits::renewing(HOURLY, 1000, 10_000);
    numbers
}

/// What the wall clock of the program says, beside the machine's.
struct Set(PathBuf);

impl Set {
    fn to(&self, offset: &str) {
        // Whole or not at all: the program reads it at any moment.
        let new = self.0.with_extension("new");
        std::fs::write(&new, format!("{offset}\n")).unwrap();
        std::fs::rename(new, &self.0).unwrap();
    }

    async fn start(&self, centre: &mut Centre) {
        let file = self.0.display().to_string();
        let environment = [
            ("LD_PRELOAD", LIBRARY),
            ("FAKETIME_TIMESTAMP_FILE", &file),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ];
        centre.start_with(&environment).await;
    }
}

/// Looks a customer up; whether his name came.
async fn sees(driver: &Client, number: u32) -> Result<(), String> {
    let sql = format!(
        "SELECT name FROM customers WHERE id = {}",
        1_000_000 + number
    );
    match driver.simple_query(&sql).await {
        Ok(_) => Ok(()),
        Err(error) => Err(error.as_db_error().unwrap().message().to_owned()),
    }
}

async fn refused(driver: &Client, number: u32) {
    let said = sees(driver, number).await.unwrap_err();
    assert!(said.contains("budget"), "{said}");
}

fn bodies(dir: &Path) -> Vec<(u64, u64, Body)> {
    let mut reader = ledger::Reader::open(&dir.join("ledger")).unwrap();
    let mut all = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        let body = decode(&entry.record).unwrap();
        all.push((entry.wall_ms, entry.elapsed_ms, body));
    }
    all
}

/// The steps of the clock that are recorded, to the nearest hour.
fn steps(dir: &Path) -> Vec<i64> {
    let hours = |body| match body {
        Body::ClockStepped { step_ms } => Some((step_ms + HOUR_MS / 2).div_euclid(HOUR_MS)),
        _ => None,
    };
    let bodies = bodies(dir).into_iter();
    bodies.filter_map(|(_, _, body)| hours(body)).collect()
}

async fn recorded(dir: &Path, due: &[i64]) {
    let began = Instant::now();
    while steps(dir) != due {
        assert!(began.elapsed() < DEADLINE, "{:?}", steps(dir));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_clock_and_a_second_process_change_nothing() {
    let plan = Plan {
        name: "faults",
        clients: 1,
        customers: 20,
        canaries: 0,
        people: &[("tanaka", "operator", "1")],
        numbers: numbers(),
        limits: "",
        segment_bytes: 1 << 20,
    };
    let mut centre = Centre::set_up(&plan).await;
    let set = Set(centre.dir.join("clock"));
    set.to("+0");
    set.start(&mut centre).await;
    let driver = centre.connect("tanaka").await;
    sees(&driver, 1).await.unwrap();
    sees(&driver, 2).await.unwrap();

    let second = centre.run(&["serve"], "").await.unwrap_err();
    assert!(second.contains("another process"), "{second}");

    // Back an hour: what is left is left.
    set.to("-1h");
    recorded(&centre.dir, &[-1]).await;
    sees(&driver, 3).await.unwrap();
    refused(&driver, 4).await;
    // Forward a year: no window has passed.
    set.to("+1y");
    let year = (YEAR_MS + HOUR_MS) / HOUR_MS;
    recorded(&centre.dir, &[-1, year]).await;
    refused(&driver, 4).await;
    // Who was seen in this hour is seen again.
    sees(&driver, 1).await.unwrap();
    drop(driver);
    centre.stop().await;

    for offset in ["+1y", "-1h", "+0"] {
        set.to(offset);
        set.start(&mut centre).await;
        let driver = centre.connect("tanaka").await;
        refused(&driver, 4).await;
        sees(&driver, 2).await.unwrap();
        drop(driver);
        centre.stop().await;
    }
    let all = bodies(&centre.dir);
    assert!(all.is_sorted_by_key(|(wall_ms, elapsed_ms, _)| (*wall_ms, *elapsed_ms)));
    // Elapsed time took no part in the year.
    let elapsed = all.last().unwrap().1 - all[0].1;
    assert!(elapsed < DEADLINE.as_millis() as u64 * 10, "{elapsed} ms");
}
