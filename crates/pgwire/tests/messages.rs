//! Every message of both directions: written and read back, split anywhere, and hostile bytes in
//! every decoder.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use bytes::BytesMut;
use pgwire::backend::{self, Authentication, Field, RowWriter, TransactionStatus};
use pgwire::frame::{Frame, Step, next_frame};
use pgwire::frontend::{self, SaslInitialResponse, Target};
use pgwire::startup::next_startup;
use pgwire::{DecodeError, EncodeError};
use proptest::prelude::*;

const LIMIT: usize = 1 << 20;

/// The frames of a buffer that holds whole messages only.
fn frames(mut buf: &[u8]) -> Vec<Frame<'_>> {
    let mut found = Vec::new();
    while !buf.is_empty() {
        match next_frame(buf, LIMIT).unwrap() {
            Step::Frame(frame) => {
                buf = &buf[frame.total..];
                found.push(frame);
            }
            step => panic!("not a whole message: {step:?}"),
        }
    }
    found
}

/// Every message a driver can send.
fn frontend_messages(text: &[u8], values: &[Option<Vec<u8>>]) -> BytesMut {
    let mut buf = BytesMut::new();
    let values = || values.iter().map(Option::as_deref);
    let formats = || values().map(|value| i16::from(value.is_some()));
    let target = [Target::Statement(text), Target::Portal(text)];
    frontend::write_query(&mut buf, text).unwrap();
    frontend::write_parse(&mut buf, text, text, [25, 0, u32::MAX]).unwrap();
    frontend::write_bind(&mut buf, text, b"", formats(), values(), [1, 0]).unwrap();
    frontend::write_bind(&mut buf, b"", text, [], values(), []).unwrap();
    frontend::write_describe(&mut buf, target[0]).unwrap();
    frontend::write_close(&mut buf, target[1]).unwrap();
    frontend::write_execute(&mut buf, text, -5).unwrap();
    frontend::write_flush(&mut buf);
    frontend::write_sync(&mut buf);
    frontend::write_copy_data(&mut buf, text).unwrap();
    frontend::write_copy_done(&mut buf);
    frontend::write_copy_fail(&mut buf, text).unwrap();
    frontend::write_password(&mut buf, text).unwrap();
    frontend::write_sasl_initial_response(&mut buf, text, Some(text)).unwrap();
    frontend::write_sasl_response(&mut buf, text).unwrap();
    frontend::write_function_call(&mut buf, 7, [1], values(), 1).unwrap();
    frontend::write_terminate(&mut buf);
    buf
}

/// Every message the server can send.
fn backend_messages(text: &[u8], values: &[Option<Vec<u8>>]) -> BytesMut {
    let mut buf = BytesMut::new();
    let values = || values.iter().map(Option::as_deref);
    let field = Field {
        name: text,
        table: 16_384,
        attribute: 2,
        type_oid: 25,
        type_size: -1,
        type_modifier: -1,
        format: 1,
    };
    for request in [
        Authentication::Ok,
        Authentication::CleartextPassword,
        Authentication::Md5Password(*b"salt"),
        Authentication::SaslContinue(text),
        Authentication::SaslFinal(text),
        Authentication::Other {
            code: 8,
            data: text,
        },
    ] {
        backend::write_authentication(&mut buf, request).unwrap();
    }
    backend::write_authentication_sasl(&mut buf, [&b"SCRAM-SHA-256"[..], b"X"]).unwrap();
    backend::write_backend_key_data(&mut buf, -1, &[9; 32]).unwrap();
    backend::write_negotiate_protocol_version(&mut buf, 0, [text, b"_pq_.x"]).unwrap();
    backend::write_parameter_status(&mut buf, b"TimeZone", text).unwrap();
    for status in [
        TransactionStatus::Idle,
        TransactionStatus::InTransaction,
        TransactionStatus::Failed,
    ] {
        backend::write_ready_for_query(&mut buf, status);
    }
    backend::write_command_complete(&mut buf, text).unwrap();
    backend::write_row_description(&mut buf, [field, field]).unwrap();
    backend::write_data_row(&mut buf, values()).unwrap();
    backend::write_parameter_description(&mut buf, [25, 23]).unwrap();
    backend::write_notification_response(&mut buf, 1, text, text).unwrap();
    backend::write_function_call_response(&mut buf, Some(text)).unwrap();
    backend::write_copy_in_response(&mut buf, 0, [0, 0]).unwrap();
    backend::write_copy_out_response(&mut buf, 1, [1]).unwrap();
    backend::write_parse_complete(&mut buf);
    backend::write_bind_complete(&mut buf);
    backend::write_close_complete(&mut buf);
    backend::write_no_data(&mut buf);
    backend::write_portal_suspended(&mut buf);
    backend::write_empty_query_response(&mut buf);
    frontend::write_copy_data(&mut buf, text).unwrap();
    frontend::write_copy_done(&mut buf);
    backend::ErrorFields::error(backend::SqlState("XX000"), "broken")
        .hint("mend")
        .write(&mut buf);
    backend::ErrorFields::notice(backend::SqlState("00000"), "note").write(&mut buf);
    buf
}

