use hmac::digest::KeyInit;
use hmac::{Hmac, Mac};
use http::HeaderMap;
use sha1::Sha1;
use sha2::Sha256;
use shared::credentials::{KeyKind, SigningKeys};
use shared::source::Source;

use super::claim;
use crate::webhook::signature::{Claim, SignedWith, verify};

/// A body that every source takes.
pub(crate) const BODY: &[u8] =
    br#"{"type": "userstory", "action": "create", "date": "2026-11-23T12:34:28.652Z", "data": {"id": 7}}"#;

pub(crate) const KEY: &str = "the secret";
pub(crate) const OLD: &str = "the one before";

const CURRENT: Option<SignedWith> = Some(Some(KeyKind::Course));
const BEFORE: Option<SignedWith> = Some(Some(KeyKind::Previous));
const UNSIGNED: Option<SignedWith> = Some(None);

/// One row of the table: a request's signature headers, and whether they prove anything.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) source: Source,
    pub(crate) headers: Vec<(&'static str, Vec<u8>)>,
    pub(crate) keys: Option<SigningKeys>,
    pub(crate) expected: Option<SignedWith>,
}

fn mac<M: Mac + KeyInit>(key: &str, body: &[u8]) -> String {
    let mac = <M as KeyInit>::new_from_slice(key.as_bytes()).unwrap().chain_update(body);
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn sha1_of(key: &str, body: &[u8]) -> String {
    mac::<Hmac<Sha1>>(key, body)
}

pub(crate) fn sha256_of(key: &str, body: &[u8]) -> String {
    mac::<Hmac<Sha256>>(key, body)
}

pub(crate) fn keys(current: &str, previous: Option<&str>) -> SigningKeys {
    SigningKeys { current: current.parse().unwrap(), previous: previous.map(|key| key.parse().unwrap()) }
}

/// The headers a right request of a source has.
pub(crate) fn signed(source: Source, key: &str, body: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let (sha1, sha256) = (sha1_of(key, body), sha256_of(key, body));
    match source {
        Source::Github => vec![
            ("x-hub-signature", format!("sha1={sha1}").into_bytes()),
            ("x-hub-signature-256", format!("sha256={sha256}").into_bytes()),
        ],
        Source::Taiga => vec![
            ("x-taiga-webhook-signature", sha1.clone().into_bytes()),
            ("x-hub-signature", format!("sha1={sha1}").into_bytes()),
        ],
        Source::Excel => vec![("x-sheets-signature", format!("sha256={sha256}").into_bytes())],
    }
}

/// The table: at least 60 requests, most of them to be refused.
pub(crate) fn cases() -> Vec<Case> {
    let (s1, s256) = (sha1_of(KEY, BODY), sha256_of(KEY, BODY));
    let (o1, o256) = (sha1_of(OLD, BODY), sha256_of(OLD, BODY));
    let (x1, x256) = (sha1_of("guessed", BODY), sha256_of("guessed", BODY));
    let empty1 = sha1_of("", BODY);
    let empty256 = sha256_of("", BODY);
    let newline256 = sha256_of(KEY, &[BODY, b"\n"].concat());
    let mut flipped256 = s256.clone().into_bytes();
    flipped256[63] ^= 1;
    let flipped256 = if flipped256[63].is_ascii_hexdigit() {
        String::from_utf8(flipped256).unwrap()
    } else {
        format!("{}0", &s256[..63])
    };
    let set = Some(keys(KEY, None));
    let rotating = Some(keys(KEY, Some(OLD)));
    let mut all = Vec::new();
    let mut add = |name, source, headers: &[(&'static str, String)], keys: &Option<SigningKeys>, expected| {
        let headers = headers.iter().map(|(name, value)| (*name, value.clone().into_bytes())).collect();
        all.push(Case { name, source, headers, keys: keys.clone(), expected });
    };

    // GitHub: a hub header pair, both over the same bytes with the same secret.
    let (h1, h256) = ("x-hub-signature", "x-hub-signature-256");
    let good1 = || (h1, format!("sha1={s1}"));
    let good256 = || (h256, format!("sha256={s256}"));
    let mut github =
        |name, headers: &[(&'static str, String)], expected| add(name, Source::Github, headers, &set, expected);
    github("both right", &[good1(), good256()], CURRENT);
    github("both right in the other order", &[good256(), good1()], CURRENT);
    github("none", &[], None);
    github("only sha1", &[good1()], None);
    github("only sha256", &[good256()], None);
    github("sha1 wrong", &[(h1, format!("sha1={x1}")), good256()], None);
    github("sha256 wrong", &[good1(), (h256, format!("sha256={x256}"))], None);
    github("both wrong", &[(h1, format!("sha1={x1}")), (h256, format!("sha256={x256}"))], None);
    github("one hex digit changed", &[good1(), (h256, format!("sha256={flipped256}"))], None);
    github("of the empty secret", &[(h1, format!("sha1={empty1}")), (h256, format!("sha256={empty256}"))], None);
    github("of the body with a newline", &[good1(), (h256, format!("sha256={newline256}"))], None);
    github("sha1 without prefix", &[(h1, s1.clone()), good256()], None);
    github("sha256 without prefix", &[good1(), (h256, s256.clone())], None);
    github("prefix in capitals", &[good1(), (h256, format!("SHA256={s256}"))], None);
    github("prefix twice", &[good1(), (h256, format!("sha256=sha256={s256}"))], None);
    github("prefix with a colon", &[good1(), (h256, format!("sha256:{s256}"))], None);
    github("prefix with a dash", &[good1(), (h256, format!("sha-256={s256}"))], None);
    github("prefix with a space", &[good1(), (h256, format!("sha256= {s256}"))], None);
    github("only the prefix", &[(h1, "sha1=".into()), (h256, "sha256=".into())], None);
    github("empty values", &[(h1, String::new()), (h256, String::new())], None);
    github("sha1 in the sha256 header", &[good1(), (h256, format!("sha1={s1}"))], None);
    github("sha256's prefix over sha1's digest", &[good1(), (h256, format!("sha256={s1}"))], None);
    github("sha256's digest in the sha1 header", &[(h1, format!("sha1={s256}")), good256()], None);
    github("another algorithm", &[good1(), (h256, format!("md5={s256}"))], None);
    github("hex in capitals", &[good1(), (h256, format!("sha256={}", s256.to_uppercase()))], None);
    github("sha1 hex in capitals", &[(h1, format!("sha1={}", s1.to_uppercase())), good256()], None);
    github("a digit short", &[good1(), (h256, format!("sha256={}", &s256[..63]))], None);
    github("a digit more", &[good1(), (h256, format!("sha256={s256}0"))], None);
    github("a byte short", &[(h1, format!("sha1={}", &s1[..38])), good256()], None);
    github("not hex", &[good1(), (h256, format!("sha256={}", "g".repeat(64)))], None);
    github("hex with 0x", &[good1(), (h256, format!("sha256=0x{}", &s256[..62]))], None);
    github("all zero", &[(h1, format!("sha1={}", "0".repeat(40))), (h256, format!("sha256={}", "0".repeat(64)))], None);
    github("a comma list with the right one", &[good1(), (h256, format!("sha256={s256},sha256={x256}"))], None);
    github("a comma list of the right one", &[good1(), (h256, format!("sha256={s256}, sha256={s256}"))], None);
    github("a semicolon behind", &[good1(), (h256, format!("sha256={s256};"))], None);
    github("quoted", &[good1(), (h256, format!("\"sha256={s256}\""))], None);
    github("sha256 header twice, both right", &[good1(), good256(), good256()], None);
    github("sha256 header twice, the first right", &[good1(), good256(), (h256, format!("sha256={x256}"))], None);
    github("sha256 header twice, the second right", &[good1(), (h256, format!("sha256={x256}")), good256()], None);
    github("sha1 header twice", &[good1(), good1(), good256()], None);
    github("of Taiga's kind", &[("x-taiga-webhook-signature", s1.clone()), good1()], None);
    github("of the Sheet's kind", &[good1(), ("x-sheets-signature", format!("sha256={s256}"))], None);
    let mut more = |name, headers: &[(&'static str, String)], keys: &Option<SigningKeys>, expected| {
        add(name, Source::Github, headers, keys, expected)
    };
    let old = [(h1, format!("sha1={o1}")), (h256, format!("sha256={o256}"))];
    more("predecessor", &old, &rotating, BEFORE);
    more("predecessor that is not set any more", &old, &set, None);
    more("current while rotating", &[good1(), good256()], &rotating, CURRENT);
    more("one of each secret", &[(h1, format!("sha1={o1}")), good256()], &rotating, None);
    more("one of each secret, the other way", &[good1(), (h256, format!("sha256={o256}"))], &rotating, None);
    more("right, but no secret is set", &[good1(), good256()], &None, None);
    more(
        "of the empty secret when none is set",
        &[(h1, format!("sha1={empty1}")), (h256, format!("sha256={empty256}"))],
        &None,
        None,
    );
    more("none when no secret is set", &[], &None, None);

    // Taiga: one bare digest; what it sends as X-Hub-Signature means nothing.
    let t1 = "x-taiga-webhook-signature";
    let mut taiga = |name, headers: &[(&'static str, String)], keys: &Option<SigningKeys>, expected| {
        add(name, Source::Taiga, headers, keys, expected)
    };
    taiga("right", &[(t1, s1.clone())], &set, CURRENT);
    taiga("right, with a hub header", &[(t1, s1.clone()), good1()], &set, CURRENT);
    taiga("right, with a wrong hub header", &[(t1, s1.clone()), (h1, "sha1=0".into())], &set, CURRENT);
    taiga("predecessor", &[(t1, o1.clone())], &rotating, BEFORE);
    taiga("predecessor that is not set any more", &[(t1, o1.clone())], &set, None);
    taiga("wrong", &[(t1, x1.clone())], &rotating, None);
    taiga("none", &[], &set, None);
    taiga("only the hub header", &[good1()], &set, None);
    taiga("wrong, with a right hub header", &[(t1, x1.clone()), good1()], &set, None);
    taiga("with a prefix", &[(t1, format!("sha1={s1}"))], &set, None);
    taiga("in capitals", &[(t1, s1.to_uppercase())], &set, None);
    taiga("a digit short", &[(t1, s1[..39].into())], &set, None);
    taiga("a digit more", &[(t1, format!("{s1}0"))], &set, None);
    taiga("sha256 instead", &[(t1, s256.clone())], &set, None);
    taiga("sha256 cut to 40 digits", &[(t1, s256[..40].into())], &set, None);
    taiga("a space within", &[(t1, format!("{} {}", &s1[..20], &s1[21..]))], &set, None);
    taiga("a comma list", &[(t1, format!("{s1},{x1}"))], &set, None);
    taiga("twice", &[(t1, s1.clone()), (t1, s1.clone())], &set, None);
    taiga("twice, one wrong", &[(t1, s1.clone()), (t1, x1.clone())], &set, None);
    taiga("empty", &[(t1, String::new())], &set, None);
    taiga("no secret is set", &[(t1, s1.clone())], &None, None);
    taiga("of the empty secret when none is set", &[(t1, empty1.clone())], &None, None);

    // Sheets: nothing is required where no secret is set.
    let e256 = "x-sheets-signature";
    let mut sheets = |name, headers: &[(&'static str, String)], keys: &Option<SigningKeys>, expected| {
        add(name, Source::Excel, headers, keys, expected)
    };
    sheets("right", &[(e256, format!("sha256={s256}"))], &set, CURRENT);
    sheets("predecessor", &[(e256, format!("sha256={o256}"))], &rotating, BEFORE);
    sheets("wrong", &[(e256, format!("sha256={x256}"))], &rotating, None);
    sheets("none although a secret is set", &[], &set, None);
    sheets("without prefix", &[(e256, s256.clone())], &set, None);
    sheets("in capitals", &[(e256, format!("sha256={}", s256.to_uppercase()))], &set, None);
    sheets("sha1 instead", &[(e256, format!("sha1={s1}"))], &set, None);
    sheets("twice", &[(e256, format!("sha256={s256}")), (e256, format!("sha256={s256}"))], &set, None);
    sheets("in GitHub's header", &[good256()], &set, None);
    sheets("unsigned where no secret is set", &[], &None, UNSIGNED);
    sheets("a wrong one where no secret is set", &[(e256, "sha256=0".into())], &None, UNSIGNED);

    // Header values that are not text.
    for (name, source, header) in
        [("bytes", Source::Github, h256), ("bytes", Source::Taiga, t1), ("bytes", Source::Excel, e256)]
    {
        let headers = vec![("x-hub-signature", format!("sha1={s1}").into_bytes()), (header, vec![0xff; 71])];
        all.push(Case { name, source, headers, keys: set.clone(), expected: None });
    }
    all
}

fn header_map(headers: &[(&'static str, Vec<u8>)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, http::HeaderValue::from_bytes(value).unwrap());
    }
    map
}

fn check(source: Source, headers: &HeaderMap, body: &[u8], keys: Option<&SigningKeys>) -> Option<SignedWith> {
    let keys: Vec<_> = keys.into_iter().flat_map(SigningKeys::as_themselves).collect();
    let unsigned = keys.is_empty() && source.description().may_be_unsigned;
    let claim = if unsigned { Claim::Unsigned } else { claim(source, headers)? };
    verify(&claim, body, &keys)
}

#[test]
fn only_an_exact_signature_with_a_known_secret_proves_anything() {
    let cases = cases();
    assert!(cases.len() >= 60, "{}", cases.len());
    for case in cases {
        let result = check(case.source, &header_map(&case.headers), BODY, case.keys.as_ref());
        assert_eq!(result, case.expected, "{} {}", case.source, case.name);
    }
}

#[test]
fn a_signature_is_worth_nothing_over_other_bytes() {
    for source in Source::ALL {
        let headers = header_map(&signed(source, KEY, BODY));
        for end in [0, 1, BODY.len() - 1] {
            assert_eq!(check(source, &headers, &BODY[..end], Some(&keys(KEY, Some(OLD)))), None);
        }
    }
}

/// GitHub's documented example and RFC 2202's, so that our own HMAC is not its only witness.
#[test]
fn digests_agree_with_published_vectors() {
    let body = b"Hello, World!";
    let mut headers = HeaderMap::new();
    let value = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    headers.insert("x-sheets-signature", value.parse().unwrap());
    let key = keys("It's a Secret to Everybody", None);
    assert_eq!(check(Source::Excel, &headers, body, Some(&key)), CURRENT);
    headers.insert("x-taiga-webhook-signature", "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79".parse().unwrap());
    let body = b"what do ya want for nothing?";
    assert_eq!(check(Source::Taiga, &headers, body, Some(&keys("Jefe", None))), CURRENT);
}
