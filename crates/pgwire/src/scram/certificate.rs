//! The channel binding tls-server-end-point (RFC 5929, section 4.1): a hash of the server's
//! certificate, by the hash of the certificate's own signature, SHA-256 in place of MD5 and
//! SHA-1.
//!
//! Reads just as much DER as that needs. Never here: any judgement of the certificate.

use aws_lc_rs::digest;

/// Object identifiers of signature algorithms (DER, without tag and length) and their hashes.
const SIGNATURES: [(&[u8], &digest::Algorithm); 10] = [
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x04", &digest::SHA256), // md5WithRSAEncryption
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05", &digest::SHA256), // sha1WithRSAEncryption
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b", &digest::SHA256), // sha256WithRSAEncryption
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0c", &digest::SHA384), // sha384WithRSAEncryption
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0d", &digest::SHA512), // sha512WithRSAEncryption
    (b"\x2a\x86\x48\xce\x3d\x04\x01", &digest::SHA256),         // ecdsa-with-SHA1
    (b"\x2a\x86\x48\xce\x3d\x04\x03\x01", &digest::SHA224),     // ecdsa-with-SHA224
    (b"\x2a\x86\x48\xce\x3d\x04\x03\x02", &digest::SHA256),     // ecdsa-with-SHA256
    (b"\x2a\x86\x48\xce\x3d\x04\x03\x03", &digest::SHA384),     // ecdsa-with-SHA384
    (b"\x2a\x86\x48\xce\x3d\x04\x03\x04", &digest::SHA512),     // ecdsa-with-SHA512
];

const SEQUENCE: u8 = 0x30;
const OBJECT_IDENTIFIER: u8 = 0x06;

/// The channel binding of a certificate in DER. `None` where its signature has no one hash
/// (Ed25519, RSASSA-PSS) or the bytes are no certificate: then offer no SCRAM-SHA-256-PLUS.
pub fn tls_server_end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    let (body, _) = element(certificate, SEQUENCE)?;
    let (_to_be_signed, rest) = element(body, SEQUENCE)?;
    let (algorithm, _) = element(rest, SEQUENCE)?;
    let (identifier, _) = element(algorithm, OBJECT_IDENTIFIER)?;
    let (_, hash) = SIGNATURES.iter().find(|(known, _)| *known == identifier)?;
    Some(digest::digest(hash, certificate).as_ref().to_vec())
}

/// Splits off a DER element with this tag: its content, and what follows it.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&[found, first], rest) = bytes.split_first_chunk::<2>()?;
    if found != tag {
        return None;
    }
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x83 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let length = digits
                .iter()
                .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
            (length, rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn der(tag: u8, content: &[u8]) -> Vec<u8> {
        let len = content.len();
        let mut bytes = vec![
            tag,
            0x82,
            u8::try_from(len >> 8).unwrap(),
            (len & 0xff) as u8,
        ];
        bytes.extend(content);
        bytes
    }

    fn certificate(identifier: &[u8]) -> Vec<u8> {
        let signed = der(SEQUENCE, &[7; 300]);
        let algorithm = der(SEQUENCE, &der(OBJECT_IDENTIFIER, identifier));
        der(SEQUENCE, &[signed, algorithm, vec![3, 1, 0]].concat())
    }

    #[test]
    fn hash_follows_the_signature() {
        for (identifier, hash) in SIGNATURES {
            let bytes = certificate(identifier);
            let expected = digest::digest(hash, &bytes).as_ref().to_vec();
            assert_eq!(tls_server_end_point(&bytes), Some(expected));
        }
    }

    #[test]
    fn anything_else_has_none() {
        assert_eq!(
            tls_server_end_point(&certificate(b"\x2b\x65\x70")),
            None,
            "Ed25519"
        );
        let whole = certificate(SIGNATURES[7].0);
        for cut in 0..whole.len() - 3 {
            assert_eq!(tls_server_end_point(&whole[..cut]), None);
        }
        assert_eq!(tls_server_end_point(b"\x30\x84\xff\xff\xff\xff"), None);
    }
}
