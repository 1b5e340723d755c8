//! The header of the PROXY protocol, versions 1 and 2: it names the client of a proxy's connection.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

/// What every header of version 1 begins with.
const V1: &[u8] = b"PROXY ";

/// What every header of version 2 begins with.
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// The longest line of version 1.
const V1_MAX: usize = 107;

/// The longest header of version 2 that is read: addresses and some further fields.
const V2_MAX: usize = 1024;

/// How long to wait before an incomplete header is read again. Proxies send it in one packet.
const PEEK_INTERVAL: Duration = Duration::from_millis(5);

/// The header is not one.
#[derive(Debug, thiserror::Error)]
#[error("a header of the PROXY protocol cannot be read")]
pub struct InvalidHeader;

impl From<io::Error> for InvalidHeader {
    fn from(_: io::Error) -> Self {
        Self
    }
}

/// What the first bytes of a connection are.
#[derive(Debug, PartialEq, Eq)]
enum Begin {
    /// No such header: the connection is the client's own.
    Other,
    /// Perhaps one: more bytes are needed.
    Partial,
    /// A header of this length, and whom it names.
    Header(usize, Option<IpAddr>),
}

/// Reads the header, if the connection begins with one, and gives the address that it names.
///
/// # Errors
/// When the connection ends, or the header is not one.
pub async fn read_header(stream: &mut TcpStream) -> Result<Option<IpAddr>, InvalidHeader> {
    let mut buffer = [0; V2_MAX];
    loop {
        let peeked = stream.peek(&mut buffer).await?;
        if peeked == 0 {
            return Ok(None);
        }
        match begin(&buffer[..peeked])? {
            Begin::Other => return Ok(None),
            Begin::Partial => tokio::time::sleep(PEEK_INTERVAL).await,
            Begin::Header(length, address) => {
                stream.read_exact(&mut buffer[..length]).await?;
                return Ok(address);
            }
        }
    }
}

fn begin(bytes: &[u8]) -> Result<Begin, InvalidHeader> {
    let starts = |with: &[u8]| bytes.iter().zip(with).all(|(one, other)| one == other);
    if starts(V1) {
        return v1(bytes);
    }
    if starts(V2) {
        return v2(bytes);
    }
    Ok(Begin::Other)
}

/// `PROXY TCP4 192.0.2.1 192.0.2.2 4711 5000\r\n`
fn v1(bytes: &[u8]) -> Result<Begin, InvalidHeader> {
    let Some(end) = bytes.windows(2).take(V1_MAX).position(|pair| pair == b"\r\n") else {
        return if bytes.len() < V1_MAX { Ok(Begin::Partial) } else { Err(InvalidHeader) };
    };
    let line = std::str::from_utf8(&bytes[..end]).map_err(|_| InvalidHeader)?;
    let mut words = line.split(' ').skip(1);
    let address = match words.next() {
        Some("TCP4" | "TCP6") => Some(words.next().and_then(|word| word.parse().ok()).ok_or(InvalidHeader)?),
        Some("UNKNOWN") => None,
        _ => return Err(InvalidHeader),
    };
    Ok(Begin::Header(end + 2, address))
}

/// 12 bytes of signature, version and command, family, length, then source and destination.
fn v2(bytes: &[u8]) -> Result<Begin, InvalidHeader> {
    let [version, family, high, low, rest @ ..] = bytes.get(V2.len()..).unwrap_or_default() else {
        return Ok(Begin::Partial);
    };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    if version >> 4 != 2 || V2.len() + 4 + length > V2_MAX {
        return Err(InvalidHeader);
    }
    let Some(fields) = rest.get(..length) else { return Ok(Begin::Partial) };
    let address = match (version & 15, family >> 4) {
        // A connection of the proxy itself, as for its health check.
        (0, _) => None,
        (1, 1) => Some(fields.first_chunk::<4>().copied().map(IpAddr::from).ok_or(InvalidHeader)?),
        (1, 2) => Some(fields.first_chunk::<16>().copied().map(IpAddr::from).ok_or(InvalidHeader)?),
        (1, _) => None,
        _ => return Err(InvalidHeader),
    };
    Ok(Begin::Header(V2.len() + 4 + length, address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v2_of(command: u8, family: u8, fields: &[u8]) -> Vec<u8> {
        let length = u16::try_from(fields.len()).unwrap().to_be_bytes();
        [V2, &[0x20 | command, family], &length, fields].concat()
    }

    #[test]
    fn a_header_names_the_client_and_a_request_has_none() {
        let four: IpAddr = "192.0.2.1".parse().unwrap();
        let six: IpAddr = "2001:db8::1".parse().unwrap();
        let four_fields = [192, 0, 2, 1, 192, 0, 2, 2, 0, 80, 0, 81];
        let six_fields =
            [&std::net::Ipv6Addr::to_bits("2001:db8::1".parse().unwrap()).to_be_bytes()[..], &[0; 20]].concat();
        for (bytes, expected) in [
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 80 81\r\n".to_vec(), Some(four)),
            (b"PROXY TCP6 2001:db8::1 2001:db8::2 80 81\r\n".to_vec(), Some(six)),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (v2_of(1, 0x11, &four_fields), Some(four)),
            (v2_of(1, 0x21, &six_fields), Some(six)),
            (v2_of(0, 0, &[]), None),
            (v2_of(1, 0x31, &[0; 216]), None),
        ] {
            let with_request = [&bytes[..], b"POST / HTTP/1.1\r\n"].concat();
            assert_eq!(begin(&with_request).unwrap(), Begin::Header(bytes.len(), expected));
            for end in 1..bytes.len() {
                assert_eq!(begin(&bytes[..end]).unwrap(), Begin::Partial, "{end} of {bytes:?}");
            }
        }
        assert_eq!(begin(b"POST /webhook/github HTTP/1.1\r\n").unwrap(), Begin::Other);
        assert_eq!(begin(b"\x16\x03\x01").unwrap(), Begin::Other);
    }

    #[test]
    fn what_only_begins_like_a_header_is_refused() {
        for bytes in [
            b"PROXY TCP4 nowhere 192.0.2.2 80 81\r\n".to_vec(),
            b"PROXY TCP9 192.0.2.1 192.0.2.2 80 81\r\n".to_vec(),
            [V1, &[b'x'; V1_MAX]].concat(),
            v2_of(1, 0x11, &[1, 2, 3]),
            v2_of(2, 0x11, &[0; 12]),
            v2_of(1, 0x11, &[0; V2_MAX]),
        ] {
            assert!(begin(&bytes).is_err(), "{bytes:?}");
        }
    }
}
