//! A terminal without an agent, by the commands: it is healthy while what Windows exported agrees with
//! the policy and is fresh, and for nobody else.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::stage::Stage;
use crate::terminals::{POLICY, needs_health, sees, sign, until};

const COMPUTER: &str =
    r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Control\ComputerName\ActiveComputerName";
const APPLIED: &str = r"HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\Windows\CurrentVersion\Group Policy\State\Machine\Extension-List\{00000000-0000-0000-0000-000000000000}";

/// Now and so many seconds, as `date` writes it.
fn date(ahead_s: i64, format: &str) -> String {
    let when = format!("{ahead_s} seconds");
    let output = Command::new("date")
        .args(["-u", "-d", &when, format])
        .output();
    String::from_utf8(output.unwrap().stdout)
        .unwrap()
        .trim()
        .to_owned()
}

/// What a machine of this name exports that took the policy over now and so many seconds.
fn exported(policy: &Path, computer: &str, ahead_s: i64) -> Vec<u8> {
    let seconds: u64 = date(ahead_s, "+%s").parse().unwrap();
    let units = (seconds + 11_644_473_600) * 10_000_000;
    let more = format!(
        "Windows Registry Editor Version 5.00\r\n\r\n[{COMPUTER}]\r\n\"ComputerName\"=\"{computer}\"\r\n\r\n\
         [{APPLIED}]\r\n\"startTimeHi\"=dword:{:08x}\r\n\"startTimeLo\"=dword:{:08x}\r\n",
        units >> 32,
        units & 0xffff_ffff
    );
    let mut bytes = std::fs::read(policy).unwrap();
    bytes.extend([0xff, 0xfe]);
    bytes.extend(more.encode_utf16().flat_map(u16::to_le_bytes));
    bytes
}

fn settings(stage: &Stage, export: &[u8]) -> Output {
    let file = stage.dir.join("export.reg");
    std::fs::write(&file, export).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_sekisho"));
    command.args(["terminal", "evidence", "import", "--kind", "settings"]);
    command
        .args(["--terminal", "seat-13", "--dir"])
        .arg(&stage.dir);
    command.arg(file).output().unwrap()
}

/// Events of an asset-management product, in its own words.
fn events(stage: &Stage, lines: &str) -> serde_json::Value {
    let file: PathBuf = stage.dir.join("events.csv");
    std::fs::write(&file, format!("日時,PC,操作\n{lines}")).unwrap();
    let file = file.display().to_string();
    let map = "time=日時,terminal=PC,event=操作";
    let words = "attached=USB接続,refused=使用禁止,other=*";
    stage.command(&[
        "terminal", "evidence", "import", "--kind", "csv", "--map", map, "--words", words, &file,
    ])
}

fn refused(output: &Output, why: &str) {
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && told.contains(why), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_windows_terminal_is_healthy_while_its_evidence_agrees() {
    let stage = Stage::start();
    let policy = stage.dir.join("terminal-policy.toml");
    std::fs::write(&policy, POLICY).unwrap();
    let asked = stage.command(&["terminal", "policy", "set", policy.to_str().unwrap()]);
    sign(&stage, &asked);
    let approve = ["terminal", "approve", "seat-13", "--system", "windows"];
    let asked = stage.command(&[&approve[..], &["--address", "127.0.0.1"]].concat());
    sign(&stage, &asked);
    needs_health(&stage);
    let session = stage.connect("tanaka", "callcentre").await;
    assert!(!sees(&stage, &session).await, "there is no evidence yet");

    let folder = stage.dir.join("gpo");
    let out = folder.display().to_string();
    stage.command(&[
        "terminal",
        "policy",
        "export",
        "--to",
        "windows-gpo",
        "--out",
        &out,
    ]);
    let compiled = folder.join("sekisho.reg");

    refused(&settings(&stage, b"no registry"), "export.reg");
    refused(
        &settings(&stage, &exported(&compiled, "seat-14", 0)),
        "seat-14",
    );
    refused(
        &settings(&stage, &exported(&compiled, "SEAT-13", 3_600)),
        "future",
    );
    let unsaid = std::fs::read(&compiled).unwrap();
    refused(&settings(&stage, &unsaid), "neither whose");
    assert!(!sees(&stage, &session).await, "nothing of it counts");

    let taken = settings(&stage, &exported(&compiled, "SEAT-13", 0));
    let told = String::from_utf8_lossy(&taken.stdout);
    assert!(taken.status.success() && told.contains("agree"), "{told}");
    assert!(!sees(&stage, &session).await, "no events yet");

    let now = date(0, "+%Y-%m-%dT%H:%M:%SZ");
    let line = |computer: &str, what: &str| format!("{now},{computer},{what}\n");
    let told = events(
        &stage,
        &(line("SEAT-13", "USB接続") + &line("seat-99", "使用禁止")),
    );
    assert_eq!(told["events"], 2, "{told}");
    let unknown = told["not_taken"].as_array().unwrap();
    assert_eq!(unknown.len(), 1, "nobody approved seat-99: {told}");
    until(&stage, "healthy", |it| it["healthy"] == true).await;
    assert!(sees(&stage, &session).await, "healthy");

    // Somebody lets storage in again.
    let mut loosened = exported(&compiled, "SEAT-13", 1);
    let denied: Vec<_> = "\"Deny_All\"=dword:00000001"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let at = loosened
        .windows(denied.len())
        .position(|it| it == denied)
        .expect("it denies");
    loosened[at + denied.len() - 2] = b'0';
    let taken = settings(&stage, &loosened);
    let told = String::from_utf8_lossy(&taken.stdout);
    assert!(
        told.contains("differ in 1 places") && told.contains("Deny_All"),
        "{told}"
    );
    until(&stage, "not healthy", |it| it["healthy"] == false).await;
    assert!(!sees(&stage, &session).await, "storage is let in");
}
