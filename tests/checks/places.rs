//! What only one place may do.

use regex::Regex;

use crate::repository::product_code;

/// The file that acknowledges, negative-acknowledges or terminates a message: events, notifications and look-ups.
const SETTLERS: [&str; 1] = ["worker/core/src/pipeline/settle.rs"];

/// Something that only some files may do.
struct Place {
    what: &'static str,
    /// How it looks in code.
    patterns: &'static [&'static str],
    /// The files that do it. One that no longer does is an error too.
    files: &'static [&'static str],
    /// Lines that each must be found by this rule.
    planted: &'static [&'static str],
}

const STREAMS: Place = Place {
    what: "names a stream, a subject or a consumer",
    patterns: &[
        r#""LD_(EVENTS|NOTIFY|DEAD|ENRICH|PROBE|STATUS)""#,
        r#""ld\.(events|notify|enrich|dead|probe|status|legacy)\b"#,
        r#""ld-(worker|notify|enrich)""#,
    ],
    files: &["shared/src/topology/names.rs"],
    planted: &[r#"get_stream("LD_EVENTS")"#, r#"publish("ld.dead.github")"#, r#"get_consumer("ld-worker")"#],
};

const ENVIRONMENT: Place = Place {
    what: "reads the environment",
    patterns: &[r"\benv::vars?(_os)?\b", r"\bdotenvy::"],
    files: &["shared/src/config/environment.rs"],
    planted: &[r#"std::env::var("NATS_URL")"#, "env::vars_os()", "use dotenvy::from_path;"],
};

const BACKOFF: Place = Place {
    what: "uses the backoff crate",
    patterns: &[r"\bbackoff::"],
    files: &["shared/src/retry.rs"],
    planted: &["use backoff::ExponentialBackoff;"],
};

const SETTLEMENT: Place = Place {
    what: "settles a message",
    patterns: &[
        r"\.ack\(",
        r"\bdouble_ack",
        r"\back_with\b",
        r"\bAckKind::(Ack|Nak|Term|\*|\{)",
        r"\bAckKind as\b",
        r#""(\+ACK|-NAK|\+TERM)"#,
    ],
    files: &SETTLERS,
    planted: &[
        "message.ack().await",
        "    .ack()",
        "message.double_ack().await",
        "message.double_ack_with(kind).await",
        "message.ack_with(kind).await",
        "message.ack_with(AckKind::Nak(None)).await",
        "AckKind::Term",
        "use async_nats::jetstream::AckKind::*;",
        "use async_nats::jetstream::AckKind as Kind;",
        r#"client.publish(reply, "+TERM".into())"#,
    ],
};

impl Place {
    /// Who breaks the rule.
    fn wrong(&self, code: &[(String, String)]) -> Vec<String> {
        let patterns: Vec<Regex> = self.patterns.iter().map(|pattern| Regex::new(pattern).unwrap()).collect();
        let mut stale = self.files.to_vec();
        let mut wrong = Vec::new();
        for (file, text) in code {
            // A progress acknowledgement settles nothing.
            let text = text.replace("ack_with(AckKind::Progress)", "");
            let found = patterns.iter().find_map(|pattern| pattern.find(&text));
            if let Some(found) = found {
                if !self.files.contains(&file.as_str()) {
                    wrong.push(format!("{file} {}: {}", self.what, found.as_str()));
                }
                stale.retain(|allowed| allowed != file);
            }
        }
        wrong.extend(stale.iter().map(|file| format!("{file} may do what it does not: {}", self.what)));
        wrong
    }
}

/// The rule holds, each planted line breaks it, and a file that is renamed without the rule does too.
fn holds(place: &Place) {
    let code = product_code();
    assert_eq!(place.wrong(&code), [""; 0]);
    for line in place.planted {
        let planted = [code.clone(), vec![("worker/core/src/planted.rs".to_owned(), (*line).to_owned())]].concat();
        assert_eq!(place.wrong(&planted).len(), 1, "{line:?} was not found as what {}", place.what);
    }
    for file in place.files {
        let without: Vec<_> = code.iter().filter(|(name, _)| name != file).cloned().collect();
        assert_eq!(place.wrong(&without).len(), 1, "{file} could be renamed and {:?} would not notice", place.what);
    }
}

#[test]
fn one_file_names_streams_subjects_and_consumers() {
    holds(&STREAMS);
}

#[test]
fn one_module_reads_the_environment() {
    holds(&ENVIRONMENT);
}

#[test]
fn one_module_knows_the_backoff_crate() {
    holds(&BACKOFF);
}

#[test]
fn one_place_settles_a_message() {
    holds(&SETTLEMENT);
    let progress = ("planted.rs".to_owned(), "message.ack_with(AckKind::Progress).await".to_owned());
    assert_eq!(SETTLEMENT.wrong(&[product_code(), vec![progress]].concat()), [""; 0]);
}

/// What a function of its arguments does not do.
const IMPURE: [&str; 5] =
    [r"\basync\b", r"\bnow_ms\b", r"\b(Timestamp|Zoned|SystemTime|Instant)::now\b", r"\brand::", r"\bstatic mut\b"];

fn impurities(code: &str) -> Vec<&str> {
    let patterns = IMPURE.map(|pattern| Regex::new(pattern).unwrap());
    patterns.iter().filter_map(|pattern| pattern.find(code)).map(|found| found.as_str()).collect()
}

#[test]
fn normalise_is_a_function_of_its_arguments() {
    let code = product_code();
    let files: Vec<_> = code.iter().filter(|(name, _)| name.starts_with("worker/event/src/normalise/")).collect();
    assert!(files.len() > 3, "normalise has only {} files", files.len());
    for (name, code) in files {
        assert_eq!(impurities(code), [""; 0], "{name}");
    }
    for planted in ["async fn ask() {}", "shared::time::now_ms()", "let at = Timestamp::now();", "rand::rng()"] {
        assert_eq!(impurities(planted).len(), 1, "{planted}");
    }
}
