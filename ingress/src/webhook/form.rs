//! `application/x-www-form-urlencoded`, GitHub's default content type: the JSON is the `payload` field.

use percent_encoding::percent_decode;

use super::refusal::Refusal;

/// The one field that counts.
const FIELD: &[u8] = b"payload";

/// Takes the `payload` field out of a form, as bytes: whether they are UTF-8 is checked later.
///
/// # Errors
/// When there is no such field, or more than one.
pub fn payload(form: &[u8]) -> Result<Vec<u8>, Refusal> {
    let mut found = None;
    for pair in form.split(|byte| *byte == b'&') {
        let (name, value) = match pair.iter().position(|byte| *byte == b'=') {
            Some(at) => (&pair[..at], &pair[at + 1..]),
            None => (pair, &[][..]),
        };
        // An encoded name is at most three times as long: a huge one need not be decoded.
        if name.len() <= 3 * FIELD.len() && decode(name) == FIELD && found.replace(value).is_some() {
            return Err(Refusal::Json("The form has more than one payload field"));
        }
    }
    found.map(decode).ok_or(Refusal::Json("The form has no payload field"))
}

/// Decodes `+` and `%XX`; what is not an escape stays as it is, as in browsers.
fn decode(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for (position, part) in text.split(|byte| *byte == b'+').enumerate() {
        if position > 0 {
            out.push(b' ');
        }
        out.extend(percent_decode(part));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_payload_field_is_decoded_to_the_bytes_that_were_meant() {
        for (form, expected) in [
            (&b"payload=%7B%22a%22%3A%22b+c%2B%22%7D"[..], &b"{\"a\":\"b c+\"}"[..]),
            (b"x=1&payload={}&y", b"{}"),
            (b"%70ayloa%64=1", b"1"),
            (b"payload=", b""),
            (b"payload", b""),
            (b"payload=a=b", b"a=b"),
            (b"payload=%e2%82%AC", "€".as_bytes()),
            (b"payload=%", b"%"),
            (b"payload=%2", b"%2"),
            (b"payload=%zz%41", b"%zzA"),
            (b"payload=%ff%00", b"\xff\0"),
        ] {
            assert_eq!(payload(form).as_deref(), Ok(expected), "{}", String::from_utf8_lossy(form));
        }
    }

    #[test]
    fn a_form_without_exactly_one_payload_is_refused() {
        for form in [&b""[..], b"&", b"Payload=1", b"{\"a\":1}", b"payloadx=1", b"payload[]=1"] {
            assert_eq!(payload(form), Err(Refusal::Json("The form has no payload field")));
        }
        for form in [&b"payload=1&payload=1"[..], b"payload=1&%70ayload=2", b"payload&payload"] {
            assert_eq!(payload(form), Err(Refusal::Json("The form has more than one payload field")));
        }
    }
}
