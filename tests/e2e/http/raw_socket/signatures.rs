//! Who sent it: forms of signatures that are nearly right.

use harness::sender::sign::{hmac_sha1, hmac_sha256};

use super::case::Wanted::{Ignored, Stored};
use super::case::{Cases, OTHER_COURSE, OTHER_SECRET, PREVIOUS, Raw, SHEETS};

const ONE: &str = "X-Hub-Signature";
const TWO: &str = "X-Hub-Signature-256";
const TAIGA: &str = "X-TAIGA-WEBHOOK-SIGNATURE";
const SHEET: &str = "X-Sheets-Signature";

/// A name, and what it makes of the right digits.
type Misspelling = (&'static str, Box<dyn Fn(&str) -> String>);

/// Ways to write a hex signature with this prefix that its sender never uses.
fn misspelt(prefix: &str) -> Vec<Misspelling> {
    let prefix = prefix.to_owned();
    let of = |f: fn(&str, &str) -> String| {
        let prefix = prefix.clone();
        Box::new(move |hex: &str| f(&prefix, hex)) as Box<dyn Fn(&str) -> String>
    };
    vec![
        ("upper-case hex", of(|p, hex| format!("{p}{}", hex.to_uppercase()))),
        (
            "one upper-case digit",
            of(|p, hex| {
                let at = hex.find(|c: char| c.is_ascii_lowercase()).unwrap();
                format!("{p}{}{}{}", &hex[..at], hex[at..=at].to_uppercase(), &hex[at + 1..])
            }),
        ),
        ("a digit too few", of(|p, hex| format!("{p}{}", &hex[1..]))),
        ("a digit too many", of(|p, hex| format!("{p}{hex}0"))),
        ("twice", of(|p, hex| format!("{p}{hex}{hex}"))),
        ("a comma list", of(|p, hex| format!("{p}{hex}, {p}{hex}"))),
        ("a list that begins with a comma", of(|p, hex| format!(",{p}{hex}"))),
        ("the prefix twice", of(|p, hex| format!("{p}{p}{hex}x"))),
        ("in quotes", of(|p, hex| format!("\"{p}{hex}\""))),
        ("with 0x", of(|p, hex| format!("{p}0x{}", &hex[2..]))),
        ("a space within", of(|p, hex| format!("{p}{} {}", &hex[..20], &hex[21..]))),
        ("wide digits", of(|p, hex| format!("{p}{}\u{ff11}", &hex[3..]))),
        (
            "one bit off",
            of(|p, hex| {
                let last = if hex.ends_with('0') { '1' } else { '0' };
                format!("{p}{}{last}", &hex[..hex.len() - 1])
            }),
        ),
        ("all zeros", of(|p, hex| format!("{p}{}", "0".repeat(hex.len())))),
        ("empty", of(|_, _| String::new())),
        ("only the prefix and an equals sign", of(|p, _| format!("{p}="))),
    ]
}

pub(super) fn add(cases: &mut Cases) {
    for (what, spoil) in misspelt("sha1=") {
        cases.github(&format!("SHA-1 {what}"), 403, |raw| {
            let value = spoil(&hmac_sha1("github-secret", &raw.body));
            raw.with(ONE, &value)
        });
    }
    for (what, spoil) in misspelt("sha256=") {
        cases.github(&format!("SHA-256 {what}"), 403, |raw| {
            let value = spoil(&hmac_sha256("github-secret", &raw.body));
            raw.with(TWO, &value)
        });
        cases.sheets(&format!("signature {what}"), 403, |raw| {
            let value = spoil(&hmac_sha256(SHEETS, &raw.body));
            raw.with(SHEET, &value)
        });
    }
    for (what, spoil) in misspelt("") {
        cases.taiga(&format!("signature {what}"), 403, |raw| {
            let value = spoil(&hmac_sha1("taiga-secret", &raw.body));
            raw.with(TAIGA, &value)
        });
    }
    cases.github("no signature", 403, |raw| raw.without(ONE).without(TWO));
    cases.github("SHA-1 alone", 403, |raw| raw.without(TWO));
    cases.github("SHA-256 alone", 403, |raw| raw.without(ONE));
    cases.github("the headers exchanged", 403, |raw| {
        let (one, two) = (raw.value(ONE), raw.value(TWO));
        raw.with(ONE, &two).with(TWO, &one)
    });
    cases.github("SHA-1 twice, the same", 403, |raw| again(raw, ONE));
    cases.github("SHA-256 twice, the same", 403, |raw| again(raw, TWO));
    cases.github("SHA-256 right, then wrong", 403, |raw| raw.plus(format!("{TWO}: sha256={}", "0".repeat(64))));
    cases.github("SHA-256 wrong, then right", 403, |raw| {
        let right = raw.value(TWO);
        raw.with(TWO, &format!("sha256={}", "0".repeat(64))).plus(format!("{TWO}: {right}"))
    });
    cases.github("an upper-case prefix", 403, |raw| {
        let value = raw.value(TWO).replace("sha256", "SHA256");
        raw.with(TWO, &value)
    });
    cases.github("SHA-256's digest under sha1=", 403, |raw| {
        let value = raw.value(TWO).replace("sha256=", "sha1=");
        raw.with(ONE, &value)
    });
    cases.github("sha512 as prefix", 403, |raw| {
        let value = raw.value(TWO).replace("sha256", "sha512");
        raw.with(TWO, &value)
    });
    cases.github("another secret", 403, |raw| raw.signed_with("guessed"));
    cases.github("an empty secret", 403, |raw| raw.signed_with(""));
    cases.github("Taiga's secret", 403, |raw| raw.signed_with("taiga-secret"));
    cases.github("one signature by the predecessor, one by the current secret", 403, |raw| {
        let old = format!("sha1={}", hmac_sha1(PREVIOUS, &raw.body));
        raw.with(ONE, &old)
    });
    cases.github("the predecessor", Stored, |raw| raw.signed_with(PREVIOUS));
    cases.github("another course's secret for a project of none", 403, |raw| raw.signed_with(OTHER_SECRET));
    cases.github("the default secret for a course that has its own", 403, |raw| raw.project(OTHER_COURSE));
    cases.github("the default's predecessor for a course that has its own", 403, |raw| {
        raw.project(OTHER_COURSE).signed_with(PREVIOUS)
    });
    cases.github("a course's own secret", Stored, |raw| raw.project(OTHER_COURSE).signed_with(OTHER_SECRET));
    cases.published_as(OTHER_COURSE);
    cases.github("a course's team, its name percent-encoded, under the default secret", 403, |raw| {
        raw.project("Other%43ourse")
    });
    cases.github("a course's team after another project under the default secret", 400, |raw| {
        raw.path(&format!("/webhook/github?prj=Free&prj={OTHER_COURSE}"))
    });
    cases.github("the body changed by one byte", 403, |raw| {
        let body = [&raw.body[..], b" "].concat();
        raw.swapped(body)
    });
    cases.github("the signature of an empty body on a full one", 403, |raw| {
        let body = raw.body.clone();
        raw.body("").swapped(body)
    });
    cases.github("GitHub's request at Taiga's door", 403, |raw| raw.path("/webhook/taiga?prj=Other"));
    cases.taiga("Taiga's request at GitHub's door", 403, |raw| raw.path("/webhook/github?prj=Other"));
    cases.taiga("only X-Hub-Signature", 403, |raw| raw.without(TAIGA));
    cases.taiga("twice, the same", 403, |raw| again(raw, TAIGA));
    cases.taiga("with GitHub's prefix", 403, |raw| {
        let value = raw.value(TAIGA);
        raw.with(TAIGA, &format!("sha1={value}"))
    });
    cases.taiga("SHA-256 instead of SHA-1", 403, |raw| {
        let value = hmac_sha256("taiga-secret", &raw.body);
        raw.with(TAIGA, &value)
    });
    cases.taiga("a wrong X-Hub-Signature, which means nothing here", Stored, |raw| raw.with(ONE, "sha1=0"));
    cases.sheets("unsigned where a secret is set", 403, |raw| raw.without(SHEET));
    cases.sheets("twice, the same", 403, |raw| again(raw, SHEET));
    cases.sheets("SHA-1 instead of SHA-256", 403, |raw| {
        let value = hmac_sha1(SHEETS, &raw.body);
        raw.with(SHEET, &format!("sha1={value}"))
    });
    cases.sheets("good", Stored, |raw| raw);
    cases.taiga("good", Stored, |raw| raw);
    cases.github("good", Stored, |raw| raw);
    cases.github("spaces around a signature, which HTTP drops", Stored, |raw| {
        let value = raw.value(TWO);
        raw.without(TWO).plus(format!("{TWO}:  \t{value} \t"))
    });
    cases.github("header names in other case", Stored, |raw| {
        let value = raw.value(TWO);
        raw.without(TWO).plus(format!("x-hUB-sIGNATURE-256: {value}"))
    });
    cases.github("ping, which is not stored", Ignored, |raw| raw.with("X-GitHub-Event", "ping"));
    cases.github("ping with a wrong signature", 403, |raw| raw.with("X-GitHub-Event", "ping").signed_with("guessed"));
}

/// The same header once more.
fn again(raw: Raw, name: &str) -> Raw {
    let value = raw.value(name);
    raw.plus(format!("{name}: {value}"))
}
