//! Attack 5: a server in PostgreSQL's place that plants genuine cells wherever a text may stand.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use bytes::BytesMut;
use pgwire::backend::{self, Authentication, Field, TransactionStatus};
use pgwire::frame::{Frame, Step, next_frame};
use pgwire::frontend;
use pgwire::startup::{StartupPacket, StartupStep, next_startup};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::unplanned::{self, Heard};
use super::wire::{Wire, query};
use super::{LIMITS, Trial, one};

/// What the server plants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Plant {
    Nothing,
    /// In a row of the answer: what is opened if the statement is a sealed one.
    Row,
    Error,
    ErrorAfterRow,
    FatalError,
    Notice,
    Notification,
    ParameterStatus,
    ColumnName,
    CommandTag,
    FunctionResult,
    UnknownMessage,
    CopyOutOfNowhere,
    RowOfNothing,
    BinaryCell,
}

const PLANTS: [Plant; 13] = [
    Plant::Error,
    Plant::ErrorAfterRow,
    Plant::FatalError,
    Plant::Notice,
    Plant::Notification,
    Plant::ParameterStatus,
    Plant::ColumnName,
    Plant::CommandTag,
    Plant::FunctionResult,
    Plant::UnknownMessage,
    Plant::CopyOutOfNowhere,
    Plant::RowOfNothing,
    Plant::BinaryCell,
];

pub(crate) async fn run(trial: &mut Trial) {
    let maintainer = trial.centre.connect("suzuki").await;
    let cell = one(
        &maintainer,
        "SELECT phone FROM customers WHERE id = 1000001",
    )
    .await;
    assert!(cell.starts_with("sealed:"));
    drop(maintainer);
    trial.centre.stop().await;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    trial.centre.configure(LIMITS, 256 << 10, "127.0.0.1", port);
    let plant = Arc::new(Mutex::new(Plant::Nothing));
    let heard = Heard::default();
    let server = Server {
        plant: Arc::clone(&plant),
        cell: cell.clone(),
        heard: Arc::clone(&heard),
    };
    let server = tokio::spawn(serve(listener, server));
    trial.centre.start().await;
    let sealed = "SELECT phone FROM customers WHERE id = 1000001";
    *plant.lock().unwrap() = Plant::Row;
    let got = ask(trial, sealed).await;
    let opened = trial.leaks(&got);
    trial.case(
        "5",
        "(control) the cell in a row of a sealed statement is opened",
        opened,
        got.len(),
    );
    for what in PLANTS {
        *plant.lock().unwrap() = what;
        for (kind, sql) in [("sealed", sealed), ("unsealed", "SELECT topic FROM calls")] {
            let got = ask(trial, sql).await;
            let through = got.windows(7).any(|bytes| bytes == b"sealed:");
            let held = !trial.leaks(&got);
            let came = format!("{} bytes, with the cell: {through}", got.len());
            trial.case(
                "5",
                format!("a cell as {what:?} of an {kind} statement"),
                held,
                came,
            );
        }
    }
    *plant.lock().unwrap() = Plant::Row;
    let got = ask(trial, "SELECT topic FROM calls").await;
    let held = !trial.leaks(&got);
    trial.case(
        "5",
        "a cell in a row of an unsealed statement",
        held,
        got.len(),
    );
    *plant.lock().unwrap() = Plant::Nothing;
    unplanned::heard(trial, &heard).await;
    server.abort();
    trial.centre.stop().await;
}

/// Every byte that a driver gets in a session with one statement, the greeting included.
async fn ask(trial: &Trial, sql: &str) -> Vec<u8> {
    let mut wire = Wire::log_in(&trial.centre, "reader").await;
    let mut got = std::mem::take(&mut wire.greeting);
    wire.send(&query(sql)).await;
    for (tag, body) in wire.until_ready().await {
        got.push(tag);
        got.extend_from_slice(&body);
        got.push(b'\n');
    }
    got
}

#[derive(Clone)]
struct Server {
    plant: Arc<Mutex<Plant>>,
    cell: String,
    heard: Heard,
}

async fn serve(listener: TcpListener, server: Server) {
    while let Ok((stream, _)) = listener.accept().await {
        let server = server.clone();
        // A session that the gate closes ends here, too.
        tokio::spawn(async move { session(stream, &server).await });
    }
}

async fn session(mut stream: TcpStream, server: &Server) -> std::io::Result<()> {
    let cell = server.cell.as_str();
    let (mut read, mut out) = (BytesMut::new(), BytesMut::new());
    let own = loop {
        match next_startup(&read) {
            Ok(StartupStep::Packet { packet, total }) => {
                let _ = read.split_to(total);
                match packet {
                    StartupPacket::Startup { .. } => {
                        break packet.parameter("application_name") == Some("sekisho");
                    }
                    _ => return Ok(()),
                }
            }
            Ok(StartupStep::NeedMore { .. }) => {}
            Err(_) => return Ok(()),
        }
        if stream.read_buf(&mut read).await? == 0 {
            return Ok(());
        }
    };
    backend::write_authentication(&mut out, Authentication::Ok).unwrap();
    for (name, value) in [
        ("client_encoding", "UTF8"),
        ("standard_conforming_strings", "on"),
        ("server_version", "15.0"),
    ] {
        backend::write_parameter_status(&mut out, name.as_bytes(), value.as_bytes()).unwrap();
    }
    if !own {
        error(&mut out, b'N', "00000", cell);
        backend::write_parameter_status(&mut out, b"planted", cell.as_bytes()).unwrap();
    }
    backend::write_backend_key_data(&mut out, 77, &[1, 2, 3, 4]).unwrap();
    backend::write_ready_for_query(&mut out, TransactionStatus::Idle);
    let mut prepared = HashSet::new();
    let mut skipping = false;
    loop {
        stream.write_all(&out).await?;
        out.clear();
        loop {
            match next_frame(&read, 32 << 20) {
                Ok(Step::Frame(Frame { tag, total, .. })) => {
                    let message = read.split_to(total);
                    server.heard.lock().unwrap().extend_from_slice(&message);
                    let what = if own {
                        Plant::Nothing
                    } else {
                        *server.plant.lock().unwrap()
                    };
                    skipping &= tag != b'S';
                    if skipping {
                    } else if unknown(&mut prepared, tag, &message[5..]) {
                        error(&mut out, b'E', "26000", "no such statement");
                        skipping = true;
                    } else {
                        answer(&mut out, tag, what, cell);
                    }
                }
                Ok(_) => break,
                Err(_) => return Ok(()),
            }
        }
        if out.is_empty() && stream.read_buf(&mut read).await? == 0 {
            return Ok(());
        }
    }
}

