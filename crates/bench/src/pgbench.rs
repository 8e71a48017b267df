//! `pgbench -S` on a table where nothing is sealed: direct, through PgBouncer, through the gate.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};

use super::Plan;
use super::figures::{Bound, Figure, Spread};
use super::stage::{DATABASE, Stage, Way};

/// The protocols of pgbench.
const MODES: [&str; 3] = ["simple", "extended", "prepared"];
/// Connections at once.
const CONNECTIONS: [usize; 2] = [8, 32];
/// Of PgBouncer's transactions a second.
const SHARE_MIN: f64 = 0.8;

/// Measures all modes.
pub(super) async fn measure(stage: &Stage, plan: &Plan) -> Result<Vec<Figure>> {
    println!(
        "\npgbench -S, transactions a second: median [quarters] of {} rounds of {} transactions",
        plan.rounds, plan.transactions
    );
    println!(
        "{:>8} {:>4}  {:>22}  {:>22}  {:>22}  {:>18}",
        "mode", "conn", "direct", "PgBouncer", "gate", "gate / PgBouncer"
    );
    let mut figures = Vec::new();
    for mode in MODES {
        for connections in CONNECTIONS {
            let mut rates: [Vec<f64>; 3] = Default::default();
            for round in 0..plan.rounds {
                for way in Way::in_round(round) {
                    rates[way as usize].push(rate(stage, plan, way, mode, connections).await?);
                }
            }
            let [direct, pgbouncer, gate] = &rates;
            let ratio = Spread::of_ratios(gate, pgbouncer);
            let all = |values: &Vec<f64>| format!("{:.0}", Spread::of(values.iter().copied()));
            println!(
                "{mode:>8} {connections:>4}  {:>22}  {:>22}  {:>22}  {:>18}",
                all(direct),
                all(pgbouncer),
                all(gate),
                format!("{ratio:.2}")
            );
            figures.push(Figure::ratio(
                format!("pgbench -S {mode}, {connections} connections: gate / PgBouncer"),
                ratio,
                Bound::AtLeast,
                SHARE_MIN,
                plan.judged,
            ));
        }
    }
    Ok(figures)
}

/// Transactions a second of one run, without the time it takes to connect. (`-T` would count that
/// time, and take a second at least.)
async fn rate(stage: &Stage, plan: &Plan, way: Way, mode: &str, connections: usize) -> Result<f64> {
    let door = stage.door(way)?;
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let mut command = stage.tool("pgbench")?;
    door.environment(&mut command);
    let output = command
        .args(["-n", "-S", "-M", mode])
        .args(["-t", &(plan.transactions / connections).to_string()])
        .args(["-c", &connections.to_string()])
        .args(["-j", &processors.min(connections).to_string()])
        .arg(DATABASE)
        .stdin(Stdio::null())
        .output()
        .await
        .context("cannot run pgbench")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "pgbench ({way}): {said}{error}");
    tps(&said).with_context(|| format!("pgbench ({way}) does not say how fast it was: {said}"))
}

fn tps(said: &str) -> Option<f64> {
    let rest = said.lines().find_map(|line| line.strip_prefix("tps = "))?;
    let rate: f64 = rest.split(' ').next()?.parse().ok()?;
    (rate > 0.0).then_some(rate)
}

#[cfg(test)]
mod tests {
    use super::tps;

    #[test]
    fn the_rate_is_read() {
        let said =
            "latency average = 0.1 ms\ntps = 9472.132561 (without initial connection time)\n";
        assert_eq!(tps(said), Some(9472.132561));
        assert_eq!(tps("tps = 0.000000 (without)"), None);
        assert_eq!(tps("latency average = 0.1 ms"), None);
    }
}
