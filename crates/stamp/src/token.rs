//! An authority's answer, and what it proves.

use std::time::Duration;

use aws_lc_rs::digest;
use cms::signed_data::{SignerIdentifier, SignerInfo};
use der::asn1::{AnyRef, ObjectIdentifier, OctetString};
use der::{Decode, Encode, Reader, Sequence};
use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, UnixTime};
use webpki::{EndEntityCert, KeyUsage, aws_lc_rs as algorithms};
use x509_cert::Certificate;
use x509_cert::ext::pkix::ExtendedKeyUsage;
use x509_cert::spki::AlgorithmIdentifierOwned;
use x509_tsp::TimeStampResp;

use crate::error::StampError;
use crate::parse::{
    CONTENT_TYPE, EXT_KEY_USAGE, MESSAGE_DIGEST, SHA_1, SHA_256, SHA_384, SHA_512, SIGNED_DATA,
    SIGNING_CERTIFICATE, SIGNING_CERTIFICATE_V2, Signed, TIME_STAMPING, TST_INFO, TstInfo,
};
use crate::request::nonce_bytes;
use crate::roots::Roots;

/// The longest answer, in bytes: a token with a chain has a few KB.
pub const TOKEN_BYTES_MAX: usize = 64 << 10;
/// Longest text of an authority that is shown, in characters.
const TEXT_CHARS_MAX: usize = 200;
/// id-kp-timeStamping as the content of its DER.
const TIME_STAMPING_DER: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 8];

/// An answer that grants a stamp; nothing of it is believed before [`Token::check`].
#[derive(Clone, Debug)]
pub struct Token {
    signed: Signed,
    info: TstInfo,
}

/// What a token proves: that the digest was known at a time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stamp {
    /// The authority's time, ms since the Unix epoch.
    pub time_ms: u64,
    /// The token's serial number, hexadecimal.
    pub serial: String,
    /// Subject of the authority's certificate.
    pub authority: String,
    /// End of the authority's certificate (the first one of its chain to end), ms since the Unix
    /// epoch: from then on nobody says if its key leaked, and the token proves nothing by itself.
    pub until_ms: u64,
}

/// RFC 5035, with RFC 2634's as the same without an algorithm.
#[derive(Sequence)]
struct SigningCertificate<'a> {
    certificates: AnyRef<'a>,
    #[asn1(optional = "true")]
    _policies: Option<AnyRef<'a>>,
}

fn malformed(error: der::Error) -> StampError {
    StampError::Malformed(error.to_string())
}

impl Token {
    /// Reads a TimeStampResp.
    ///
    /// # Errors
    /// If it is too long, no DER of one, or refuses the stamp.
    pub fn parse(der: &[u8]) -> Result<Self, StampError> {
        if der.len() > TOKEN_BYTES_MAX {
            return Err(StampError::TooLong(TOKEN_BYTES_MAX));
        }
        let answer = TimeStampResp::from_der(der).map_err(malformed)?;
        let status = answer.status.status as u8;
        // granted and grantedWithMods; what was modified shows in the token.
        if status > 1 {
            let said = answer.status.status_string.unwrap_or_default();
            let said: Vec<&str> = said.iter().map(|text| text.as_str()).collect();
            return Err(StampError::Refused {
                status,
                text: printable(&said.join(" ")),
            });
        }
        let token = answer
            .time_stamp_token
            .ok_or_else(|| StampError::Malformed("it holds no token".into()))?;
        if token.content_type != SIGNED_DATA {
            return Err(StampError::Malformed("its token is no signed data".into()));
        }
        let content = token.content.to_der().map_err(malformed)?;
        let signed = Signed::parse(&content).map_err(malformed)?;
        if signed.content_type != TST_INFO {
            return Err(StampError::Malformed("it signs no time stamp".into()));
        }
        let info = TstInfo::parse(&signed.content).map_err(malformed)?;
        Ok(Self { signed, info })
    }

