//! DER of a token: RFC 3161 section 2.4.2, CMS SignedData (RFC 5652 section 5.1). Sets are read by
//! hand where their number has to be bounded, or the bytes are needed as they stand.

use std::time::Duration;

use cms::content_info::CmsVersion;
use cms::signed_data::{EncapsulatedContentInfo, SignerInfo};
use der::asn1::{AnyRef, Int, ObjectIdentifier};
use der::{Decode, ErrorKind, Reader, SliceReader, Tag, TagNumber};
use x509_cert::ext::Extension;
use x509_tsp::{MessageImprint, TspVersion};

pub(crate) const SIGNED_DATA: ObjectIdentifier = oid("1.2.840.113549.1.7.2");
pub(crate) const TST_INFO: ObjectIdentifier = oid("1.2.840.113549.1.9.16.1.4");
pub(crate) const CONTENT_TYPE: ObjectIdentifier = oid("1.2.840.113549.1.9.3");
pub(crate) const MESSAGE_DIGEST: ObjectIdentifier = oid("1.2.840.113549.1.9.4");
pub(crate) const SIGNING_CERTIFICATE: ObjectIdentifier = oid("1.2.840.113549.1.9.16.2.12");
pub(crate) const SIGNING_CERTIFICATE_V2: ObjectIdentifier = oid("1.2.840.113549.1.9.16.2.47");
pub(crate) const EXT_KEY_USAGE: ObjectIdentifier = oid("2.5.29.37");
pub(crate) const TIME_STAMPING: ObjectIdentifier = oid("1.3.6.1.5.5.7.3.8");
pub(crate) const SHA_1: ObjectIdentifier = oid("1.3.14.3.2.26");
pub(crate) const SHA_256: ObjectIdentifier = oid("2.16.840.1.101.3.4.2.1");
pub(crate) const SHA_384: ObjectIdentifier = oid("2.16.840.1.101.3.4.2.2");
pub(crate) const SHA_512: ObjectIdentifier = oid("2.16.840.1.101.3.4.2.3");

const fn oid(text: &str) -> ObjectIdentifier {
    ObjectIdentifier::new_unwrap(text)
}

/// Certificates in a token; a chain has a few.
const CERTIFICATES_MAX: usize = 16;
/// Signers read; one is allowed.
const SIGNERS_MAX: usize = 2;
/// RFC 3161: serial numbers of up to 160 bits must be taken.
const SERIAL_BYTES_MAX: usize = 64;

/// What a token says.
#[derive(Clone, Debug)]
pub(crate) struct TstInfo {
    pub(crate) imprint: MessageImprint,
    pub(crate) serial: Vec<u8>,
    /// Since the Unix epoch, ms.
    pub(crate) time_ms: u64,
    pub(crate) nonce: Option<Vec<u8>>,
}

/// The signed data around it.
#[derive(Clone, Debug)]
pub(crate) struct Signed {
    pub(crate) content_type: ObjectIdentifier,
    /// The DER of the TSTInfo.
    pub(crate) content: Vec<u8>,
    pub(crate) certificates: Vec<Vec<u8>>,
    pub(crate) signers: Vec<SignerInfo>,
}

impl Signed {
    pub(crate) fn parse(der: &[u8]) -> der::Result<Self> {
        AnyRef::from_der(der)?.sequence(|reader| {
            let _version: CmsVersion = reader.decode()?;
            let algorithms: AnyRef<'_> = reader.decode()?;
            algorithms.tag_is(Tag::Set)?;
            let content: EncapsulatedContentInfo = reader.decode()?;
            let certificates = implicit_set(reader, TagNumber::N0)?;
            implicit_set(reader, TagNumber::N1)?;
            let signers: AnyRef<'_> = reader.decode()?;
            signers.tag_is(Tag::Set)?;
            let bytes = content.econtent.ok_or(ErrorKind::Failed)?;
            AnyRef::from(&bytes).tag_is(Tag::OctetString)?;
            let certificates = certificates.map(|set| elements(set, CERTIFICATES_MAX));
            Ok(Self {
                content_type: content.econtent_type,
                content: bytes.value().to_vec(),
                certificates: certificates
                    .transpose()?
                    .unwrap_or_default()
                    .into_iter()
                    .map(<[u8]>::to_vec)
                    .collect(),
                signers: elements(signers, SIGNERS_MAX)?
                    .into_iter()
                    .map(SignerInfo::from_der)
                    .collect::<der::Result<_>>()?,
            })
        })
    }
}

trait TagIs {
    fn tag_is(&self, tag: Tag) -> der::Result<()>;
}

impl TagIs for AnyRef<'_> {
    fn tag_is(&self, tag: Tag) -> der::Result<()> {
        der::Tagged::tag(self).assert_eq(tag).map(|_| ())
    }
}

