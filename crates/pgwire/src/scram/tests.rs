//! The exchange against RFC 7677's example and against the client of `postgres-protocol`.

use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};

use super::*;

const PASSWORD: &[u8] = "パスワード-1".as_bytes();

fn verifier(password: &[u8]) -> Verifier {
    Verifier::from_password(password, &[7; 16], ITERATIONS_DEFAULT)
}

fn server(binding: Option<&[u8]>) -> Server {
    Server::new(
        verifier(PASSWORD),
        &[3; NONCE_BYTES],
        binding.map(<[u8]>::to_vec),
    )
}

/// A whole login; gives what the client says of the server in the end.
fn login(
    mut server: Server,
    mechanism: &str,
    password: &[u8],
    binding: ChannelBinding,
) -> Result<(), ScramError> {
    let mut client = ScramSha256::new(password, binding);
    let first = server.first(mechanism, client.message())?;
    client.update(&first).unwrap();
    let last = server.last(client.message())?;
    client.finish(&last).unwrap();
    Ok(())
}

#[test]
fn example_of_rfc_7677() {
    let salt = base64_simd::STANDARD
        .decode_to_vec("W22ZaJ0SNY7soEsUEjb6gQ==")
        .unwrap();
    let verifier = Verifier::from_password(b"pencil", &salt, ITERATIONS_DEFAULT);
    let mut server = Server::new(verifier, &[0; NONCE_BYTES], None);
    server.nonce = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0".to_owned();
    let first = server
        .first(SCRAM_SHA_256, b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO")
        .unwrap();
    assert_eq!(
        String::from_utf8(first).unwrap(),
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
         s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    );
    let last = server
        .last(
            b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
              p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        )
        .unwrap();
    assert_eq!(last, b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
}

#[test]
fn right_password_is_taken() {
    let unsupported = ChannelBinding::unsupported();
    assert_eq!(
        login(server(None), SCRAM_SHA_256, PASSWORD, unsupported),
        Ok(())
    );
    let unrequested = ChannelBinding::unrequested();
    assert_eq!(
        login(server(None), SCRAM_SHA_256, PASSWORD, unrequested),
        Ok(())
    );
    let bound = ChannelBinding::tls_server_end_point(vec![5; 32]);
    assert_eq!(
        login(server(Some(&[5; 32])), SCRAM_SHA_256_PLUS, PASSWORD, bound),
        Ok(())
    );
    let unsupported = ChannelBinding::unsupported();
    assert_eq!(
        login(server(Some(&[5; 32])), SCRAM_SHA_256, PASSWORD, unsupported),
        Ok(())
    );
}

#[test]
fn wrong_password_is_refused() {
    let unsupported = ChannelBinding::unsupported();
    let result = login(server(None), SCRAM_SHA_256, b"other", unsupported);
    assert_eq!(result, Err(ScramError::Proof));
    assert!(!ScramError::Proof.is_protocol_violation());
}

#[test]
fn mock_goes_all_the_way_and_fails() {
    let mock = Verifier::mock(b"secret", "nobody", ITERATIONS_DEFAULT);
    let server = Server::new(mock, &[1; NONCE_BYTES], None);
    let result = login(
        server,
        SCRAM_SHA_256,
        PASSWORD,
        ChannelBinding::unsupported(),
    );
    assert_eq!(result, Err(ScramError::Proof));
}

#[test]
fn another_certificate_is_refused() {
    let bound = ChannelBinding::tls_server_end_point(vec![6; 32]);
    let result = login(server(Some(&[5; 32])), SCRAM_SHA_256_PLUS, PASSWORD, bound);
    assert_eq!(result, Err(ScramError::ChannelBinding));
}

#[test]
fn downgrades_are_refused() {
    let first = |offered: Option<&[u8]>, mechanism, message: &[u8]| {
        server(offered).first(mechanism, message).map(|_| ())
    };
    let end_point: Option<&[u8]> = Some(&[5; 32]);
    assert_eq!(
        first(end_point, SCRAM_SHA_256, b"y,,n=,r=x"),
        Err(ScramError::Downgrade)
    );
    assert_eq!(first(None, SCRAM_SHA_256, b"y,,n=,r=x"), Ok(()));
    assert_eq!(
        first(None, SCRAM_SHA_256_PLUS, b"n,,n=,r=x"),
        Err(ScramError::Mechanism)
    );
    assert_eq!(
        first(end_point, "SCRAM-SHA-1", b"n,,n=,r=x"),
        Err(ScramError::Mechanism)
    );
    for (mechanism, message) in [
        (SCRAM_SHA_256_PLUS, &b"n,,n=,r=x"[..]),
        (SCRAM_SHA_256_PLUS, b"y,,n=,r=x"),
        (SCRAM_SHA_256, b"p=tls-server-end-point,,n=,r=x"),
    ] {
        assert!(matches!(
            first(end_point, mechanism, message),
            Err(ScramError::Malformed(_))
        ));
    }
    assert!(matches!(
        first(end_point, SCRAM_SHA_256_PLUS, b"p=tls-unique,,n=,r=x"),
        Err(ScramError::Unsupported(_))
    ));
}

#[test]
fn malformed_first_messages_are_refused() {
    for message in [
        &b""[..],
        b"n",
        b"n,",
        b"n,,",
        b"n,,n=",
        b"n,,n=,r=",
        b"n,,r=x",
        b"n,,n=,r=a b",
        b"n,,n=,r=\xe3\x81\x82",
        b"n,,n=,r=x\0",
        b"n,,n=,r=x,",
        b"n,,n=,r=x,1=y",
        b"n,a=other,n=,r=x",
        b"n,,m=ext,n=,r=x",
        b"q,,n=,r=x",
        b"\xff\xff",
        &[b'n'; SASL_BYTES_MAX + 1],
    ] {
        assert!(
            server(None).first(SCRAM_SHA_256, message).is_err(),
            "{}",
            message.escape_ascii()
        );
    }
    assert!(
        server(None)
            .first(SCRAM_SHA_256, b"n,,n=,r=x,t=extension")
            .is_ok()
    );
}

#[test]
fn malformed_final_messages_are_refused() {
    let last = |message: &str| {
        let mut server = server(None);
        server.first(SCRAM_SHA_256, b"n,,n=,r=x").unwrap();
        let nonce = format!(
            "x{}",
            base64_simd::STANDARD.encode_to_string([3; NONCE_BYTES])
        );
        server
            .last(message.replace("NONCE", &nonce).as_bytes())
            .unwrap_err()
    };
    let proof = base64_simd::STANDARD.encode_to_string([0; 32]);
    assert_eq!(
        last(&format!("c=biws,r=NONCE,p={proof}")),
        ScramError::Proof
    );
    assert_eq!(
        last(&format!("c=biws,r=NONCE,t=x,p={proof}")),
        ScramError::Proof
    );
    assert_eq!(
        last(&format!("c=biws,r=NONCEx,p={proof}")),
        ScramError::Nonce
    );
    assert_eq!(last(&format!("c=biws,r=x,p={proof}")), ScramError::Nonce);
    assert_eq!(
        last(&format!("c=eSws,r=NONCE,p={proof}")),
        ScramError::ChannelBinding
    );
    for message in [
        "",
        "c=biws",
        "c=biws,r=NONCE",
        "c=biws,r=NONCE,p=",
        "c=biws,r=NONCE,p=AAAA",
    ] {
        assert!(
            matches!(last(message), ScramError::Malformed(_)),
            "{message}"
        );
    }
    assert!(matches!(
        last(&format!("c=biws,r=NONCE,p={proof},x=y")),
        ScramError::Malformed(_)
    ));
}

#[test]
fn steps_are_taken_once_and_in_order() {
    assert_eq!(
        server(None).last(b"c=biws,r=x,p=AA==").unwrap_err(),
        ScramError::OutOfTurn
    );
    let mut server = server(None);
    server.first(SCRAM_SHA_256, b"n,,n=,r=x").unwrap();
    assert_eq!(
        server.first(SCRAM_SHA_256, b"n,,n=,r=x"),
        Err(ScramError::OutOfTurn)
    );
}
