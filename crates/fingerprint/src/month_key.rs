//! The wrapped key of one client and month (docs/format/keys.md "lists/NUMBER/YYYYMM.key"), opened
//! with the key that wraps list keys. Making such files is `seal`'s business.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64_simd::URL_SAFE_NO_PAD;
use event::{ClientId, Plain};

use crate::list::{ListError, ListKey, TAG_BYTES};

/// The first line of such a file, and the beginning of the associated data.
const LINE: &str = "sekisho list key 1";
const KEY_BYTES: usize = 32;

/// Opens the file of a month's key. `month`: yyyymm.
///
/// # Errors
/// [`ListError::NotAKey`] if the text is no such file of this client and month,
/// [`ListError::KeyDoesNotOpen`] if it was wrapped under another key or altered.
pub fn open_month_key(
    wrapping: &Plain<[u8; 32]>,
    client: ClientId,
    month: u32,
    text: &str,
) -> Result<ListKey, ListError> {
    let head = format!("{LINE}\nclient {client}\nmonth {month}\nkey ");
    let wrapped = text
        .strip_prefix(&head)
        .and_then(|rest| rest.strip_suffix('\n'))
        .ok_or(ListError::NotAKey)?;
    let bytes = URL_SAFE_NO_PAD
        .decode_to_vec(wrapped)
        .map_err(|_| ListError::NotAKey)?;
    let mut bytes = Plain::new(bytes);
    if bytes.expose().len() != NONCE_LEN + KEY_BYTES + TAG_BYTES {
        return Err(ListError::NotAKey);
    }
    let (nonce, content) = bytes.expose_mut().split_at_mut(NONCE_LEN);
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| ListError::NotAKey)?;
    let under = UnboundKey::new(&AES_256_GCM, wrapping.expose())
        .map(LessSafeKey::new)
        .map_err(|_| ListError::NotAKey)?;
    let [_, client @ ..] = client.get().to_be_bytes();
    let aad = [LINE.as_bytes(), &client, &month.to_be_bytes()].concat();
    let opened = under
        .open_in_place(nonce, Aad::from(aad), content)
        .map_err(|_| ListError::KeyDoesNotOpen)?;
    let mut key = Plain::new([0; KEY_BYTES]);
    key.expose_mut().copy_from_slice(opened);
    Ok(ListKey::new(key.expose()))
}

/// Wraps a month's key, as `seal` does with a random nonce of 12 bytes.
pub fn wrap_month_key(
    wrapping: &Plain<[u8; 32]>,
    client: ClientId,
    month: u32,
    key: &Plain<[u8; 32]>,
    nonce: [u8; NONCE_LEN],
) -> String {
    let under = UnboundKey::new(&AES_256_GCM, wrapping.expose())
        .map(LessSafeKey::new)
        .expect("32 bytes are an AES-256 key");
    let [_, number @ ..] = client.get().to_be_bytes();
    let aad = [LINE.as_bytes(), &number, &month.to_be_bytes()].concat();
    let mut bytes = Plain::new(nonce.to_vec());
    bytes.expose_mut().extend_from_slice(key.expose());
    let tag = under
        .seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(aad),
            &mut bytes.expose_mut()[NONCE_LEN..],
        )
        .expect("a key is shorter than AES-GCM's 64 GiB");
    bytes.expose_mut().extend_from_slice(tag.as_ref());
    let wrapped = URL_SAFE_NO_PAD.encode_to_string(bytes.expose());
    format!("{LINE}\nclient {client}\nmonth {month}\nkey {wrapped}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::list::{open_list, seal_list};

    #[test]
    fn a_month_key_opens_with_its_own_wrapping_key_only() {
        let (wrapping, key) = (Plain::new([1; 32]), Plain::new([2; 32]));
        let client = ClientId::new(7).unwrap();
        let text = wrap_month_key(&wrapping, client, 202_611, &key, [3; NONCE_LEN]);
        let opened = open_month_key(&wrapping, client, 202_611, &text).unwrap();
        let sealed = seal_list(&ListKey::new(key.expose()), b"a", b"list").unwrap();
        assert_eq!(open_list(&opened, b"a", &sealed).unwrap().expose(), b"list");
        let no = |wrapping, client, month, text: &str| {
            open_month_key(&Plain::new([wrapping; 32]), client, month, text).unwrap_err()
        };
        assert_eq!(no(9, client, 202_611, &text), ListError::KeyDoesNotOpen);
        assert_eq!(no(1, client, 202_612, &text), ListError::NotAKey);
        let other = ClientId::new(8).unwrap();
        assert_eq!(no(1, other, 202_611, &text), ListError::NotAKey);
        let forged = text.replace("client 7", "client 8");
        assert_eq!(no(1, other, 202_611, &forged), ListError::KeyDoesNotOpen);
        assert_eq!(no(1, client, 202_611, ""), ListError::NotAKey);
    }
}