fn texts() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(1u8.., 1..20)
}

fn values() -> impl Strategy<Value = Vec<Option<Vec<u8>>>> {
    let value = proptest::collection::vec(any::<u8>(), 0..20);
    proptest::collection::vec(proptest::option::of(value), 0..6)
}

proptest! {
    #[test]
    fn frontend_messages_round_trip(text in texts(), values in values()) {
        let written = frontend_messages(&text, &values);
        let mut again = BytesMut::new();
        let all = frames(&written);
        prop_assert_eq!(all.len(), 17);
        for frame in all {
            let message = frontend::Message::decode(frame.tag, frame.body).unwrap();
            message.write(&mut again).unwrap();
        }
        prop_assert_eq!(again, written);
    }

    #[test]
    fn backend_messages_round_trip(text in texts(), values in values()) {
        let written = backend_messages(&text, &values);
        let mut again = BytesMut::new();
        for frame in frames(&written) {
            let message = backend::Message::decode(frame.tag, frame.body).unwrap();
            message.write(&mut again).unwrap();
        }
        prop_assert_eq!(again, written);
    }

    #[test]
    fn values_are_what_was_written(values in values()) {
        let mut buf = BytesMut::new();
        let mut writer = RowWriter::new(&mut buf);
        for value in &values {
            writer.push(value.as_deref()).unwrap();
        }
        writer.finish().unwrap();
        let row = backend::DataRow::decode(frames(&buf)[0].body).unwrap();
        let read: Vec<_> = row.values.iter().map(|value| value.map(<[u8]>::to_vec)).collect();
        prop_assert_eq!(row.values.iter().len(), values.len());
        prop_assert_eq!(read, values);
    }

    #[test]
    fn frames_do_not_depend_on_the_split(text in texts(), values in values(), cut in any::<prop::sample::Index>()) {
        let written = backend_messages(&text, &values);
        let cut = cut.index(written.len());
        let mut buf = &written[..cut];
        loop {
            match next_frame(buf, LIMIT).unwrap() {
                Step::Frame(frame) => buf = &buf[frame.total..],
                Step::NeedMore { at_least } => {
                    // What is asked for is there, and with it a header or a message is whole.
                    let from = cut - buf.len();
                    prop_assert!(at_least > 0);
                    if cut < written.len() {
                        let grown = written.get(from..cut + at_least);
                        prop_assert!(grown.is_some());
                    }
                    break;
                }
                Step::Oversize { .. } => prop_assert!(false, "nothing is above the limit"),
            }
        }
    }

    #[test]
    fn shortened_or_lengthened_bodies_are_refused(text in texts(), values in values()) {
        // A body whose length is not told by its own fields: what is cut may look whole.
        let open = |tag: u8| matches!(tag, b'd' | b'p' | b'R' | b'K');
        for frame in frames(&frontend_messages(&text, &values)) {
            if open(frame.tag) { continue }
            let longer = [frame.body, b"x"].concat();
            prop_assert!(frontend::Message::decode(frame.tag, &longer).is_err());
            for cut in 0..frame.body.len() {
                prop_assert!(frontend::Message::decode(frame.tag, &frame.body[..cut]).is_err());
            }
        }
        for frame in frames(&backend_messages(&text, &values)) {
            if open(frame.tag) { continue }
            let longer = [frame.body, b"x"].concat();
            prop_assert!(backend::Message::decode(frame.tag, &longer).is_err());
            for cut in 0..frame.body.len() {
                prop_assert!(backend::Message::decode(frame.tag, &frame.body[..cut]).is_err());
            }
        }
    }

    #[test]
    fn random_bytes_do_not_panic(tag in any::<u8>(), body in proptest::collection::vec(any::<u8>(), 0..80)) {
        let mut buf = BytesMut::new();
        if let Ok(message) = frontend::Message::decode(tag, &body) {
            message.write(&mut buf).unwrap();
        }
        if let Ok(message) = backend::Message::decode(tag, &body) {
            message.write(&mut buf).unwrap();
        }
        let _ = SaslInitialResponse::decode(&body);
        let _ = frontend::decode_password(&body);
        let _ = next_startup(&body);
        let _ = next_frame(&body, 50);
    }

    /// As above, but with lengths and counts that are nearly right.
    #[test]
    fn mutated_messages_do_not_panic(
        text in texts(),
        values in values(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mutate = |body: &[u8]| {
            let mut body = body.to_vec();
            for (at, byte) in &changes {
                if !body.is_empty() {
                    let at = at.index(body.len());
                    body[at] = *byte;
                }
            }
            body
        };
        for frame in frames(&frontend_messages(&text, &values)) {
            let body = mutate(frame.body);
            if let Ok(message) = frontend::Message::decode(frame.tag, &body) {
                message.write(&mut BytesMut::new()).unwrap();
            }
        }
        for frame in frames(&backend_messages(&text, &values)) {
            let body = mutate(frame.body);
            if let Ok(message) = backend::Message::decode(frame.tag, &body) {
                message.write(&mut BytesMut::new()).unwrap();
            }
        }
    }
}

#[test]
fn counts_that_do_not_fit_are_refused() {
    let invalid = |what| DecodeError::Invalid {
        message: "Bind",
        what,
    };
    let two_formats_one_value = b"\0\0\0\x02\0\x01\0\x01\0\x01\xff\xff\xff\xff\0\0";
    assert_eq!(
        frontend::Bind::decode(two_formats_one_value),
        Err(invalid("number of parameter formats"))
    );
    let negative_length = b"\0\0\0\0\0\x01\xff\xff\xff\xfe\0\0";
    assert_eq!(
        frontend::Bind::decode(negative_length),
        Err(invalid("value length"))
    );
    assert!(backend::DataRow::decode(b"\xff\xff\0\0\0\0").is_err());
    let unknown = frontend::Message::decode(b'!', b"").unwrap_err();
    assert_eq!(unknown, DecodeError::UnknownTag { tag: b'!' });
}

#[test]
fn failed_writers_leave_the_buffer() {
    let mut buf = BytesMut::from(&b"before"[..]);
    assert_eq!(
        frontend::write_query(&mut buf, b"a\0b"),
        Err(EncodeError::ZeroByte)
    );
    let many = std::iter::repeat_n(None, 65_536);
    assert_eq!(
        backend::write_data_row(&mut buf, many),
        Err(EncodeError::TooMany)
    );
    let mut writer = RowWriter::new(&mut buf);
    writer.push(Some(b"x")).unwrap();
    drop(writer);
    assert_eq!(buf, b"before"[..]);
}

#[test]
fn transcript_of_a_login() {
    let mut buf = BytesMut::new();
    backend::write_negotiate_protocol_version(&mut buf, 0, [&b"_pq_.x"[..]]).unwrap();
    backend::write_authentication_sasl(&mut buf, [&b"SCRAM-SHA-256"[..]]).unwrap();
    backend::write_authentication(&mut buf, Authentication::Ok).unwrap();
    backend::write_parameter_status(&mut buf, b"client_encoding", b"UTF8").unwrap();
    backend::write_backend_key_data(&mut buf, 7, b"abcd").unwrap();
    backend::write_ready_for_query(&mut buf, TransactionStatus::Idle);
    let lines: Vec<_> = frames(&buf)
        .iter()
        .map(|frame| format!("{} {}", char::from(frame.tag), frame.body.escape_ascii()))
        .collect();
    insta::assert_snapshot!(lines.join("\n"), @r"
    v \x00\x03\x00\x00\x00\x00\x00\x01_pq_.x\x00
    R \x00\x00\x00\nSCRAM-SHA-256\x00\x00
    R \x00\x00\x00\x00
    S client_encoding\x00UTF8\x00
    K \x00\x00\x00\x07abcd
    Z I
    ");
}

#[test]
fn debug_shows_no_content() {
    let mut buf = BytesMut::new();
    frontend::write_query(&mut buf, b"SELECT 'secret'").unwrap();
    backend::write_data_row(&mut buf, [Some(&b"secret"[..])]).unwrap();
    let all = frames(&buf);
    let query = frontend::Message::decode(all[0].tag, all[0].body).unwrap();
    let row = backend::DataRow::decode(all[1].body).unwrap();
    let shown = format!("{all:?} {query:?} {row:?} {:?}", row.values);
    assert!(!shown.contains("secret"), "{shown}");
}
