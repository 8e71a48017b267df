//! Logs on an S3-compatible store that checks signatures: published with credentials, read by a
//! client without.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::time::Instant;

use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s::{S3Result, s3_error};

use super::{Client, look_up, set_up, verify};
use crate::centre::{Centre, DEADLINE};

const KEY: &str = "AKIDSEKISHO";
const SECRET: &str = "the-store-knows-it";

/// Who signs may do anything; who does not may read objects, as from a web server.
struct PublicRead;

impl S3Access for PublicRead {
    fn check<'a, 'b, 'c, 'f>(
        &'a self,
        cx: &'b mut S3AccessContext<'c>,
    ) -> Pin<Box<dyn Future<Output = S3Result<()>> + Send + 'f>>
    where
        'a: 'f,
        'b: 'f,
        'c: 'f,
        Self: 'f,
    {
        let allowed = cx.credentials().is_some() || cx.s3_op().name() == "GetObject";
        Box::pin(async move {
            if allowed {
                Ok(())
            } else {
                Err(s3_error!(AccessDenied, "sign the request"))
            }
        })
    }
}

/// A store of its own with one bucket, `logs`; gives its port.
async fn store(folder: &Path) -> u16 {
    std::fs::create_dir_all(folder.join("logs")).unwrap();
    let mut builder = S3ServiceBuilder::new(s3s_fs::FileSystem::new(folder).unwrap());
    builder.set_auth(SimpleAuth::from_single(KEY, SECRET));
    builder.set_access(PublicRead);
    let service = builder.build();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let connection =
                http1::Builder::new().serve_connection(TokioIo::new(socket), service.clone());
            tokio::spawn(async move {
                let _ = connection.await;
            });
        }
    });
    port
}

fn publish_to(centre: &Centre, port: u16) {
    let path = centre.dir.join("sekisho.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let publish = format!(
        "\n[logs]\npublish = \"s3://logs/kansai\"\npublish_endpoint = \"http://127.0.0.1:{port}\"\n"
    );
    std::fs::write(&path, text + &publish).unwrap();
}

fn credentials(secret: &str) -> [(&'static str, &str); 3] {
    [
        ("AWS_ACCESS_KEY_ID", KEY),
        ("AWS_SECRET_ACCESS_KEY", secret),
        ("AWS_DEFAULT_REGION", "ap-northeast-1"),
    ]
}

/// `[logs] publish` puts all logs where a client reads them by their address; a store that refuses
/// is said, and stops nothing.
#[tokio::test(flavor = "multi_thread")]
async fn logs_are_published_to_an_s3_store_and_checked_from_there() {
    let (mut centre, folder) = set_up("ledger-s3").await;
    let objects = folder.path().join("objects");
    let port = store(&objects).await;
    publish_to(&centre, port);

    centre.start_with(&credentials("another-secret")).await;
    look_up(&centre, 1).await;
    let began = Instant::now();
    while !centre.said().contains("SignatureDoesNotMatch") {
        assert!(began.elapsed() < DEADLINE, "{}", centre.said());
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    centre.stop().await;
    assert!(!objects.join("logs/kansai/keys").exists());

    centre.start_with(&credentials(SECRET)).await;
    look_up(&centre, 2).await;
    let client = Client::new(&centre, folder.path(), "c01").await;
    let from = format!("http://127.0.0.1:{port}/logs/kansai");
    let began = Instant::now();
    loop {
        let (status, said) = verify(&["check", "--key", &client.key, "--from", &from]);
        if status == 0 {
            break;
        }
        assert!(began.elapsed() < DEADLINE, "{said:#}\n{}", centre.said());
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
    centre.stop().await;
}
