//! A ledger that was lost in a disaster goes on only in a ceremony: two approvers, what is lost
//! declared, a new generation that every client and witness is told of.

use super::{
    Client, Witness, copy, cosigned, look_up, name_witnesses, refuses_to_start, set_up, verify,
};
use crate::centre::Centre;

const WITNESS: &str = "client.example/w";

/// The witness's newest checkpoint of ours, as its owner hands it over.
fn held_by(witness: &Witness) -> std::path::PathBuf {
    let heads = std::fs::read_dir(witness.folder.join("heads")).unwrap();
    let mut files: Vec<_> = heads.map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files.remove(0)
}

/// The ledger as it is, then as it was, with two more exposures in the witness's memory only.
async fn lost(
    centre: &mut Centre,
    witness: &mut Witness,
    client: &Client,
    backup: &std::path::Path,
) {
    witness.start().await;
    centre.start().await;
    look_up(centre, 1).await;
    cosigned(centre, WITNESS).await;
    centre.stop().await;
    copy(&centre.dir.join("ledger"), backup);
    centre.start().await;
    look_up(centre, 2).await;
    look_up(centre, 3).await;
    centre.stop().await;
    client.export(centre).await;
    client.holds();
    std::fs::remove_dir_all(centre.dir.join("ledger")).unwrap();
    copy(backup, &centre.dir.join("ledger"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_ledger_goes_on_as_a_new_generation_that_everyone_sees() {
    let (mut centre, folder) = set_up("ledger-lost").await;
    let (mut witness, line) = Witness::new(&centre, folder.path(), WITNESS).await;
    name_witnesses(&centre, &format!("{line}quorum {WITNESS}\n"), "");
    let client = Client::new(&centre, folder.path(), "c01").await;
    let backup = folder.path().join("backup");
    lost(&mut centre, &mut witness, &client, &backup).await;
    let said = refuses_to_start(&mut centre).await;
    assert!(said.contains("sekisho ledger generation"), "{said}");

    // A checkpoint that is none, or another log's, declares nothing.
    let held = held_by(&witness).display().to_string();
    let foreign = centre.dir.join("ledger/logs/centre/checkpoint");
    for wrong in [&foreign.display().to_string(), &client.key] {
        let asked = ["ledger", "generation", "--checkpoint", wrong, "--lost", "x"];
        assert!(centre.run(&asked, "").await.is_err(), "{wrong}");
    }

    // Nobody declares a loss alone.
    let what = "records after the backup of the night, disk failure";
    let asked = [
        "ledger",
        "generation",
        "--checkpoint",
        &held,
        "--lost",
        what,
    ];
    let asked = centre.json(&asked).await;
    assert_eq!(asked["in_force"], false, "{asked:#}");
    let said = refuses_to_start(&mut centre).await;
    assert!(said.contains("sekisho ledger generation"), "{said}");
    let change = asked["change"].to_string();
    for approver in ["approver-1", "approver-2"] {
        let approve = ["approve", &change, "--as", approver, "--yes"];
        centre.json(&approve).await;
    }

    // The witness is told of the new origin, and the gate opens.
    let logs = centre.run(&["ledger", "vkey"], "").await.unwrap();
    assert!(logs.contains("/2/root+"), "{logs}");
    std::fs::write(witness.folder.join("logs"), logs).unwrap();
    witness.kill().await;
    witness.start().await;
    centre.start().await;
    look_up(&centre, 4).await;
    cosigned(&centre, WITNESS).await;
    centre.stop().await;

    // With the old key file the client sees that it is shown something else.
    client.export(&centre).await;
    client.is_wrong("a log of another generation");
    // With the new one it checks all of it, and is told what it had before and what is declared lost.
    std::fs::remove_file(&client.key).unwrap();
    let made = ["ledger", "key-file", "c01", "--out", &client.key];
    centre.run(&made, "").await.unwrap();
    let said = client.holds().to_string();
    assert!(said.contains("new-generation"), "{said}");
    assert!(said.contains("declared-loss"), "{said}");
    assert!(said.contains(what), "{said}");
    let report = ["report", "--key", &client.key, "--from", &client.copy];
    let (status, said) = verify(&report);
    assert_eq!(status, 0, "{said:#}");
    assert!(said.to_string().contains(what), "{said:#}");
}
