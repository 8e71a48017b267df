//! The gate's certificate: read, of the key, in its time.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::Check;
use crate::config::Config;
use crate::folder::Folder;
use crate::service::now_ms;
use event::calendar::days;

const NAME: &str = "certificate";
/// Fewer days left than this are worth a word.
const DAYS_LOW: i64 = 30;

pub(super) fn check(folder: &Folder, config: &Config) -> Option<Check> {
    if !config.listen.tls {
        let todo = "Set listen.tls = true where anyone else uses this machine.";
        return Some(Check::warn(NAME, "TLS is off", todo));
    }
    Some(checked(folder).unwrap_or_else(|error| {
        Check::fail(
            NAME,
            error,
            "Put a certificate and its key into tls/certificate.pem and tls/key.pem.",
        )
    }))
}

fn checked(folder: &Folder) -> Result<Check, String> {
    let path = folder.path("tls/certificate.pem");
    let wrong = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&path)
        .and_then(Iterator::collect)
        .map_err(|error| wrong(&error))?;
    let first = chain
        .first()
        .ok_or_else(|| wrong(&"holds no certificate"))?
        .clone();
    let key = PrivateKeyDer::from_pem_file(folder.path("tls/key.pem"))
        .map_err(|error| format!("{}: {error}", folder.path("tls/key.pem").display()))?;
    rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| format!("tls/certificate.pem and tls/key.pem do not fit: {error}"))?;
    if pgwire::scram::tls_server_end_point(&first).is_none() {
        return Err("it has no channel binding; use ECDSA or RSA with SHA-256".to_owned());
    }
    let (from, until) = validity(&first).ok_or_else(|| wrong(&"its validity cannot be read"))?;
    let today = i64::try_from(now_ms() / 86_400_000).unwrap_or(i64::MAX);
    if today < from {
        return Err(wrong(&"is not valid yet"));
    }
    let left = until - today;
    Ok(match left {
        i64::MIN..0 => return Err(wrong(&"has expired")),
        0..DAYS_LOW => Check::warn(
            NAME,
            format!("expires in {left} days"),
            "Renew it, and start `serve` again.",
        ),
        _ => Check::ok(NAME, format!("fits its key; {left} days left")),
    })
}

/// The days (since 1970-01-01) of notBefore and notAfter (RFC 5280, 4.1.2.5).
fn validity(certificate: &[u8]) -> Option<(i64, i64)> {
    const SEQUENCE: u8 = 0x30;
    const VERSION: u8 = 0xa0;
    let (tag, certificate, _) = element(certificate)?;
    let (SEQUENCE, tbs, _) = element((tag == SEQUENCE).then_some(certificate)?)? else {
        return None;
    };
    // [version], serialNumber, signature, issuer, validity.
    let (first, _, mut rest) = element(tbs)?;
    for _ in 0..if first == VERSION { 3 } else { 2 } {
        rest = element(rest)?.2;
    }
    let (SEQUENCE, validity, _) = element(rest)? else {
        return None;
    };
    let (from_kind, from, rest) = element(validity)?;
    let (until_kind, until, _) = element(rest)?;
    Some((day(from_kind, from)?, day(until_kind, until)?))
}

/// One DER element: tag, content, what follows.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (
                length
                    .iter()
                    .fold(0, |sum, byte| sum << 8 | usize::from(*byte)),
                rest,
            )
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// UTCTime or GeneralizedTime, to the day.
fn day(kind: u8, text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
    match kind {
        0x17 => {
            let year = number(0, 2)?;
            let year = if year < 50 { 2000 + year } else { 1900 + year };
            Some(days(year, number(2, 4)?, number(4, 6)?))
        }
        0x18 => Some(days(number(0, 4)?, number(4, 6)?, number(6, 8)?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::validity;
    use event::calendar::days;

    #[test]
    fn validity_is_read_and_hostile_bytes_are_not() {
        let mut parameters = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        parameters.not_before = rcgen::date_time_ymd(2020, 3, 1);
        parameters.not_after = rcgen::date_time_ymd(2051, 12, 31);
        let key = rcgen::KeyPair::generate().unwrap();
        let made = parameters.self_signed(&key).unwrap();
        let der = made.der().to_vec();
        assert_eq!(validity(&der), Some((days(2020, 3, 1), days(2051, 12, 31))));
        for end in 0..der.len().min(200) {
            // Shorter ones end with `None`, never a panic.
            let _ = validity(&der[..end]);
        }
        assert_eq!(validity(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
    }
}