/// Whether it is a Bind to a statement that was never parsed: how the gate makes PostgreSQL fail.
fn unknown(prepared: &mut HashSet<Vec<u8>>, tag: u8, body: &[u8]) -> bool {
    match tag {
        b'P' => {
            let parse = frontend::Parse::decode(body).unwrap();
            prepared.insert(parse.name.to_vec());
            false
        }
        b'B' => {
            let bind = frontend::Bind::decode(body).unwrap();
            !prepared.contains(bind.statement)
        }
        _ => false,
    }
}

/// One message of the gate, answered.
fn answer(out: &mut BytesMut, tag: u8, plant: Plant, cell: &str) {
    let name = if plant == Plant::ColumnName {
        cell
    } else {
        "phone"
    };
    match tag {
        b'P' => backend::write_parse_complete(out),
        b'B' => backend::write_bind_complete(out),
        b'C' => backend::write_close_complete(out),
        b'D' => column(out, name),
        b'E' => planted(out, plant, cell),
        b'Q' => {
            column(out, name);
            planted(out, plant, cell);
            backend::write_ready_for_query(out, TransactionStatus::Idle);
        }
        b'S' => backend::write_ready_for_query(out, TransactionStatus::Idle),
        _ => {}
    }
}

fn column(out: &mut BytesMut, name: &str) {
    let field = Field {
        name: name.as_bytes(),
        table: 0,
        attribute: 0,
        type_oid: 25,
        type_size: -1,
        type_modifier: -1,
        format: 0,
    };
    backend::write_row_description(out, [field]).unwrap();
}

fn planted(out: &mut BytesMut, plant: Plant, cell: &str) {
    let bytes = cell.as_bytes();
    let mut end: &[u8] = b"SELECT 1";
    match plant {
        Plant::Nothing | Plant::ColumnName => {}
        Plant::Row => backend::write_data_row(out, [Some(bytes)]).unwrap(),
        Plant::Error => return error(out, b'E', "22000", cell),
        Plant::ErrorAfterRow => {
            backend::write_data_row(out, [Some(&b"nothing"[..])]).unwrap();
            return error(out, b'E', "23505", cell);
        }
        Plant::FatalError => return error(out, b'E', "57P01", cell),
        Plant::Notice => error(out, b'N', "00000", cell),
        Plant::Notification => {
            backend::write_notification_response(out, 77, bytes, bytes).unwrap();
        }
        Plant::ParameterStatus => backend::write_parameter_status(out, bytes, bytes).unwrap(),
        Plant::CommandTag => end = bytes,
        Plant::FunctionResult => framed(
            out,
            b'V',
            &[&(bytes.len() as u32).to_be_bytes(), bytes].concat(),
        ),
        Plant::UnknownMessage => framed(out, b'x', bytes),
        Plant::CopyOutOfNowhere => {
            framed(out, b'H', &[0, 0, 1, 0, 0]);
            framed(out, b'W', &[0, 0, 1, 0, 0]);
        }
        Plant::RowOfNothing => {
            // More values than columns were told, none of them whole.
            let half = &bytes[..bytes.len() / 2];
            backend::write_data_row(out, [Some(half), Some(&bytes[bytes.len() / 2..])]).unwrap();
        }
        Plant::BinaryCell => {
            let binary = base64_simd::URL_SAFE_NO_PAD
                .decode_to_vec(&bytes[7..])
                .unwrap();
            backend::write_data_row(out, [Some(binary.as_slice())]).unwrap();
        }
    }
    backend::write_command_complete(out, end).unwrap();
}

fn framed(out: &mut BytesMut, tag: u8, body: &[u8]) {
    out.extend_from_slice(&[tag]);
    out.extend_from_slice(&(body.len() as u32 + 4).to_be_bytes());
    out.extend_from_slice(body);
}

/// An error or notice with the cell in every field that is text.
fn error(out: &mut BytesMut, tag: u8, code: &str, cell: &str) {
    let mut body = Vec::new();
    for field in b"SVMDHWstcdnFR" {
        body.push(*field);
        let severity = if tag == b'E' { "ERROR" } else { "NOTICE" };
        let text = if matches!(field, b'S' | b'V') {
            severity
        } else {
            cell
        };
        body.extend_from_slice(text.as_bytes());
        body.push(0);
    }
    body.push(b'C');
    body.extend_from_slice(code.as_bytes());
    body.extend_from_slice(&[0, 0]);
    framed(out, tag, &body);
}
