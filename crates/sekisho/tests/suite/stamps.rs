//! Time stamps as users see them: `[logs] timestamps`, a real authority, the client's own check.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::authority::server::Server;
use crate::authority::{Authority, USUAL, verifies};
use crate::centre::{Centre, DEADLINE, Plan, unlimited};
use serde_json::Value;
use tokio::process::Command;

/// `sekisho-verify`, which the workspace builds beside `sekisho`; its exit status and what it says.
async fn verify(arguments: &[&str]) -> (i32, String) {
    let program = Path::new(env!("CARGO_BIN_EXE_sekisho")).with_file_name("sekisho-verify");
    let output = Command::new(&program).args(arguments).output().await;
    let output = output.unwrap_or_else(|error| panic!("build the whole workspace: {error}"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code().unwrap(), said + &errors)
}

/// Waits until the index has so many lines; gives it.
async fn stamped(centre: &Centre, lines: usize) -> String {
    let began = Instant::now();
    let path = centre.dir.join("ledger/logs/root/timestamps/index");
    loop {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        if text.lines().count() >= lines {
            return text;
        }
        assert!(began.elapsed() < DEADLINE, "no stamp: {}", centre.said());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn token_of(index: &str, line: usize) -> String {
    let size = index.lines().nth(line).unwrap().split(' ').nth(1);
    format!("root/timestamps/{}", size.unwrap())
}

/// A centre whose checkpoints an authority stamps, and a client's key file and copy.
struct Rig {
    centre: Centre,
    folder: tempfile::TempDir,
    authority: Arc<Authority>,
    key: String,
    copy: String,
}

impl Rig {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Arc::new(Authority::new(&folder.path().join("tsa"), USUAL));
        let server = Server::new(Arc::clone(&authority));
        let logs = format!(
            "[logs]\ntimestamps = \"{}\"\ntimestamp_roots = \"roots.pem\"\n\
             timestamp_interval_ms = 2000\n",
            server.url
        );
        let plan = Plan {
            name: "stamps",
            clients: 1,
            customers: 20,
            canaries: 0,
            people: &[("tanaka", "operator", "1")],
            numbers: unlimited(),
            limits: "",
            segment_bytes: 1 << 20,
        };
        let mut centre = Centre::set_up(&plan).await;
        std::fs::write(centre.dir.join("roots.pem"), authority.root()).unwrap();
        let config = centre.dir.join("sekisho.toml");
        let text = std::fs::read_to_string(&config).unwrap();
        std::fs::write(&config, text + "\n" + &logs).unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let (key, copy) = (path("c01.sekisho"), path("copy"));
        let made = ["ledger", "key-file", "c01", "--out", &key];
        centre.run(&made, "").await.unwrap();
        centre.start().await;
        Self {
            centre,
            folder,
            authority,
            key,
            copy,
        }
    }

    async fn export(&self) {
        let export = ["ledger", "export", "c01", "--to", &self.copy];
        self.centre.run(&export, "").await.unwrap();
    }

    async fn check(&self, more: &[&str]) -> (i32, String) {
        let mut arguments = vec!["check", "--key", &self.key, "--from", &self.copy];
        arguments.extend(more);
        verify(&arguments).await
    }

    fn file(&self, path: &str) -> PathBuf {
        Path::new(&self.copy).join(path)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_checks_stamps_offline() {
    let mut rig = Rig::new().await;
    let driver = rig.centre.connect("tanaka").await;
    for line in 0..3 {
        let sql = format!("SELECT name FROM customers WHERE id = {}", 1_000_001 + line);
        assert!(driver.simple_query(&sql).await.unwrap().len() > 1);
        // Each of them waits for a checkpoint of its own.
        stamped(&rig.centre, line + 1).await;
    }
    drop(driver);
    rig.export().await;
    stamped(&rig.centre, 4).await;
    rig.centre.stop().await;
    // Brought up to date: only what is new is written, and all of it holds.
    rig.export().await;
    let index = std::fs::read_to_string(rig.file("root/timestamps/index")).unwrap();
    assert!(index.lines().count() >= 4, "{index}");
    for (at, _) in index.lines().enumerate() {
        let name = token_of(&index, at);
        let (token, note) = (
            rig.file(&format!("{name}.tsr")),
            rig.file(&format!("{name}.note")),
        );
        assert!(verifies(&rig.authority, &token, &note), "{token:?}");
    }
    let status = rig.centre.run(&["ledger", "status"], "").await.unwrap();
    assert!(status.contains("The newest time stamp"), "{status}");

    let (code, said) = rig.check(&["--lang", "en"]).await;
    assert_eq!(code, 0, "{said}");
    assert!(
        said.contains("CN=Test TSA") && said.contains("vouches that the first"),
        "{said}"
    );
    let (code, said) = rig.check(&["--lang", "ja"]).await;
    assert_eq!(code, 0, "{said}");
    assert!(
        said.contains("認証局") && said.contains("証明されます"),
        "{said}"
    );
    let (code, said) = rig.check(&["--json", "--again"]).await;
    assert_eq!(code, 0, "{said}");
    let said: Value = serde_json::from_str(&said).unwrap();
    assert!(
        said["timestamps"]["proven"]["leaves"].as_u64() > Some(1),
        "{said:#}"
    );
    assert_eq!(said["timestamps"]["stamps"], index.lines().count());

    // A copy of the copy has the stamps, too.
    let second = rig.folder.path().join("second").display().to_string();
    let copied = [
        "copy", "--key", &rig.key, "--from", &rig.copy, "--to", &second,
    ];
    let (code, said) = verify(&copied).await;
    assert_eq!(code, 0, "{said}");
    let copied = std::fs::read_to_string(Path::new(&second).join("root/timestamps/index"));
    assert_eq!(copied.unwrap(), index);

    // Another authority's certificate, and none at all.
    let other = Authority::new(&rig.folder.path().join("other"), USUAL);
    let roots = other.root_path().display().to_string();
    let (code, said) = rig
        .check(&["--timestamp-roots", &roots, "--lang", "en"])
        .await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("not one of those to trust"), "{said}");
    let config = rig.file("no.pem").display().to_string();
    std::fs::write(&config, "no certificate").unwrap();
    let (code, said) = rig
        .check(&["--timestamp-roots", &config, "--lang", "en"])
        .await;
    assert_eq!(
        (code, said.contains("holds no certificate")),
        (2, true),
        "{said}"
    );

    // One byte of a token, and a stamp that is taken out.
    let token = rig.file(&format!("{}.tsr", token_of(&index, 0)));
    let bytes = std::fs::read(&token).unwrap();
    let mut altered = bytes.clone();
    *altered.last_mut().unwrap() ^= 1;
    std::fs::write(&token, altered).unwrap();
    let (code, said) = rig.check(&["--again", "--lang", "en"]).await;
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains(&token_of(&index, 0)) && said.contains("[stamp-token]"),
        "{said}"
    );
    std::fs::write(&token, bytes).unwrap();
    let (_, fewer) = index.split_once('\n').unwrap();
    std::fs::write(rig.file("root/timestamps/index"), fewer).unwrap();
    let (code, said) = rig.check(&["--lang", "en"]).await;
    assert_eq!(
        (code, said.contains("[stamps-rewritten]")),
        (1, true),
        "{said}"
    );
}