    /// Checks that an authority below one of `roots` stamped the SHA-256 digest, in answer to the
    /// request with this nonce if it is at hand.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(
        &self,
        digest: &[u8; 32],
        nonce: Option<u64>,
        roots: &Roots,
    ) -> Result<Stamp, StampError> {
        let imprint = &self.info.imprint;
        if imprint.hash_algorithm.oid != SHA_256 || imprint.hashed_message.as_bytes() != digest {
            return Err(StampError::Imprint);
        }
        if let Some(nonce) = nonce
            && self.info.nonce.as_deref() != Some(&nonce_bytes(nonce))
        {
            return Err(StampError::Nonce);
        }
        let [signer] = &self.signed.signers[..] else {
            return Err(StampError::Signers(self.signed.signers.len()));
        };
        let attributes = self.attributes(signer)?;
        let (der, certificate) = self.certificate(signer)?;
        only_for_stamps(&certificate)?;
        let der = CertificateDer::from(der);
        let end_entity = EndEntityCert::try_from(&der)
            .map_err(|error| StampError::Chain(format!("its certificate: {error}")))?;
        verify(&end_entity, signer, &attributes)?;
        let mut until = certificate
            .tbs_certificate
            .validity
            .not_after
            .to_unix_duration();
        for intermediate in self.chain(&end_entity, roots)? {
            until = until.min(intermediate);
        }
        Ok(Stamp {
            time_ms: self.info.time_ms,
            serial: self
                .info
                .serial
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect(),
            authority: printable(&certificate.tbs_certificate.subject.to_string()),
            until_ms: u64::try_from(until.as_millis()).unwrap_or(u64::MAX),
        })
    }

    /// The signed attributes as they are signed (RFC 5652 section 5.4), if they fit the content.
    fn attributes(&self, signer: &SignerInfo) -> Result<Vec<u8>, StampError> {
        let wrong = StampError::Attributes;
        let attributes = signer
            .signed_attrs
            .as_ref()
            .ok_or(wrong("there are none"))?;
        let content_type = attribute(signer, CONTENT_TYPE).ok_or(wrong("no content type"))?;
        if content_type.decode_as::<ObjectIdentifier>() != Ok(TST_INFO) {
            return Err(wrong("another content type"));
        }
        let given = attribute(signer, MESSAGE_DIGEST).ok_or(wrong("no message digest"))?;
        let given: OctetString = given.decode_as().map_err(malformed)?;
        let algorithm = match signer.digest_alg.oid {
            SHA_256 => &digest::SHA256,
            SHA_384 => &digest::SHA384,
            SHA_512 => &digest::SHA512,
            _ => return Err(StampError::Algorithm("digest algorithm")),
        };
        if digest::digest(algorithm, &self.signed.content).as_ref() != given.as_bytes() {
            return Err(wrong("another message digest"));
        }
        attributes.to_der().map_err(malformed)
    }

    /// The certificate that the signer names and the signed attributes commit to (RFC 5816).
    fn certificate(&self, signer: &SignerInfo) -> Result<(&[u8], Certificate), StampError> {
        let (newer, older) = (
            attribute(signer, SIGNING_CERTIFICATE_V2),
            attribute(signer, SIGNING_CERTIFICATE),
        );
        let committed = match (&newer, &older) {
            (Some(newer), _) => first_id(newer, true),
            (None, Some(older)) => first_id(older, false),
            (None, None) => return Err(StampError::Attributes("no signing certificate")),
        };
        let (algorithm, hash) = committed.map_err(malformed)?;
        let algorithm = match algorithm {
            // SHA-1 only picks the certificate here; whose key it holds, the signature says.
            SHA_1 if newer.is_none() => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            SHA_256 => &digest::SHA256,
            SHA_384 => &digest::SHA384,
            SHA_512 => &digest::SHA512,
            _ => return Err(StampError::Algorithm("digest of the signing certificate")),
        };
        let found = self
            .signed
            .certificates
            .iter()
            .find(|der| digest::digest(algorithm, der).as_ref() == hash)
            .ok_or(StampError::Certificate)?;
        let certificate = Certificate::from_der(found).map_err(malformed)?;
        if let SignerIdentifier::IssuerAndSerialNumber(named) = &signer.sid {
            let own = &certificate.tbs_certificate;
            if named.issuer != own.issuer || named.serial_number != own.serial_number {
                return Err(StampError::Certificate);
            }
        }
        Ok((found, certificate))
    }

    /// The path to a root at the token's time; gives the ends of the certificates between.
    fn chain(
        &self,
        end_entity: &EndEntityCert<'_>,
        roots: &Roots,
    ) -> Result<Vec<Duration>, StampError> {
        let chain = |error: &dyn std::fmt::Display| StampError::Chain(error.to_string());
        let others: Vec<CertificateDer<'_>> = self
            .signed
            .certificates
            .iter()
            .map(|der| CertificateDer::from(&der[..]))
            .collect();
        let at = UnixTime::since_unix_epoch(Duration::from_millis(self.info.time_ms));
        // Of the end entity it is checked apart, more strictly; authorities between may be for all.
        let usage = KeyUsage::required_if_present(TIME_STAMPING_DER);
        let all = webpki::ALL_VERIFICATION_ALGS;
        let path = end_entity
            .verify_for_usage(all, &roots.anchors, &others, at, usage, None, None)
            .map_err(|error| chain(&error))?;
        path.intermediate_certificates()
            .map(|between| {
                let between = Certificate::from_der(&between.der()).map_err(malformed)?;
                Ok(between
                    .tbs_certificate
                    .validity
                    .not_after
                    .to_unix_duration())
            })
            .collect()
    }
}

