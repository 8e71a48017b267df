//! Notices of cases to people outside: a webhook that fails first and is signed, and a real mail server
//! (aiosmtpd, from PyPI).

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::centre::{Centre, DATABASE, Plan, free_port, unlimited};
use crate::receiver::until;
use aws_lc_rs::hmac;
use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;

const SECRET: &str = "correct horse battery staple";

/// What a request brought.
#[derive(Clone, Debug)]
struct Brought {
    headers: BTreeMap<String, String>,
    body: String,
}

/// A webhook's receiver.
#[derive(Clone, Default)]
struct Hook {
    brought: Arc<Mutex<Vec<Brought>>>,
    works: Arc<AtomicBool>,
}

impl Hook {
    /// Listens; gives the port.
    async fn start(&self) -> u16 {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let hook = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let hook = hook.clone();
                let service = service_fn(move |request| {
                    let hook = hook.clone();
                    async move { Ok::<_, Infallible>(hook.take(request).await) }
                });
                // A connection that breaks is the other side's business.
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        port
    }

    async fn take(&self, request: Request<Incoming>) -> Response<String> {
        let headers = request.headers().iter();
        let text = |value: &hyper::header::HeaderValue| value.to_str().unwrap().to_owned();
        let headers = headers.map(|(name, value)| (name.to_string(), text(value)));
        let headers = headers.collect();
        assert_eq!(request.uri().path(), "/sekisho");
        let mut body = Vec::new();
        let mut incoming = request.into_body();
        while let Some(frame) =
            std::future::poll_fn(|context| std::pin::Pin::new(&mut incoming).poll_frame(context))
                .await
        {
            body.extend_from_slice(&frame.unwrap().into_data().unwrap());
        }
        let body = String::from_utf8(body).unwrap();
        let brought = Brought { headers, body };
        self.brought.lock().unwrap().push(brought);
        let status = if self.works.load(Ordering::Relaxed) {
            StatusCode::NO_CONTENT
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        Response::builder()
            .status(status)
            .body(String::new())
            .unwrap()
    }

    fn brought(&self) -> Vec<Brought> {
        self.brought.lock().unwrap().clone()
    }
}

/// A mail server that writes what it gets to a file.
struct MailServer {
    process: Child,
    port: u16,
    file: std::path::PathBuf,
}

impl MailServer {
    fn start(folder: &Path) -> Self {
        let run = |command: &mut Command| {
            let output = command.output().unwrap();
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{command:?}: {error}");
        };
        let venv = folder.join("venv");
        run(Command::new("python3").args(["-m", "venv"]).arg(&venv));
        run(Command::new(venv.join("bin/pip")).args(["install", "--quiet", "aiosmtpd==1.4.6"]));
        let (port, file) = (free_port(), folder.join("mail"));
        let process = Command::new(venv.join("bin/python"))
            .args([
                "-u",
                "-m",
                "aiosmtpd",
                "-n",
                "-c",
                "aiosmtpd.handlers.Debugging",
                "stdout",
            ])
            .args(["-l", &format!("127.0.0.1:{port}")])
            .stdout(std::fs::File::create(&file).unwrap())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        Self {
            process,
            port,
            file,
        }
    }