/// `[N] IMPLICIT SET OPTIONAL`.
fn implicit_set<'a>(
    reader: &mut SliceReader<'a>,
    number: TagNumber,
) -> der::Result<Option<AnyRef<'a>>> {
    let tag = Tag::ContextSpecific {
        constructed: true,
        number,
    };
    if reader.is_finished() || reader.peek_tag()? != tag {
        return Ok(None);
    }
    reader.decode().map(Some)
}

/// The elements of a set, each with its tag and length.
fn elements(set: AnyRef<'_>, max: usize) -> der::Result<Vec<&[u8]>> {
    let mut reader = SliceReader::new(set.value())?;
    let mut found = Vec::new();
    while !reader.is_finished() {
        if found.len() == max {
            return Err(ErrorKind::Failed.into());
        }
        found.push(reader.tlv_bytes()?);
    }
    Ok(found)
}

impl TstInfo {
    pub(crate) fn parse(der: &[u8]) -> der::Result<Self> {
        AnyRef::from_der(der)?.sequence(|reader| {
            let _version: TspVersion = reader.decode()?;
            let _policy: ObjectIdentifier = reader.decode()?;
            let imprint: MessageImprint = reader.decode()?;
            let serial: Int = reader.decode()?;
            let time: AnyRef<'_> = reader.decode()?;
            time.tag_is(Tag::GeneralizedTime)?;
            if serial.as_bytes().len() > SERIAL_BYTES_MAX {
                return Err(Tag::Integer.value_error());
            }
            Ok(Self {
                imprint,
                serial: serial.as_bytes().to_vec(),
                time_ms: general_time(time.value()).ok_or(Tag::GeneralizedTime.value_error())?,
                nonce: rest(reader)?,
            })
        })
    }
}

/// What follows genTime, each optional, in this order: accuracy, ordering, nonce, tsa, extensions.
/// Gives the nonce.
fn rest(reader: &mut SliceReader<'_>) -> der::Result<Option<Vec<u8>>> {
    let (mut nonce, mut before) = (None, 0);
    while !reader.is_finished() {
        let field: AnyRef<'_> = reader.decode()?;
        let tag = der::Tagged::tag(&field);
        let place = match tag {
            Tag::Sequence => 1,
            Tag::Boolean => 2,
            Tag::Integer => 3,
            Tag::ContextSpecific { number, .. } if number == TagNumber::N0 => 4,
            Tag::ContextSpecific { number, .. } if number == TagNumber::N1 => 5,
            other => return Err(other.unexpected_error(None)),
        };
        if place <= before {
            return Err(tag.unexpected_error(None));
        }
        before = place;
        if place == 3 {
            nonce = Some(field.value().to_vec());
        }
        if place == 5 {
            let all: Vec<Extension> = AnyRef::new(Tag::Sequence, field.value())?.decode_as()?;
            // None is known that would have to be understood.
            if all.iter().any(|it| it.critical) {
                return Err(ErrorKind::Failed.into());
            }
        }
    }
    Ok(nonce)
}

/// `YYYYMMDDhhmmss[.f...]Z`, as ms since the Unix epoch. RFC 3161 allows fractions, which DER of
/// certificates does not.
fn general_time(value: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(value).ok()?.strip_suffix('Z')?;
    let (whole, fraction) = match text.split_once('.') {
        Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
        Some(_) => return None,
        None => (text, ""),
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() != 14 || !digits(whole) || fraction.len() > 9 || !digits(fraction) {
        return None;
    }
    let two = |at: usize| whole[at..at + 2].parse::<u8>().ok();
    let year = whole[..4].parse().ok()?;
    let time = der::DateTime::new(year, two(4)?, two(6)?, two(8)?, two(10)?, two(12)?).ok()?;
    let ms: String = fraction.chars().chain("000".chars()).take(3).collect();
    let since = time.unix_duration() + Duration::from_millis(ms.parse().ok()?);
    u64::try_from(since.as_millis()).ok()
}

#[cfg(test)]
mod tests {
    use super::general_time;

    #[test]
    fn times() {
        assert_eq!(general_time(b"20260401000000Z"), Some(1_775_001_600_000));
        assert_eq!(general_time(b"20260401000000.5Z"), Some(1_775_001_600_500));
        assert_eq!(
            general_time(b"20260401000000.123456Z"),
            Some(1_775_001_600_123)
        );
        for bad in [
            &b"20260401000000"[..],
            b"20260401000000.Z",
            b"20260431000000Z",
            b"2026040100000Z",
            b"20260401000000+0900",
            b"+0260401000000Z",
            b"20260401000000.\xffZ",
            b"19600401000000Z",
            b"",
        ] {
            assert_eq!(general_time(bad), None, "{bad:?}");
        }
    }
}
