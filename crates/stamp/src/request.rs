//! TimeStampReq (RFC 3161 section 2.4.1).

use der::asn1::{Any, Int, OctetString};
use der::{Encode, Tag};
use x509_cert::spki::AlgorithmIdentifier;
use x509_tsp::{MessageImprint, TimeStampReq, TspVersion};

use crate::parse::SHA_256;

/// A nonce has so many random bits; the two above them are fixed, so that it is always a positive
/// integer of eight bytes.
pub const NONCE_BITS: u32 = 62;

/// The nonce of a request as the bytes of an INTEGER.
pub(crate) fn nonce_bytes(nonce: u64) -> [u8; 8] {
    (nonce & (u64::MAX >> 2) | 1 << NONCE_BITS).to_be_bytes()
}

/// The request for a stamp over a SHA-256 digest, with the authority's certificate in the answer.
/// The lower [`NONCE_BITS`] of `nonce` are used; they have to be random.
pub fn request(digest: &[u8; 32], nonce: u64) -> Vec<u8> {
    let null = Any::new(Tag::Null, []).expect("no bytes are few enough");
    let request = TimeStampReq {
        version: TspVersion::V1,
        message_imprint: MessageImprint {
            hash_algorithm: AlgorithmIdentifier {
                oid: SHA_256,
                parameters: Some(null),
            },
            hashed_message: OctetString::new(*digest).expect("32 bytes are few enough"),
        },
        req_policy: None,
        nonce: Some(Int::new(&nonce_bytes(nonce)).expect("eight bytes are few enough")),
        cert_req: true,
        extensions: None,
    };
    request.to_der().expect("a request of fixed length is DER")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_openssl_would_ask() {
        // As `openssl ts -query -digest 000102.. -cert` writes it, but for the nonce.
        let digest: [u8; 32] = std::array::from_fn(|at| at as u8);
        let hex: String = request(&digest, u64::MAX)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(
            hex,
            "3043020101303130\
             0d060960864801650304020105000420000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\
             02087fffffffffffffff0101ff"
        );
        assert_eq!(nonce_bytes(0)[0], 0x40);
    }
}