    fn got(&self) -> String {
        std::fs::read_to_string(&self.file).unwrap()
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_to_know_is_told_once_it_can_be() {
    let folder = tempfile::tempdir().unwrap();
    let hook = Hook::default();
    let hook_port = hook.start().await;
    let mail = MailServer::start(folder.path());
    let plan = Plan {
        name: "notices",
        clients: 1,
        customers: 20,
        canaries: 0,
        people: &[("tanaka", "operator", "1")],
        numbers: unlimited(),
        limits: "",
        segment_bytes: 1 << 20,
    };
    let mut centre = Centre::set_up(&plan).await;
    std::fs::write(centre.dir.join("secrets/webhook"), format!("{SECRET}\n")).unwrap();
    let path = centre.dir.join("sekisho.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let watch = format!(
        "\n[[watch.webhooks]]\nurl = \"http://127.0.0.1:{hook_port}/sekisho\"\n\
         secret = \"secrets/webhook\"\n[watch.mail]\nserver = \"127.0.0.1:{}\"\ntls = \"none\"\n\
         from = \"Sekisho <sekisho@example.jp>\"\nto = [\"security@example.jp\", \"sho@example.jp\"]\n",
        mail.port
    );
    std::fs::write(&path, text + &watch).unwrap();
    centre.start().await;
    centre
        .json(&[
            "canary",
            "plant",
            "--client",
            "1",
            "--count",
            "1",
            "--database",
            DATABASE,
            "--table",
            "customers",
            "--next",
            "id",
        ])
        .await;
    let driver = centre.connect("tanaka").await;
    let sql = "SELECT name, phone FROM customers ORDER BY id DESC LIMIT 1";
    let rows = driver.query(sql, &[]).await.unwrap();
    let shown: Vec<String> = vec![rows[0].get(0), rows[0].get(1)];

    // The mail server takes it while the webhook's receiver does not, and is asked again.
    until("a mail came", || mail.got().contains("END MESSAGE")).await;
    until("it is tried again", || hook.brought().len() > 1).await;
    until("somebody is told", || {
        centre.said().contains("answered with status 503")
    })
    .await;
    let got = mail.got();
    assert!(
        got.contains("Subject: [Sekisho] case 1 is opened: canary"),
        "{got}"
    );
    assert!(
        got.contains("security@example.jp") && got.contains("sho@example.jp"),
        "{got}"
    );
    assert!(got.contains("sekisho case show 1"), "{got}");

    // A crash in between loses nothing.
    centre.kill().await;
    let before = hook.brought().len();
    hook.works.store(true, Ordering::Relaxed);
    centre.start().await;
    until("it came", || hook.brought().len() > before).await;
    let taken = hook.brought().pop().unwrap();
    let notice: Value = serde_json::from_str(&taken.body).unwrap();
    assert_eq!(notice["case"], 1, "{notice}");
    assert_eq!(notice["detector"], "canary");
    assert_eq!(notice["client"], "c01");
    assert_eq!(notice["new"], true);
    assert_eq!(
        taken.headers["sekisho-notice"],
        notice["notice"].to_string()
    );
    let signed = format!("v1:{}:{}", taken.headers["sekisho-timestamp"], taken.body);
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let hex: String = hmac::sign(&key, signed.as_bytes())
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(taken.headers["sekisho-signature"], format!("v1={hex}"));

    // Nobody is named, and no customer.
    let all = format!("{}{}", mail.got(), taken.body);
    for personal in shown.iter().map(String::as_str).chain(["tanaka"]) {
        assert!(!all.contains(personal), "{personal}");
    }

    // What was taken is not told again.
    let place = centre.dir.join("ledger/notices");
    let kept = || {
        let files = std::fs::read_dir(&place).unwrap();
        let read = |file: std::io::Result<std::fs::DirEntry>| {
            std::fs::read_to_string(file.unwrap().path())
        };
        files
            .filter(|file| {
                file.as_ref()
                    .is_ok_and(|it| it.path().extension().is_none())
            })
            .map(read)
            .collect::<Result<Vec<_>, _>>()
    };
    until("both know how far they are", || {
        kept().is_ok_and(|all| all.len() == 2 && all.iter().all(|it| !it.starts_with("since")))
    })
    .await;
    let (mails, hooks) = (mail.got(), hook.brought().len());
    centre.stop().await;
    centre.start().await;
    until("the replay is over", || {
        centre.said().contains("has taken all")
    })
    .await;
    centre.stop().await;
    assert_eq!((mail.got(), hook.brought().len()), (mails, hooks));
}
