//! Rules of the workspace that the compiler does not know: who may depend on whom (DESIGN.md
//! section 4), and the licences and sources of deny.toml.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// What each crate may use of the workspace. A new edge is written here, on purpose.
const EDGES: [(&str, &[&str]); 25] = [
    ("event", &[]),
    ("budget", &["event"]),
    ("fingerprint", &["event"]),
    ("pgwire", &[]),
    ("tlog", &[]),
    ("stamp", &[]),
    ("terminal", &[]),
    ("policy", &["event", "budget"]),
    ("seal", &["event", "fingerprint"]),
    ("sql", &["event", "fingerprint"]),
    ("scan", &["event", "fingerprint"]),
    ("demo-data", &["event"]),
    ("watch", &["event"]),
    ("intake", &["event", "watch"]),
    ("simulate", &["event", "watch"]),
    ("postgres-embedded", &[]),
    ("lab", &[]),
    (
        "ledger",
        &["event", "budget", "fingerprint", "tlog", "stamp"],
    ),
    (
        "gate",
        &[
            "event",
            "budget",
            "fingerprint",
            "seal",
            "pgwire",
            "sql",
            "policy",
            "ledger",
        ],
    ),
    (
        "sekisho",
        &[
            "event",
            "budget",
            "fingerprint",
            "seal",
            "pgwire",
            "sql",
            "policy",
            "ledger",
            "gate",
            "tlog",
            "stamp",
            "demo-data",
            "postgres-embedded",
            "watch",
            "intake",
            "simulate",
            "terminal",
            "scan",
        ],
    ),
    (
        "bench",
        &["demo-data", "postgres-embedded", "watch", "simulate"],
    ),
    ("xtask", &[]),
    ("ioctls", &[]),
    ("post", &["terminal", "ioctls"]),
    // `console`, `post` and `verify` never link `seal`.
    ("verify", &["event", "tlog", "stamp", "fingerprint"]),
];

/// Crates that do no I/O know no runtime and no sockets.
const PURE: [&str; 15] = [
    "event",
    "budget",
    "fingerprint",
    "pgwire",
    "policy",
    "seal",
    "sql",
    "tlog",
    "stamp",
    "terminal",
    "demo-data",
    "watch",
    "intake",
    "simulate",
    "scan",
];
const IMPURE: [&str; 5] = ["tokio", "tokio-rustls", "tokio-postgres", "mio", "socket2"];

