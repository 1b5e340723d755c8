//! `application/x-www-form-urlencoded`, GitHub's default content type: the JSON is the `payload` field.

use crate::error::Refusal;

/// The one field that counts.
const FIELD: &[u8] = b"payload";

/// Takes the `payload` field out of a form, as bytes: whether they are UTF-8 is asked later.
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

/// Decodes `+` and `%XX`; what is not an escape stays as it is, as browsers do it.
fn decode(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'%' | b'+')) {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at..];
        let (byte, used) = match *rest {
            [b'+', ..] => (b' ', 1),
            [b'%', high, low, ..] => match (digit(high), digit(low)) {
                (Some(high), Some(low)) => (high << 4 | low, 3),
                _ => (b'%', 1),
            },
            _ => (b'%', 1),
        };
        out.push(byte);
        rest = &rest[used..];
    }
    out.extend_from_slice(rest);
    out
}

const fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
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
