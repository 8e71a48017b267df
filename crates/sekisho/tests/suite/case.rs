//! The demo, whole: real PostgreSQL, real pg_dump and pg_restore, real SIGKILL. Each of its steps
//! looks at what the driver got and at what the ledger holds; here all of them have to hold.

use std::process::{Command, Stdio};

#[test]
fn every_step_of_the_case_goes_as_it_has_to() {
    // A folder that PostgreSQL's user cannot pass through, as below /root: its files lie elsewhere.
    let closed = tempfile::tempdir().expect("a folder can be made");
    let dir = closed.path().join("case");
    let json = dir.with_extension("json");
    let output = Command::new(env!("CARGO_BIN_EXE_sekisho"))
        .args([
            "demo",
            "--exit",
            "--port",
            "0",
            "--customers-per-client",
            "100",
            "--dir",
        ])
        .arg(&dir)
        .arg("--json")
        .arg(&json)
        .stdin(Stdio::null())
        .output()
        .expect("the program starts");
    let told = String::from_utf8_lossy(&output.stdout);
    let steps =
        std::fs::read(&json).map(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes));
    let _ = std::fs::remove_dir_all(postgres_embedded::folder_for(&dir));
    assert!(
        output.status.success(),
        "{told}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let steps = steps.expect("the table was written").expect("it is JSON");
    let steps = steps.as_object().expect("it is an object");
    assert!(steps.len() >= 8, "{told}");
    for (name, step) in steps {
        assert_eq!(step["ok"], true, "{name}: {step}");
    }
}
