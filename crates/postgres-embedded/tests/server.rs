//! A real server: started, reached, killed, restarted. Runs as root (then the server is another
//! user) and as an ordinary user.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // helpers of tests

use std::fs::{self, Permissions};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use postgres_embedded::{
    Binaries, Listen, Options, Password, Port, Server, ServerError, Source, UpstreamRole, Version,
    create_database, create_roles, default_cache,
};
use tempfile::TempDir;

/// A folder as the gate's: passable, not readable.
fn gate_folder() -> TempDir {
    tempfile::Builder::new()
        .prefix("gate folder ") // with spaces
        .permissions(Permissions::from_mode(0o711))
        .tempdir()
        .unwrap()
}

async fn binaries() -> Binaries {
    Binaries::find(None, &default_cache(), &mut |line| println!("{line}"))
        .await
        .unwrap()
}

async fn options(dir: &TempDir, listen: Listen) -> Options {
    Options {
        binaries: binaries().await,
        folder: dir.path().join("postgres"),
        listen,
        password: Password::new("it's a \\ password"),
        settings: vec![("shared_buffers".to_owned(), "16MB".to_owned())],
        limits: postgres_embedded::Limits::default(),
    }
}

async fn text(client: &tokio_postgres::Client, sql: &str) -> String {
    client.query_one(sql, &[]).await.unwrap().get(0)
}

fn alive(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}/cwd")).read_link().is_ok()
}

