//! The commands, run as a person would: a folder is made, people are enrolled and approved, and
//! what is wrong gets a sentence that says what to do. Nothing here needs PostgreSQL.

use std::path::{Path, PathBuf};
use std::process::Output;

use crate::program::sekisho;
use serde_json::Value;

const PASSWORD: &str = "correct horse battery";

/// A data folder of its own.
struct Centre {
    dir: PathBuf,
    _temporary: tempfile::TempDir,
}

impl Centre {
    fn new() -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let dir = temporary.path().join("centre");
        let made = sekisho(&["init", "--no-passphrase", dir.to_str().unwrap()], "");
        assert!(made.status.success(), "{}", text(&made.stderr));
        Self {
            dir,
            _temporary: temporary,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn run(&self, arguments: &[&str], input: &str) -> Output {
        let mut all = arguments.to_vec();
        all.extend(["--dir", self.dir.to_str().unwrap()]);
        sekisho(&all, input)
    }

    /// What a command prints that has to succeed.
    fn good(&self, arguments: &[&str]) -> String {
        let out = self.run(arguments, "");
        assert!(out.status.success(), "{arguments:?}: {}", text(&out.stderr));
        text(&out.stdout)
    }

    /// The last line that a command prints that has to succeed, as JSON.
    fn json(&self, arguments: &[&str]) -> Value {
        let mut all = arguments.to_vec();
        all.push("--json");
        let out = self.good(&all);
        serde_json::from_str(out.lines().last().unwrap_or("null")).unwrap()
    }

    /// What a command says that has to fail.
    fn bad(&self, arguments: &[&str]) -> String {
        let out = self.run(arguments, "");
        assert!(
            !out.status.success(),
            "{arguments:?} succeeded: {}",
            text(&out.stdout)
        );
        text(&out.stderr)
    }

    /// Approves the newest change by both approvers.
    fn approve(&self) {
        let number = self.json(&["approve"])["number"].to_string();
        let first = self.json(&["approve", &number, "--as", "approver-1", "--yes"]);
        assert_eq!(
            (&first["in_force"], &first["missing"]),
            (&false.into(), &1.into())
        );
        let again = self.bad(&["approve", &number, "--as", "approver-1", "--yes"]);
        assert!(again.contains("signed change"), "{again}");
        let second = self.json(&["approve", &number, "--as", "approver-2", "--yes"]);
        assert_eq!(second["in_force"], true);
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn a_person_comes_into_force_by_two_approvals_and_sets_his_own_password() {
    let centre = Centre::new();
    centre.good(&["client", "add", "acme", "--name", "ACME 保険"]);
    let added = centre.json(&[
        "actor",
        "add",
        "sato",
        "--role",
        "operator",
        "--clients",
        "acme",
    ]);
    assert_eq!(
        (&added["in_force"], &added["missing"]),
        (&false.into(), &2.into())
    );
    assert!(!centre.good(&["actor", "list"]).contains("sato"));
    let early = centre.bad(&["actor", "code", "sato"]);
    assert!(early.contains("no actor sato"), "{early}");

    // Shown in plain words, and nothing is signed without a yes.
    let number = centre.json(&["approve"])["number"].to_string();
    let refused = centre.run(&["approve", &number, "--as", "approver-1"], "n\n");
    let said = text(&refused.stdout);
    assert!(
        said.contains("role: operator") && said.contains("clients: acme"),
        "{said}"
    );
    assert!(said.contains("Nothing was signed"), "{said}");
    assert_eq!(centre.json(&["approve"])["approvals"], 0);
    centre.approve();

    let code = centre.json(&["actor", "code", "sato"])["code"]
        .as_str()
        .unwrap()
        .to_owned();
    let enrol = ["actor", "enrol", "sato", "--code", &code];
    let short = centre.run(&enrol, "short\n");
    assert!(
        text(&short.stderr).contains("12 characters"),
        "{}",
        text(&short.stderr)
    );
    let wrong = centre.run(
        &["actor", "enrol", "sato", "--code", "x"],
        &format!("{PASSWORD}\n"),
    );
    assert!(
        text(&wrong.stderr).contains("one-time code is wrong"),
        "{}",
        text(&wrong.stderr)
    );
    let set = centre.run(&enrol, &format!("{PASSWORD}\n"));
    assert!(set.status.success(), "{}", text(&set.stderr));
    let twice = centre.run(&enrol, &format!("{PASSWORD}\n"));
    assert!(!twice.status.success(), "a code was used twice");
    assert_eq!(centre.json(&["actor", "list"])["password"], true);

    // It stands in the ledger, and no secret does.
    let log = centre.good(&["log", "--json"]);
    let records: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let kinds: Vec<&str> = records
        .iter()
        .map(|record| record["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds.first(), Some(&"genesis"));
    for kind in ["started", "proposed", "approved", "in-force", "stopped"] {
        assert!(kinds.contains(&kind), "{kind} in {kinds:?}");
    }
    assert!(!log.contains(&code) && !log.contains(PASSWORD));
    for (at, record) in records.iter().enumerate() {
        assert_eq!(record["sequence"], at);
    }
    let about = centre.good(&["log", "--actor", "sato", "--last", "1"]);
    assert!(
        about.contains("password of sato") && about.contains("+09:00"),
        "{about}"
    );
    assert_eq!(centre.good(&["log", "--since", "2099-01-01"]), "");
}

#[test]
fn an_administrator_alone_loosens_nothing() {
    let centre = Centre::new();
    let path = centre.path("policy/numbers.toml");
    let numbers = read(&path);
    let in_force = centre.json(&["numbers", "show"]);
    let hour = |numbers: &Value| numbers["role"]["operator"]["subjects_per_client"]["hour"].clone();

    let looser = numbers.replace(
        "subjects_per_client = { hour = 60,",
        "subjects_per_client = { hour = 61,",
    );
    assert_ne!(looser, numbers);
    std::fs::write(&path, &looser).unwrap();
    let reply = centre.json(&["numbers", "propose"]);
    assert_eq!(
        (&reply["in_force"], &reply["missing"]),
        (&false.into(), &2.into())
    );
    assert_eq!(centre.json(&["numbers", "show"]), in_force);
    let number = reply["change"].to_string();
    let himself = centre.bad(&["approve", &number, "--as", "admin", "--yes"]);
    assert!(himself.contains("approvers sign"), "{himself}");
    let key = centre.path("people/admin.key");
    let forged = centre.bad(&[
        "approve",
        &number,
        "--as",
        "approver-1",
        "--key",
        key.to_str().unwrap(),
        "--yes",
    ]);
    assert!(forged.contains("is not the key of approver-1"), "{forged}");
    let shown = centre.json(&["approve", &number]);
    let details: Vec<&str> = shown["details"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert!(
        details
            .iter()
            .any(|l| l.starts_with(" + ") && l.contains("hour = 61")),
        "{details:?}"
    );
    assert!(
        details
            .iter()
            .any(|l| l.starts_with(" - ") && l.contains("hour = 60")),
        "{details:?}"
    );
    assert_eq!(centre.json(&["numbers", "show"]), in_force);
    centre.approve();
    assert_eq!(hour(&centre.json(&["numbers", "show"])), 61);

    // Tighter needs nobody; what is wrong is refused whole, with its line.
    std::fs::write(&path, numbers.replace("{ hour = 60,", "{ hour = 5,")).unwrap();
    assert_eq!(centre.json(&["numbers", "propose"])["in_force"], true);
    assert_eq!(hour(&centre.json(&["numbers", "show"])), 5);
    std::fs::write(&path, "[client]\nsubjects = 3\n").unwrap();
    let wrong = centre.bad(&["numbers", "propose"]);
    assert!(
        wrong.contains("numbers.toml") && wrong.contains("line"),
        "{wrong}"
    );

    let policy = centre.path("policy/policy.cedar");
    let text = format!("{}\npermit (principal, action, resource);\n", read(&policy));
    std::fs::write(&policy, text).unwrap();
    assert_eq!(centre.json(&["policy", "propose"])["in_force"], false);
    let number = centre.json(&["approve"])["number"].to_string();
    centre.good(&["withdraw", &number]);
    assert_eq!(
        centre.good(&["approve"]).trim(),
        "Nothing waits for approval."
    );
    std::fs::write(&policy, "permit (principal, action);\n").unwrap();
    let wrong = centre.bad(&["policy", "propose"]);
    assert!(
        wrong.contains("policy.cedar") && wrong.contains("line 1"),
        "{wrong}"
    );
}

#[test]
fn what_is_wrong_is_named() {
    let centre = Centre::new();
    centre.good(&["client", "add", "acme", "--name", "ACME"]);
    for (arguments, said) in [
        (
            &["client", "add", "ACME", "--name", "x"][..],
            "client's code has 1 to 32 of a-z 0-9 -",
        ),
        (&["client", "add", "acme", "--name", "x"], "acme"),
        (
            &["actor", "add", "x", "--role", "operater"],
            "allowed: operator",
        ),
        (
            &[
                "actor",
                "add",
                "x",
                "--role",
                "operator",
                "--clients",
                "acmee",
            ],
            "did you mean acme?",
        ),
        (
            &["actor", "set", "amdin", "--active", "false"],
            "did you mean admin?",
        ),
        (&["actor", "set", "admin"], "nothing to change"),
        (
            &["actor", "key", "admin", "--public-key", "abc"],
            "neither a file nor a public key",
        ),
        (&["approve", "999", "--as", "approver-1"], "does not exist"),
        (
            &["approve", "1", "--as", "approver-1"],
            "in force or withdrawn",
        ),
        (&["grant", "end", "7"], "no grant 7"),
        (
            &[
                "grant", "request", "--actor", "admin", "--client", "acme", "--what", "see",
                "--amount", "1", "--hours", "1", "--ticket", "a b",
            ],
            "ticket",
        ),
        (&["log", "--since", "yesterday"], "2h, 30m"),
        (&["log", "--client", "nobody"], "no client nobody"),
        (
            &["client", "add", "x", "--name", "y", "--as", "nobody"],
            "no actor nobody",
        ),
        (
            &["client", "add", "x", "--name", "y", "--key", "/nowhere"],
            "/nowhere",
        ),
        (
            &[
                "seal",
                "--database",
                "crm",
                "--table",
                "t",
                "--column",
                "name=name:exact",
            ],
            "may not be exact",
        ),
        (&["explain", "SELECT 1"], "no database has a pin"),
    ] {
        let error = centre.bad(arguments);
        assert!(error.contains(said), "{arguments:?}: {error}");
    }
    let nowhere = sekisho(&["client", "list", "--dir", "/nowhere"], "");
    assert!(
        text(&nowhere.stderr).contains("sekisho init"),
        "{}",
        text(&nowhere.stderr)
    );
    // The private key is not taken for a public one.
    let private = centre.path("people/admin.key");
    let error = centre.bad(&[
        "actor",
        "key",
        "admin",
        "--public-key",
        private.to_str().unwrap(),
    ]);
    assert!(error.contains("private key"), "{error}");
}

#[test]
fn an_empty_passphrase_is_no_passphrase() {
    let temporary = tempfile::tempdir().unwrap();
    let dir = temporary.path().join("centre");
    let made = sekisho(&["init", dir.to_str().unwrap()], "\n");
    assert!(!made.status.success());
    let said = text(&made.stderr);
    assert!(said.contains("--no-passphrase"), "{said}");
    assert!(!dir.exists());
}

#[test]
fn keys_are_made_and_proposed() {
    let centre = Centre::new();
    let file = centre.path("ito.key");
    let made = sekisho(&["actor", "keygen", file.to_str().unwrap(), "--json"], "");
    let made: Value = serde_json::from_slice(&made.stdout).unwrap();
    let public = made["public_key"].as_str().unwrap();
    assert_eq!(read(&centre.path("ito.key.pub")).trim(), public);
    let again = sekisho(&["actor", "keygen", file.to_str().unwrap()], "");
    assert!(text(&again.stderr).contains("never overwritten"));
    centre.good(&[
        "actor",
        "add",
        "ito",
        "--role",
        "approver",
        "--public-key",
        public,
    ]);
    centre.approve();
    let key = centre.path("ito.key.pub");
    centre.good(&["actor", "key", "ito", "--public-key", key.to_str().unwrap()]);
    centre.approve();
    assert_eq!(centre.json(&["actor", "list"])["public_key"], public);
    // The third approver signs like the others.
    let number = centre.json(&["actor", "add", "mori", "--role", "auditor"])["change"].to_string();
    let signed = centre.json(&[
        "approve",
        &number,
        "--as",
        "ito",
        "--key",
        file.to_str().unwrap(),
        "--yes",
    ]);
    assert_eq!(signed["missing"], 1);
}

#[test]
fn the_doctor_finds_what_is_open_or_lost() {
    use std::os::unix::fs::PermissionsExt;
    let centre = Centre::new();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    let config = centre.path("sekisho.toml");
    std::fs::write(
        &config,
        read(&config).replace("127.0.0.1:6432", &format!("127.0.0.1:{port}")),
    )
    .unwrap();
    let checks = |out: &Output| -> Vec<(String, String, String)> {
        let lines = text(&out.stdout);
        let lines = lines
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        let word = |check: &Value, key: &str| check[key].as_str().unwrap_or_default().to_owned();
        lines
            .map(|check| {
                (
                    word(&check, "check"),
                    word(&check, "level"),
                    word(&check, "saw"),
                )
            })
            .collect()
    };
    let taken = centre.run(&["doctor", "--json"], "");
    let found = checks(&taken);
    let level = |found: &[(String, String, String)], name: &str| {
        found
            .iter()
            .find(|(check, _, _)| check == name)
            .map(|(_, level, _)| level.clone())
    };
    assert_eq!(level(&found, "port").as_deref(), Some("FAIL"), "{found:?}");
    assert!(!taken.status.success());
    drop(free);

    let found = checks(&centre.run(&["doctor", "--json"], ""));
    for well in [
        "configuration",
        "file modes",
        "ledger",
        "approvers",
        "rules",
        "certificate",
        "port",
        "clock",
    ] {
        assert_eq!(
            level(&found, well).as_deref(),
            Some("OK"),
            "{well}: {found:?}"
        );
    }
    for trial in ["identity key", "witnesses"] {
        assert_eq!(level(&found, trial).as_deref(), Some("WARN"), "{found:?}");
    }
    std::fs::remove_file(centre.path("offline/identity.key")).unwrap();
    let found = checks(&centre.run(&["doctor", "--json"], ""));
    assert_eq!(level(&found, "identity key").as_deref(), Some("OK"));
    for trial in ["master key", "people", "pin"] {
        assert!(
            level(&found, trial).is_none_or(|level| level == "WARN"),
            "{trial}: {found:?}"
        );
    }

    centre.good(&["client", "add", "acme", "--name", "ACME"]);
    std::fs::remove_file(centre.path("keys/clients/1.key")).unwrap();
    std::fs::set_permissions(centre.path("keys"), std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::write(centre.path("tls/key.pem"), "").unwrap();
    let found = checks(&centre.run(&["doctor", "--json"], ""));
    for lost in ["client keys", "file modes", "certificate"] {
        assert_eq!(
            level(&found, lost).as_deref(),
            Some("FAIL"),
            "{lost}: {found:?}"
        );
    }
    std::fs::write(&config, "centre = 3\n").unwrap();
    let out = centre.run(&["doctor"], "");
    assert!(
        text(&out.stdout).contains("sekisho.toml:1:"),
        "{}",
        text(&out.stdout)
    );
}

#[test]
fn every_command_teaches() {
    for command in [
        &["init"][..],
        &["serve"],
        &["client", "add"],
        &["client", "list"],
        &["actor", "add"],
        &["actor", "list"],
        &["actor", "code"],
        &["actor", "key"],
        &["actor", "set"],
        &["actor", "enrol"],
        &["actor", "keygen"],
        &["grant", "request"],
        &["grant", "list"],
        &["grant", "end"],
        &["approve"],
        &["withdraw"],
        &["policy", "show"],
        &["policy", "propose"],
        &["numbers", "show"],
        &["numbers", "propose"],
        &["seal"],
        &["log"],
        &["simulate"],
        &["explain"],
        &["doctor"],
    ] {
        let mut arguments = command.to_vec();
        arguments.push("--help");
        let out = sekisho(&arguments, "");
        let help = text(&out.stdout);
        let words = command.join(" ");
        assert!(
            out.status.success() && help.contains("Example"),
            "{words}: {help}"
        );
        assert!(
            help.contains(&format!("sekisho {words}")),
            "{words}: {help}"
        );
        assert!(
            help.contains("--json") || *command == ["serve"],
            "{words}: {help}"
        );
    }
}

#[test]
fn a_simulated_theft_is_written_and_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (records, truth) = (path("case.jsonl"), path("truth.jsonl"));
    let mut arguments = vec!["simulate", "--actors", "20", "--days", "60", "--json"];
    arguments.extend(["--theft", "case", "--from-day", "20"]);
    arguments.extend(["--out", &records, "--truth", &truth]);
    let out = sekisho(&arguments, "");
    assert!(out.status.success(), "{}", text(&out.stderr));
    let said: Value = serde_json::from_str(&text(&out.stdout)).unwrap();
    let lines = std::fs::read_to_string(&records).unwrap().lines().count();
    assert_eq!(said["records"], lines);
    let truth = std::fs::read_to_string(&truth).unwrap();
    let last: Value = serde_json::from_str(truth.lines().last().unwrap()).unwrap();
    assert_eq!(last["in_all"], said["lost"]);
    let out = sekisho(&["watch", "replay", "--import", &records, "--json"], "");
    let replayed = text(&out.stdout);
    let last: Value = serde_json::from_str(replayed.lines().last().unwrap()).unwrap();
    let figures = &last["summary"];
    assert_eq!(figures["records"], lines, "{replayed}");
    let thief = said["thieves"][0].to_string();
    let cases = figures["cases"].as_array().unwrap();
    let about = cases.iter().find(|it| it["actor"] == thief.as_str());
    let findings = about.map(|it| it["findings"].to_string());
    assert!(
        findings.is_some_and(|it| it.contains("burst")),
        "{replayed}"
    );
}