/// Checks all rules; the error lists every breach.
pub(crate) fn check(root: &Path) -> Result<()> {
    let output = Command::new("cargo")
        .args(["metadata", "--format-version", "1", "--locked"])
        .current_dir(root)
        .output()
        .context("cannot run cargo metadata")?;
    if !output.status.success() {
        bail!(
            "cargo metadata: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let deny = std::fs::read_to_string(root.join("deny.toml")).context("cannot read deny.toml")?;
    let mut breaches = edges(&metadata);
    breaches.extend(licences(&metadata, &allowed(&deny)));
    if !breaches.is_empty() {
        bail!("\n  {}", breaches.join("\n  "));
    }
    Ok(())
}

fn packages(metadata: &Value) -> impl Iterator<Item = &Value> {
    metadata["packages"].as_array().into_iter().flatten()
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

fn edges(metadata: &Value) -> Vec<String> {
    let allow: BTreeMap<&str, &[&str]> = EDGES.into_iter().collect();
    let ours: Vec<&Value> = packages(metadata)
        .filter(|it| it["source"].is_null())
        .collect();
    let names: BTreeSet<&str> = ours.iter().map(|it| text(it, "name")).collect();
    let mut breaches = Vec::new();
    for package in &ours {
        let name = text(package, "name");
        let Some(may) = allow.get(name) else {
            breaches.push(format!(
                "{name} is not in the list of edges in xtask/src/rules.rs"
            ));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            // Tests may use what they like.
            if text(dependency, "kind") == "dev" {
                continue;
            }
            let other = text(dependency, "name");
            if names.contains(other) && !may.contains(&other) {
                breaches.push(format!("{name} may not depend on {other}"));
            }
            if PURE.contains(&name) && IMPURE.contains(&other) {
                breaches.push(format!("{name} is pure and may not depend on {other}"));
            }
        }
    }
    breaches
}

/// The licences of deny.toml: the strings of its list `allow` under `[licenses]`.
fn allowed(deny: &str) -> BTreeSet<String> {
    deny.lines()
        .skip_while(|line| line.trim() != "[licenses]")
        .skip_while(|line| !line.starts_with("allow"))
        .skip(1)
        .take_while(|line| !line.starts_with(']'))
        .filter_map(|line| line.split('"').nth(1))
        .map(str::to_owned)
        .collect()
}

fn licences(metadata: &Value, allowed: &BTreeSet<String>) -> Vec<String> {
    let registry = "registry+https://github.com/rust-lang/crates.io-index";
    let mut breaches = Vec::new();
    for package in packages(metadata).filter(|it| !it["source"].is_null()) {
        let (name, source) = (text(package, "name"), text(package, "source"));
        if source != registry {
            breaches.push(format!("{name} comes from {source}"));
        }
        let licence = text(package, "license");
        if !satisfied(licence, allowed) {
            breaches.push(format!(
                "{name}: the licence `{licence}` is not allowed in deny.toml"
            ));
        }
    }
    breaches
}

/// Whether an SPDX expression can be met with allowed licences: an alternative of which all
/// parts are allowed. `/` is an old OR.
fn satisfied(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    any_of(&words, &mut at, allowed) && at == words.len()
}

fn any_of(words: &[&str], at: &mut usize, allowed: &BTreeSet<String>) -> bool {
    let mut met = all_of(words, at, allowed);
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        met |= all_of(words, at, allowed);
    }
    met
}

fn all_of(words: &[&str], at: &mut usize, allowed: &BTreeSet<String>) -> bool {
    let mut met = one(words, at, allowed);
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        met &= one(words, at, allowed);
    }
    met
}

fn one(words: &[&str], at: &mut usize, allowed: &BTreeSet<String>) -> bool {
    let Some(word) = words.get(*at) else {
        return false;
    };
    *at += 1;
    if *word == "(" {
        let met = any_of(words, at, allowed);
        let closed = words.get(*at) == Some(&")");
        *at += 1;
        return met && closed;
    }
    if words.get(*at) == Some(&"WITH") {
        let exception = words.get(*at + 1).copied().unwrap_or_default();
        *at += 2;
        return allowed.contains(&format!("{word} WITH {exception}"));
    }
    allowed.contains(*word)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{allowed, edges, satisfied};

    #[test]
    fn licence_expressions() {
        let allow =
            allowed("[licenses]\nallow = [\n \"MIT\", # x\n \"ISC\",\n \"A WITH E\",\n]\n\"GPL\"");
        assert_eq!(allow.len(), 3);
        for (expression, met) in [
            ("MIT", true),
            ("GPL", false),
            ("GPL OR MIT", true),
            ("GPL/MIT", true),
            ("GPL AND MIT", false),
            ("ISC AND (GPL OR MIT)", true),
            ("(GPL AND MIT) OR ISC", true),
            ("ISC AND (GPL OR BSD)", false),
            ("A WITH E OR GPL", true),
            ("A", false),
            ("", false),
            ("(MIT", false),
            ("MIT MIT", false),
        ] {
            assert_eq!(satisfied(expression, &allow), met, "{expression}");
        }
    }

    #[test]
    fn edges_that_are_not_allowed_are_found() {
        let package = |name: &str, dependency: &str, kind: Option<&str>| {
            json!({"name": name, "source": null,
                   "dependencies": [{"name": dependency, "kind": kind}]})
        };
        let metadata = json!({"packages": [
            package("event", "seal", None),
            package("seal", "event", None),
            package("sql", "tokio", None),
            package("pgwire", "seal", Some("dev")),
            package("stranger", "serde", None),
        ]});
        let found = edges(&metadata);
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found[0].contains("event may not depend on seal"));
        assert!(found[1].contains("sql is pure"));
        assert!(found[2].contains("stranger"));
    }
}
