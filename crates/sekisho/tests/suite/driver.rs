//! Simple Queries of a real driver, and what comes of them.

use tokio_postgres::{Client, SimpleQueryMessage};

/// The answer to a simple Query: its rows, or an error's SQLSTATE.
pub(crate) type Answer = Result<Vec<Vec<Option<String>>>, String>;

pub(crate) async fn simple(driver: &Client, sql: &str) -> Answer {
    let messages = driver.simple_query(sql).await.map_err(|error| {
        let code = error.code().map(|code| code.code().to_owned());
        code.unwrap_or_else(|| format!("lost: {error}"))
    })?;
    let rows = messages.into_iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(
            (0..row.len())
                .map(|index| row.get(index).map(str::to_owned))
                .collect(),
        ),
        _ => None,
    });
    Ok(rows.collect())
}

/// All texts of an answer.
pub(crate) fn texts(answer: &Answer) -> Vec<String> {
    let rows = answer.iter().flatten();
    rows.flatten().flatten().cloned().collect()
}

/// The first text of an answer, which must have one.
pub(crate) async fn one(driver: &Client, sql: &str) -> String {
    let answer = simple(driver, sql).await;
    let first = texts(&answer).into_iter().next();
    first.unwrap_or_else(|| panic!("{sql}: {answer:?}"))
}