/// The value of an attribute that is there once, with one value.
fn attribute(signer: &SignerInfo, oid: ObjectIdentifier) -> Option<der::Any> {
    let mut found = signer
        .signed_attrs
        .as_ref()?
        .iter()
        .filter(|it| it.oid == oid);
    let (one, more) = (found.next()?, found.next());
    match one.values.as_slice() {
        [value] if more.is_none() => Some(value.clone()),
        _ => None,
    }
}

/// Digest algorithm and digest of the first ESSCertID or ESSCertIDv2.
fn first_id(attribute: &der::Any, newer: bool) -> der::Result<(ObjectIdentifier, Vec<u8>)> {
    let signing: SigningCertificate<'_> = attribute.decode_as()?;
    signing.certificates.sequence(|list| {
        let first: AnyRef<'_> = list.decode()?;
        let id = first.sequence(|id| {
            let mut algorithm = if newer { SHA_256 } else { SHA_1 };
            if newer && id.peek_tag()? == der::Tag::Sequence {
                algorithm = id.decode::<AlgorithmIdentifierOwned>()?.oid;
            }
            let hash: OctetString = id.decode()?;
            while !id.is_finished() {
                id.tlv_bytes()?;
            }
            Ok((algorithm, hash.into_bytes()))
        });
        while !list.is_finished() {
            list.tlv_bytes()?;
        }
        id
    })
}

/// Extended key usage: critical, time stamping and nothing else (RFC 3161 section 2.3).
fn only_for_stamps(certificate: &Certificate) -> Result<(), StampError> {
    let extensions = certificate.tbs_certificate.extensions.as_deref();
    let mut usages = extensions
        .unwrap_or_default()
        .iter()
        .filter(|it| it.extn_id == EXT_KEY_USAGE);
    let (Some(usage), None) = (usages.next(), usages.next()) else {
        return Err(StampError::Usage);
    };
    let purposes = ExtendedKeyUsage::from_der(usage.extn_value.as_bytes()).map_err(malformed)?;
    match (&purposes.0[..], usage.critical) {
        ([TIME_STAMPING], true) => Ok(()),
        _ => Err(StampError::Usage),
    }
}

/// The signature over the signed attributes.
fn verify(
    certificate: &EndEntityCert<'_>,
    signer: &SignerInfo,
    attributes: &[u8],
) -> Result<(), StampError> {
    let known = signature_algorithms(signer);
    if known.is_empty() {
        return Err(StampError::Algorithm("signature algorithm"));
    }
    let signature = signer.signature.as_bytes();
    let holds = known.iter().any(|algorithm| {
        certificate
            .verify_signature(*algorithm, attributes, signature)
            .is_ok()
    });
    match holds {
        true => Ok(()),
        false => Err(StampError::Signature),
    }
}

type Algorithms = Vec<&'static dyn SignatureVerificationAlgorithm>;

/// What a signature may be: CMS names RSA by the key alone, and ECDSA without the curve.
fn signature_algorithms(signer: &SignerInfo) -> Algorithms {
    const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
    const RSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
    const RSA_SHA_256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");
    const RSA_SHA_384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.12");
    const RSA_SHA_512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.13");
    const ECDSA_SHA_256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
    const ECDSA_SHA_384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");
    const ECDSA_SHA_512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.4");
    const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
    match (signer.signature_algorithm.oid, signer.digest_alg.oid) {
        (RSA | RSA_SHA_256, SHA_256) => vec![algorithms::RSA_PKCS1_2048_8192_SHA256],
        (RSA | RSA_SHA_384, SHA_384) => vec![algorithms::RSA_PKCS1_2048_8192_SHA384],
        (RSA | RSA_SHA_512, SHA_512) => vec![algorithms::RSA_PKCS1_2048_8192_SHA512],
        (RSA_PSS, SHA_256) => vec![algorithms::RSA_PSS_2048_8192_SHA256_LEGACY_KEY],
        (RSA_PSS, SHA_384) => vec![algorithms::RSA_PSS_2048_8192_SHA384_LEGACY_KEY],
        (RSA_PSS, SHA_512) => vec![algorithms::RSA_PSS_2048_8192_SHA512_LEGACY_KEY],
        (ECDSA_SHA_256, SHA_256) => vec![
            algorithms::ECDSA_P256_SHA256,
            algorithms::ECDSA_P384_SHA256,
            algorithms::ECDSA_P521_SHA256,
        ],
        (ECDSA_SHA_384, SHA_384) => vec![
            algorithms::ECDSA_P384_SHA384,
            algorithms::ECDSA_P256_SHA384,
            algorithms::ECDSA_P521_SHA384,
        ],
        (ECDSA_SHA_512, SHA_512) => vec![
            algorithms::ECDSA_P521_SHA512,
            algorithms::ECDSA_P256_SHA512,
            algorithms::ECDSA_P384_SHA512,
        ],
        (ED25519, SHA_512) => vec![algorithms::ED25519],
        _ => vec![],
    }
}

/// A text of someone else, fit to be shown.
fn printable(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control())
        .take(TEXT_CHARS_MAX)
        .collect()
}