#[tokio::test]
async fn starts_serves_stops_and_keeps_what_it_was_given() {
    let dir = gate_folder();
    let options = options(&dir, Listen::Loopback(Port::Free)).await;
    let server = Server::start(options.clone()).await.unwrap();
    let address = server.address().unwrap();
    assert!(address.ip().is_loopback());
    let client = server.connect("postgres").await.unwrap();
    for (setting, value) in [
        ("fsync", "on"),
        ("full_page_writes", "on"),
        ("data_checksums", "on"),
        ("server_encoding", "UTF8"),
        ("listen_addresses", "127.0.0.1"),
        ("max_connections", "200"),
        ("shared_buffers", "16MB"),
        ("log_statement", "none"),
        ("log_min_error_statement", "panic"),
        ("password_encryption", "scram-sha-256"),
    ] {
        assert_eq!(
            text(&client, &format!("SHOW {setting}")).await,
            value,
            "{setting}"
        );
    }
    client
        .batch_execute("CREATE TABLE t (a text); INSERT INTO t VALUES ('kept')")
        .await
        .unwrap();

    // By TCP only with the password.
    let mut config = tokio_postgres::Config::new();
    config
        .host("127.0.0.1")
        .port(address.port())
        .user("sekisho")
        .dbname("postgres");
    assert!(config.connect(tokio_postgres::NoTls).await.is_err());
    config.password("wrong");
    assert!(config.connect(tokio_postgres::NoTls).await.is_err());
    config.password(options.password.expose());
    assert!(config.connect(tokio_postgres::NoTls).await.is_ok());

    // The string for other programs is the same connection.
    if let Some(psql) = server.binaries().tool("psql") {
        let output = Command::new(psql)
            .args(["-XAtc", "SELECT a FROM t"])
            .arg(server.connection_string("postgres").expose())
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "kept\n");
    }

    let pid = server.process_id().unwrap();
    server.stop().await.unwrap();
    assert!(!alive(pid));

    let server = Server::start(Options {
        listen: Listen::Socket,
        ..options
    })
    .await
    .unwrap();
    assert_eq!(server.address(), None);
    let client = server.connect("postgres").await.unwrap();
    assert_eq!(text(&client, "SELECT a FROM t").await, "kept");
    assert_eq!(text(&client, "SHOW listen_addresses").await, "");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn the_servers_user_reads_nothing_of_the_gates() {
    let dir = gate_folder();
    let secret = dir.path().join("master.key");
    fs::write(&secret, "secret").unwrap();
    fs::set_permissions(&secret, Permissions::from_mode(0o600)).unwrap();
    let server = Server::start(options(&dir, Listen::Socket).await)
        .await
        .unwrap();
    let root = fs::metadata(&secret).unwrap().uid() == 0;
    assert_eq!(server.is_isolated(), root);
    if !root {
        return server.stop().await.unwrap();
    }
    let status =
        fs::read_to_string(format!("/proc/{}/status", server.process_id().unwrap())).unwrap();
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_once(':')
            .unwrap()
            .1
            .split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert!(
        field("Uid").iter().all(|uid| uid != "0"),
        "{:?}",
        field("Uid")
    );
    assert!(
        field("Gid").iter().all(|gid| gid != "0"),
        "{:?}",
        field("Gid")
    );
    assert!(field("Groups").is_empty(), "{:?}", field("Groups"));
    let environment =
        fs::read_to_string(format!("/proc/{}/environ", server.process_id().unwrap())).unwrap();
    assert!(
        !environment.contains("CARGO"),
        "our environment is not handed on"
    );

    let client = server.connect("postgres").await.unwrap();
    let denied = |error: tokio_postgres::Error| {
        let error = error.as_db_error().unwrap().message().to_owned();
        assert!(
            error.contains("Permission denied") || error.contains("failed"),
            "{error}"
        );
    };
    let path = secret.to_str().unwrap();
    denied(
        client
            .query("SELECT pg_read_file($1)", &[&path])
            .await
            .unwrap_err(),
    );
    denied(
        client
            .query("SELECT pg_ls_dir($1)", &[&dir.path().to_str()])
            .await
            .unwrap_err(),
    );
    let memory = format!("/proc/{}/mem", std::process::id());
    denied(
        client
            .query("SELECT pg_read_binary_file($1, 0, 1)", &[&memory])
            .await
            .unwrap_err(),
    );
    let program = format!("COPY (SELECT 1) TO PROGRAM $$cat '{path}'$$");
    denied(client.batch_execute(&program).await.unwrap_err());
    let program = "COPY (SELECT 1) TO PROGRAM 'cat >/dev/null'";
    client
        .batch_execute(program)
        .await
        .expect("programs do run, so the test above means something");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn starts_again_after_a_sigkill_of_postgres() {
    let dir = gate_folder();
    let options = options(&dir, Listen::Socket).await;
    let mut server = Server::start(options.clone()).await.unwrap();
    let client = server.connect("postgres").await.unwrap();
    client
        .batch_execute("CREATE TABLE t (a text); INSERT INTO t VALUES ('kept')")
        .await
        .unwrap();
    // A backend that outlives its postmaster for a while.
    let busy = server.connect("postgres").await.unwrap();
    let busy = tokio::spawn(async move { busy.batch_execute("SELECT pg_sleep(60)").await });
    let pid = server.process_id().unwrap();
    kill(pid);
    let status = server.ended().await.unwrap();
    assert!(!status.success());
    drop(server);
    let server = Server::start(options).await.unwrap();
    let client = server.connect("postgres").await.unwrap();
    assert_eq!(text(&client, "SELECT a FROM t").await, "kept");
    assert!(busy.await.unwrap().is_err());
    server.stop().await.unwrap();
}

fn kill(pid: u32) {
    let done = Command::new("kill")
        .args(["-KILL", &pid.to_string()])
        .status()
        .unwrap();
    assert!(done.success());
}

/// The owner of the next test, in a process of its own.
#[tokio::test]
#[ignore = "run by starts_again_after_a_sigkill_of_the_owner"]
async fn owner() {
    let folder = PathBuf::from(std::env::var_os("OWNER_FOLDER").unwrap());
    let options = Options {
        binaries: binaries().await,
        folder: folder.join("postgres"),
        listen: Listen::Socket,
        password: Password::new("p"),
        settings: Vec::new(),
        limits: postgres_embedded::Limits::default(),
    };
    let mut server = Server::start(options).await.unwrap();
    fs::write(
        folder.join("pid.new"),
        server.process_id().unwrap().to_string(),
    )
    .unwrap();
    fs::rename(folder.join("pid.new"), folder.join("pid")).unwrap();
    server.ended().await.unwrap();
}

#[tokio::test]
async fn starts_again_after_a_sigkill_of_the_owner() {
    let dir = gate_folder();
    let mut options = options(&dir, Listen::Socket).await;
    options.password = Password::new("p");
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "owner"])
        .env("OWNER_FOLDER", dir.path())
        .spawn()
        .unwrap();
    let orphan: u32 = loop {
        if let Ok(text) = fs::read_to_string(dir.path().join("pid")) {
            break text.parse().unwrap();
        }
        assert!(owner.try_wait().unwrap().is_none(), "the owner ended");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    // As long as the owner lives, the folder is its own.
    let error = Server::start(options.clone()).await.unwrap_err();
    assert!(matches!(error, ServerError::Owned { .. }), "{error}");
    owner.kill().unwrap();
    owner.wait().unwrap();
    assert!(
        alive(orphan),
        "the server outlives its owner, else this test shows nothing"
    );
    let server = Server::start(options).await.unwrap();
    assert!(!alive(orphan));
    server.connect("postgres").await.unwrap();
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_stale_pid_file_that_names_a_living_process_is_no_obstacle() {
    let dir = gate_folder();
    let options = options(&dir, Listen::Socket).await;
    Server::start(options.clone())
        .await
        .unwrap()
        .stop()
        .await
        .unwrap();
    let data = options.folder.join("data");
    let mut other = Command::new("sleep").arg("60").spawn().unwrap();
    fs::write(
        data.join("postmaster.pid"),
        format!("{}\n{}\n", other.id(), data.display()),
    )
    .unwrap();
    let server = Server::start(options).await.unwrap();
    assert!(
        other.try_wait().unwrap().is_none(),
        "a process that is not ours is left alone"
    );
    server.stop().await.unwrap();
    other.kill().unwrap();
    other.wait().unwrap();
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let dir = gate_folder();
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let options = options(&dir, Listen::Loopback(Port::Fixed(port))).await;
    let error = Server::start(options.clone()).await.unwrap_err();
    assert!(
        matches!(error, ServerError::PortTaken { port: it } if it == port),
        "{error}"
    );
    drop(taken);
    Server::start(options).await.unwrap().stop().await.unwrap();
}

#[tokio::test]
async fn wrong_programs_versions_and_passwords_are_named() {
    let dir = gate_folder();
    let good = options(&dir, Listen::Socket).await;
    let nowhere = Binaries {
        bin: dir.path().join("nowhere"),
        version: Version {
            major: 15,
            minor: 0,
        },
        source: Source::Configured,
    };
    let error = Server::start(Options {
        binaries: nowhere,
        ..good.clone()
    })
    .await
    .unwrap_err();
    assert!(error.to_string().contains("initdb"), "{error}");

    Server::start(good.clone())
        .await
        .unwrap()
        .stop()
        .await
        .unwrap();
    let mut older = good.clone();
    older.binaries.version.major -= 1;
    let error = Server::start(older).await.unwrap_err();
    assert!(matches!(error, ServerError::MajorVersion { .. }), "{error}");

    let other = Options {
        password: Password::new("other"),
        ..good.clone()
    };
    let error = Server::start(other).await.unwrap_err();
    assert!(matches!(error, ServerError::Database(_)), "{error}");

    let setting = ("no_such_setting".to_owned(), "1".to_owned());
    let error = Server::start(Options {
        settings: vec![setting],
        ..good.clone()
    })
    .await
    .unwrap_err();
    assert!(
        matches!(&error, ServerError::Ended { output, .. } if output.contains("no_such_setting")),
        "{error}"
    );
    Server::start(good).await.unwrap().stop().await.unwrap();
}

#[tokio::test]
async fn a_folder_too_deep_for_a_socket_works() {
    let dir = gate_folder();
    let mut options = options(&dir, Listen::Socket).await;
    options.folder = dir
        .path()
        .join("深い".repeat(20))
        .join("postgres, \"quoted\"");
    let server = Server::start(options).await.unwrap();
    let socket = server.socket_dir().to_path_buf();
    server.connect("postgres").await.unwrap();
    server.stop().await.unwrap();
    assert!(!socket.exists());
}

#[tokio::test]
async fn roles_have_their_rights_and_log_settings() {
    let dir = gate_folder();
    let server = Server::start(options(&dir, Listen::Socket).await)
        .await
        .unwrap();
    let mut admin = server.connect("postgres").await.unwrap();
    for isolated in [true, false] {
        let roles = create_roles(&mut admin, isolated).await.unwrap();
        create_database(&server, "calls").await.unwrap();
        let connect = async |role: UpstreamRole| {
            let mut config = server.config("calls");
            config
                .user(role.name())
                .password(roles.password(role).unwrap().expose());
            let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
            tokio::spawn(connection);
            client
        };
        for role in UpstreamRole::ALL {
            let client = connect(role).await;
            for (setting, value) in [
                ("log_min_error_statement", "panic"),
                ("log_error_verbosity", "terse"),
                ("log_statement", "none"),
                ("log_min_duration_statement", "-1"),
                ("log_parameter_max_length", "0"),
                ("log_parameter_max_length_on_error", "0"),
            ] {
                assert_eq!(
                    text(&client, &format!("SHOW {setting}")).await,
                    value,
                    "{role}"
                );
            }
            let superuser = text(&client, "SHOW is_superuser").await == "on";
            assert_eq!(
                superuser,
                isolated && role == UpstreamRole::Maintainer,
                "{role}"
            );
        }
        let owner = connect(UpstreamRole::Owner).await;
        owner
            .batch_execute(
                "DROP TABLE IF EXISTS customers; CREATE TABLE customers (id bigserial, name text)",
            )
            .await
            .unwrap();
        let operator = connect(UpstreamRole::Operator).await;
        operator
            .batch_execute("INSERT INTO customers (name) VALUES ('x')")
            .await
            .unwrap();
        assert!(
            operator
                .batch_execute("DROP TABLE customers")
                .await
                .is_err()
        );
        assert!(
            operator
                .batch_execute("SELECT pg_read_file('PG_VERSION')")
                .await
                .is_err()
        );
        let catalogue = connect(UpstreamRole::Catalogue).await;
        assert!(
            catalogue
                .batch_execute("SELECT FROM customers")
                .await
                .is_err()
        );
        catalogue
            .batch_execute("SELECT to_regclass('customers')")
            .await
            .unwrap();
        let maintainer = connect(UpstreamRole::Maintainer).await;
        maintainer
            .batch_execute("ALTER TABLE customers ADD COLUMN c int")
            .await
            .unwrap();
        maintainer
            .batch_execute("REINDEX TABLE customers; SELECT * FROM customers")
            .await
            .unwrap();
        let reads_files = maintainer
            .batch_execute("SELECT pg_read_file('PG_VERSION')")
            .await;
        assert_eq!(reads_files.is_ok(), isolated);
    }
    for name in ["", "Calls", "a b", "a;b", "1a"] {
        let error = create_database(&server, name).await.unwrap_err();
        assert!(matches!(error, ServerError::Name(_)), "{error}");
    }
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_folder_out_of_reach_is_named() {
    let dir = gate_folder();
    let closed = dir.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, Permissions::from_mode(0o700)).unwrap();
    let mut options = options(&dir, Listen::Socket).await;
    options.folder = closed.join("postgres");
    match Server::start(options).await {
        Err(ServerError::NotTraversable { path, .. }) => {
            assert_eq!(path, closed);
            assert!(!postgres_embedded::folder_for(&closed).starts_with(dir.path()));
        }
        Ok(server) => {
            assert!(!server.is_isolated());
            server.stop().await.unwrap();
        }
        Err(error) => panic!("{error}"),
    }
    assert_eq!(
        postgres_embedded::folder_for(dir.path()),
        dir.path().join("postgres")
    );
}
