use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use clap::Parser as _;
use http_body_util::BodyExt as _;
use shared::config::TeamSecrets;
use shared::config::{SignatureArgs, SigningSecrets};
use shared::credentials::{self, DefaultKeys, SigningKeys};
use shared::publish::PublishError;
use shared::source::PerSource;

use super::access::UnsignedSheets;
use super::source::signature_tests::{BODY, KEY, OLD, cases, keys, signed};
use super::*;
use crate::cli::Cli;
use crate::client::TrustedProxies;
use crate::publish::Signals;
use shared::server::Answer as _;

/// What the double does with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Store,
    Drop,
    Fail,
    Hang,
    Panic,
}

/// A publisher that remembers what it was given.
#[derive(Debug)]
struct Double {
    act: Act,
    seen: Mutex<Vec<Outgoing>>,
    asked: AtomicUsize,
}

impl Publish for Arc<Double> {
    async fn publish(&self, message: Outgoing) -> Result<Published, PublishError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        match self.act {
            Act::Store => {
                self.seen.lock().unwrap().push(message);
                Ok(Published::Stored)
            }
            Act::Drop => Ok(Published::Duplicate),
            Act::Fail => Err(PublishError::Refused { code: 10077, description: "maximum bytes exceeded".into() }),
            Act::Hang => std::future::pending().await,
            Act::Panic => panic!("a bug"),
        }
    }
}

/// Webhooks and what they publish to.
struct Bench {
    webhooks: Webhooks<Arc<Double>>,
    double: Arc<Double>,
}

/// The credentials file of the tests: `Team` has keys of its own for every source.
const COURSES: &str = r#"{"c": {"teams": ["Team"], "github_secret": "own", "github_secret_previous": "own before",
    "taiga_secret": "own", "excel_secret": "own"}}"#;

impl Bench {
    fn new(act: Act) -> Self {
        let all = Some(keys(KEY, Some(OLD)));
        Self::with(act, [&all, &all, &None], Memory::new(64))
    }

    fn with(act: Act, [github, taiga, excel]: [&Option<SigningKeys>; 3], memory: Memory) -> Self {
        let current = |keys: &Option<SigningKeys>| keys.as_ref().map(|keys| keys.current.clone());
        let previous = |keys: &Option<SigningKeys>| keys.as_ref().and_then(|keys| keys.previous.clone());
        let secrets = |keys| SigningSecrets { current: current(keys), previous: previous(keys) };
        let secrets = PerSource::new(|source| match source {
            Source::Github => secrets(github),
            Source::Taiga => secrets(taiga),
            Source::Excel => secrets(excel),
        });
        Self::of(act, SignatureArgs { secrets, ..SignatureArgs::default() }, UnsignedSheets::Any, COURSES, memory)
    }

    fn of(act: Act, args: SignatureArgs, unsigned_sheets: UnsignedSheets, courses: &str, memory: Memory) -> Self {
        let limits = Cli::try_parse_from(["ingress"]).unwrap().settings.streams;
        let double = Arc::new(Double { act, seen: Mutex::default(), asked: AtomicUsize::new(0) });
        let gate = Gate::new(double.clone(), 8, Arc::new(Signals::fit()));
        let courses = Handle::fixed(credentials::parse("c.json".as_ref(), courses.as_bytes()).unwrap());
        let clients = Arc::new(Clients::new(TrustedProxies::default(), 100));
        let access = Access { defaults: DefaultKeys::new(&args).unwrap(), unsigned_sheets };
        let webhooks = Webhooks::new(gate, Topology::new(None, limits), access, courses, clients, memory);
        Self { webhooks, double }
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.webhooks.answer(request).await;
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer { status: head.status.as_u16(), headers: head.headers, body: String::from_utf8(body.to_vec()).unwrap() }
    }

    async fn post(&self, path: &str, headers: &[(&'static str, Vec<u8>)], body: &[u8]) -> Answer {
        self.send(request("POST", path, headers, Body::from(body.to_vec()))).await
    }

    /// A webhook signed with the default key.
    async fn signed(&self, source: Source, query: &str, more: &[(&'static str, &str)], body: &[u8]) -> Answer {
        self.signed_with(KEY, source, query, more, body).await
    }

    async fn signed_with(
        &self,
        key: &str,
        source: Source,
        query: &str,
        more: &[(&'static str, &str)],
        body: &[u8],
    ) -> Answer {
        let mut headers = signed(source, key, body);
        headers.extend(more.iter().map(|(name, value)| (*name, value.as_bytes().to_vec())));
        self.post(&format!("/webhook/{source}{query}"), &headers, body).await
    }

    fn published(&self) -> Vec<Outgoing> {
        std::mem::take(&mut self.double.seen.lock().unwrap())
    }
}

fn request(method: &str, path: &str, headers: &[(&'static str, Vec<u8>)], body: Body) -> Request<Body> {
    let request = Request::builder().method(method).uri(path).header("host", "ingress.example");
    headers.iter().fold(request, |request, (name, value)| request.header(*name, &value[..])).body(body).unwrap()
}

#[derive(Debug)]
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    #[track_caller]
    fn is(&self, status: u16, body: &str) {
        assert_eq!((self.status, self.body.as_str()), (status, body));
        assert_eq!(self.headers[header::CONTENT_TYPE], "application/json");
        assert_eq!(self.headers.contains_key(header::RETRY_AFTER), status == 503);
    }
}

const PUSH: (&str, &str) = ("x-github-event", "push");
const FORBIDDEN: &str = r#"{"error":"Invalid Signature"}"#;

#[tokio::test]
async fn another_method_or_path_is_told_so() {
    let bench = Bench::new(Act::Store);
    for path in [
        "/",
        "/webhook",
        "/webhook/",
        "/webhook/gitlab",
        "/webhook/github/",
        "//webhook/github",
        "/webhook/git%68ub",
        "/healthz",
    ] {
        bench.post(path, &[], b"{}").await.is(404, r#"{"error":"Not found"}"#);
    }
    for method in ["GET", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        let answer = bench.send(request(method, "/webhook/taiga?prj=a", &[], Body::empty())).await;
        answer.is(405, r#"{"error":"Method not allowed"}"#);
        assert_eq!(answer.headers[header::ALLOW], "POST");
    }
    let head = bench.send(request("HEAD", "/webhook/taiga", &[], Body::empty())).await;
    assert_eq!(head.status, 405);
    assert!(bench.published().is_empty());
}

#[tokio::test]
async fn the_documented_sign_of_life_is_403() {
    Bench::new(Act::Store).post("/webhook/github?ping=1", &[], b"").await.is(403, FORBIDDEN);
}

#[tokio::test]
async fn the_table_of_signatures_holds_at_the_door() {
    for case in cases() {
        let keys = [&case.keys, &case.keys, &case.keys];
        let bench = Bench::with(Act::Store, keys, Memory::new(64));
        let mut headers = case.headers.clone();
        headers.push((PUSH.0, PUSH.1.into()));
        let answer = bench.post(&format!("/webhook/{}?prj=a", case.source), &headers, BODY).await;
        let expected = if case.expected.is_some() { 200 } else { 403 };
        assert_eq!(answer.status, expected, "{} {}: {}", case.source, case.name, answer.body);
        assert_eq!(bench.published().len(), usize::from(case.expected.is_some()), "{}", case.name);
        if expected == 403 {
            answer.is(403, FORBIDDEN);
        }
    }
}

#[tokio::test]
async fn checks_come_in_the_order_of_the_table() {
    let bench = Bench::new(Act::Store);
    let huge = vec![b'x'; Source::Github.description().max_body + 1];
    let big =
        |headers: &[(&'static str, Vec<u8>)]| request("POST", "/webhook/github", headers, Body::from(huge.clone()));
    // Size before signature, announced and streamed, kept or not.
    bench.send(big(&[])).await.is(413, r#"{"error":"Payload too large"}"#);
    bench.send(big(&signed(Source::Github, KEY, b""))).await.is(413, r#"{"error":"Payload too large"}"#);
    for headers in [vec![], signed(Source::Github, KEY, b"")] {
        let stream = futures::stream::iter(vec![Ok::<_, std::convert::Infallible>(Bytes::from(vec![0; 1 << 20])); 26]);
        let answer = bench.send(request("POST", "/webhook/github", &headers, Body::from_stream(stream))).await;
        answer.is(413, r#"{"error":"Payload too large"}"#);
    }
    // Signature before prj, prj before the body, the body before the event's name, that before its kind.
    bench.post("/webhook/github", &[], b"").await.is(403, FORBIDDEN);
    bench.signed(Source::Github, "", &[], b"").await.is(400, r#"{"error":"prj is required as query parameter"}"#);
    bench
        .signed(Source::Github, "?prj=a.b", &[], b"")
        .await
        .is(400, r#"{"error":"prj must be 1 to 64 characters of A-Z, a-z, 0-9, _ and -"}"#);
    bench
        .signed(Source::Github, "?prj=a&quality_model=%20", &[], b"")
        .await
        .is(400, r#"{"error":"quality_model must be 1 to 64 characters of A-Z, a-z, 0-9, _ and -"}"#);
    bench.signed(Source::Github, "?prj=a", &[], b"").await.is(400, r#"{"error":"No JSON received"}"#);
    bench.signed(Source::Github, "?prj=a", &[], b"[]").await.is(400, r#"{"error":"The body is not one JSON object"}"#);
    bench
        .signed(Source::Github, "?prj=a", &[], b"{}")
        .await
        .is(400, r#"{"error":"X-GitHub-Event is required as header"}"#);
    bench
        .signed(Source::Github, "?prj=a", &[("x-github-event", "ping")], b"{}")
        .await
        .is(200, r#"{"status":"ignored","event":"ping"}"#);
    bench
        .signed(Source::Taiga, "?prj=a", &[], br#"{"type": "test"}"#)
        .await
        .is(200, r#"{"status":"ignored","event":"test"}"#);
    assert_eq!(bench.double.asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_compressed_body_is_not_taken_but_judged_in_its_turn() {
    let bench = Bench::new(Act::Store);
    let gzip = [PUSH, ("content-encoding", "gzip")];
    let answer = bench.signed(Source::Github, "?prj=a", &gzip, b"{}").await;
    answer.is(400, r#"{"error":"Content-Encoding must be identity"}"#);
    // Signature and `prj` come first, as of any other body.
    let answer = bench.signed(Source::Github, "", &gzip, b"{}").await;
    answer.is(400, r#"{"error":"prj is required as query parameter"}"#);
    let answer = bench.signed_with("guessed", Source::Github, "?prj=a", &gzip, b"{}").await;
    answer.is(403, r#"{"error":"Invalid Signature"}"#);
    let answer = bench.signed(Source::Github, "?prj=a", &[PUSH, ("content-encoding", "Identity")], b"{}").await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn an_accepted_webhook_is_published_as_it_was_signed() {
    let bench = Bench::new(Act::Store);
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let more = [
        PUSH,
        ("x-github-delivery", "72d3162e"),
        ("traceparent", trace),
        ("content-type", "application/x-www-form-urlencoded"),
    ];
    let answer =
        bench.signed(Source::Github, "?prj=TeamA&quality_model=AMEP", &more, b"payload=%7B%22a%22%3A1%7D").await;
    answer.is(200, r#"{"status":"ok","delivery":"72d3162e"}"#);
    let message = bench.published().remove(0);
    assert_eq!(message.subject, "ld.events.github.TeamA.push");
    assert_eq!(message.headers.get("Nats-Msg-Id").unwrap().as_str(), "github:TeamA:72d3162e");
    let envelope = envelope::decode(&message.headers, &message.payload).unwrap();
    assert_eq!(envelope.payload, "{\"a\":1}");
    assert_eq!(envelope.quality_model.map(String::from).as_deref(), Some("AMEP"));
    assert_eq!(envelope.traceparent.as_deref(), Some(trace));

    bench
        .signed(Source::Excel, "?prj=a", &[("traceparent", "00-0-0-0")], b"{}")
        .await
        .is(200, r#"{"status":"ok","delivery":"44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"}"#);
    let message = bench.published().remove(0);
    assert_eq!(message.subject, "ld.events.excel.a.sheets_activity");
    assert!(message.headers.get("traceparent").is_none());

    assert_eq!(bench.signed(Source::Taiga, "?prj=a", &[], BODY).await.status, 200);
    let message = bench.published().remove(0);
    assert_eq!((message.subject.as_str(), &message.payload[..]), ("ld.events.taiga.a.userstory", BODY));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_huge_webhook_arrives_whole() {
    let bench = Bench::new(Act::Store);
    let body = format!(r#"{{"a": "{}"}}"#, "x".repeat(Source::Github.description().max_body - 9));
    assert_eq!(body.len(), Source::Github.description().max_body);
    assert_eq!(bench.signed(Source::Github, "?prj=a", &[PUSH], body.as_bytes()).await.status, 200);
    let message = bench.published().remove(0);
    assert_eq!(envelope::decode(&message.headers, &message.payload).unwrap().payload, body);
}

#[tokio::test]
async fn a_team_of_a_course_is_bound_to_that_courses_key() {
    let bench = Bench::new(Act::Store);
    for source in Source::ALL {
        for (key, query, expected) in [
            ("own", "?prj=Team", 200),
            (KEY, "?prj=Team", 403),
            (OLD, "?prj=Team", 403),
            ("own", "?prj=Other", if source == Source::Excel { 200 } else { 403 }),
            (KEY, "?prj=Other", 200),
            ("own before", "?prj=Team", if source == Source::Github { 200 } else { 403 }),
        ] {
            let answer = bench.signed_with(key, source, query, &[PUSH], BODY).await;
            assert_eq!(answer.status, expected, "{source} {key} {query}");
        }
    }
    // Unsigned, where the course has a secret and there is no default.
    bench.post("/webhook/excel?prj=Team", &[], b"{}").await.is(403, FORBIDDEN);
    // Two teams at once are none.
    let answer = bench.signed_with("own", Source::Github, "?prj=Team&prj=Other", &[PUSH], BODY).await;
    answer.is(403, FORBIDDEN);
}

#[tokio::test]
async fn without_a_secret_github_and_taiga_are_refused_whatever_they_are_signed_with() {
    let bench = Bench::with(Act::Store, [&None, &None, &None], Memory::new(64));
    for source in [Source::Github, Source::Taiga] {
        bench.signed_with("", source, "?prj=a", &[PUSH], BODY).await.is(403, FORBIDDEN);
    }
}

const NOT_UNSIGNED: &str = r#"{"error":"Unsigned sheets are not accepted for this project"}"#;

#[tokio::test]
async fn where_no_secret_is_set_excel_unsigned_decides_whose_sheets_are_accepted() {
    let courses = r#"{"c": {"teams": ["Listed"]}, "d": {"teams": ["Signed"], "excel_secret": "own"}}"#;
    for (setting, listed, other) in
        [(UnsignedSheets::Listed, true, false), (UnsignedSheets::Any, true, true), (UnsignedSheets::Off, false, false)]
    {
        let bench = Bench::of(Act::Store, SignatureArgs::default(), setting, courses, Memory::new(64));
        for (prj, accepted) in [("Listed", listed), ("Other", other)] {
            // A signature is not looked at.
            for headers in [vec![], signed(Source::Excel, "guessed", b"{}")] {
                let answer = bench.post(&format!("/webhook/excel?prj={prj}"), &headers, b"{}").await;
                if accepted {
                    assert_eq!(answer.status, 200, "{setting:?} {prj}");
                    assert_eq!(bench.published().remove(0).headers.get("LD-Unsigned").unwrap().as_str(), "1");
                } else {
                    answer.is(403, NOT_UNSIGNED);
                }
            }
        }
        // A secret in force always wins.
        bench.post("/webhook/excel?prj=Signed", &[], b"{}").await.is(403, FORBIDDEN);
        assert_eq!(bench.signed_with("own", Source::Excel, "?prj=Signed", &[], b"{}").await.status, 200);
        assert!(bench.published().remove(0).headers.get("LD-Unsigned").is_none());
        // Size comes first, then `prj`, then this.
        let huge = vec![b' '; Source::Excel.description().max_body + 1];
        bench.post("/webhook/excel?prj=Other", &[], &huge).await.is(413, r#"{"error":"Payload too large"}"#);
        let no_project = r#"{"error":"prj is required as query parameter"}"#;
        bench.post("/webhook/excel", &[], b"").await.is(400, no_project);
        if !other {
            bench.post("/webhook/excel?prj=Other", &[], b"").await.is(403, NOT_UNSIGNED);
        }
    }
}

#[tokio::test]
async fn a_sheet_has_a_mebibyte_32_levels_and_20_000_values_at_most() {
    let bench = Bench::new(Act::Store);
    for (body, status) in [
        (format!(r#"{{"a": "{}"}}"#, "x".repeat(1024 * 1024 - 9)), 200),
        (format!(r#"{{"a": "{}"}}"#, "x".repeat(1024 * 1024 - 8)), 413),
        (format!(r#"{{"a": {}{}}}"#, "[".repeat(31), "]".repeat(31)), 200),
        (format!(r#"{{"a": {}{}}}"#, "[".repeat(500_000), "]".repeat(500_000)), 400),
        (format!(r#"{{"a": [{}0]}}"#, "[],".repeat(19_997)), 200),
        (format!(r#"{{"a": [{}0]}}"#, "[],".repeat(19_998)), 400),
    ] {
        let answer = bench.post("/webhook/excel?prj=a", &[], body.as_bytes()).await;
        assert_eq!(answer.status, status, "{}", answer.body);
    }
    // Only sheets: a push may have more.
    let deep = format!(r#"{{"a": {}{}}}"#, "[".repeat(500_000), "]".repeat(500_000));
    assert_eq!(bench.signed(Source::Github, "?prj=a", &[PUSH], deep.as_bytes()).await.status, 200);
}

#[tokio::test]
async fn of_repository_events_those_that_rename_or_transfer_are_stored() {
    let bench = Bench::new(Act::Store);
    let event = [("x-github-event", "repository")];
    for action in ["renamed", "transferred"] {
        let body = format!(r#"{{"action": "{action}", "repository": {{"id": 1}}}}"#);
        assert_eq!(bench.signed(Source::Github, "?prj=a", &event, body.as_bytes()).await.status, 200);
        assert_eq!(bench.published().remove(0).subject, "ld.events.github.a.repository");
    }
    for body in [r#"{"action": "created"}"#, r#"{"action": ["renamed"]}"#, r#"{"x": {"action": "renamed"}}"#, "{}"] {
        let answer = bench.signed(Source::Github, "?prj=a", &event, body.as_bytes()).await;
        answer.is(200, r#"{"status":"ignored","event":"repository"}"#);
    }
}

#[tokio::test]
async fn where_teams_have_their_own_secrets_the_courses_signs_only_while_both_do() {
    for (mode, course_signs, previous_signs) in [("\"both\"", 200, 200), ("true", 403, 403)] {
        let courses = format!(
            r#"{{"c": {{"teams": ["A", "B"], "team_secrets": {mode}, "github_secret": "own", "github_secret_previous": "own before"}}}}"#
        );
        let args = SignatureArgs { team_secrets: TeamSecrets::Off, ..SignatureArgs::default() };
        let bench = Bench::of(Act::Store, args, UnsignedSheets::Off, &courses, Memory::new(64));
        let derived = |secret: &str, source, team: &str| {
            let team = Project::new(team).unwrap();
            credentials::team_key(&secret.parse().unwrap(), source, &team).expose().to_owned()
        };
        for (key, expected) in [
            (derived("own", Source::Github, "A"), 200),
            (derived("own", Source::Github, "B"), 403),
            (derived("own", Source::Taiga, "A"), 403),
            ("own".to_owned(), course_signs),
            ("own before".to_owned(), previous_signs),
            (derived("own before", Source::Github, "A"), if mode == "true" { 200 } else { 403 }),
        ] {
            let answer = bench.signed_with(&key, Source::Github, "?prj=A", &[PUSH], BODY).await;
            assert_eq!(answer.status, expected, "{mode} {key}");
        }
    }
}

#[tokio::test]
async fn only_an_unsigned_webhook_is_marked_as_unsigned() {
    let bench = Bench::new(Act::Store);
    assert_eq!(bench.post("/webhook/excel?prj=a", &[], b"{}").await.status, 200);
    assert_eq!(bench.signed(Source::Github, "?prj=a", &[PUSH], BODY).await.status, 200);
    let published = bench.published();
    let marks: Vec<_> =
        published.iter().map(|message| message.headers.get(envelope::header::UNSIGNED).is_some()).collect();
    assert_eq!(marks, [true, false]);
}

#[tokio::test(start_paused = true)]
async fn what_jetstream_does_not_take_is_503_and_never_4xx() {
    let unavailable = r#"{"error":"The event could not be stored, try again later"}"#;
    Bench::new(Act::Fail).signed(Source::Github, "?prj=a", &[PUSH], b"{}").await.is(503, unavailable);
    let start = Instant::now();
    Bench::new(Act::Hang).signed(Source::Github, "?prj=a", &[PUSH], b"{}").await.is(503, unavailable);
    assert_eq!(start.elapsed(), PUBLISH_DEADLINE);
    assert_eq!(Bench::new(Act::Drop).signed(Source::Github, "?prj=a", &[PUSH], b"{}").await.status, 200);
}

#[tokio::test]
async fn a_bug_is_503_and_the_next_webhook_is_served() {
    let bench = Bench::new(Act::Panic);
    for _ in 0..20 {
        let answer = bench.signed(Source::Github, "?prj=a", &[PUSH], b"{}").await;
        answer.is(503, r#"{"error":"The event could not be processed, try again later"}"#);
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stops_coming_is_408_signed_or_not() {
    let bench = Bench::new(Act::Store);
    for headers in [vec![], signed(Source::Github, KEY, b"{}")] {
        let body = Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
        bench
            .send(request("POST", "/webhook/github?prj=a", &headers, body))
            .await
            .is(408, r#"{"error":"The body did not arrive in time"}"#);
    }
}

#[test]
fn only_a_well_formed_trace_context_is_passed_on() {
    let of = |text: &str| {
        let headers = [(http::HeaderName::from_static("traceparent"), text.parse().unwrap())].into_iter().collect();
        traceparent(&headers).map(str::to_owned)
    };
    let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    assert_eq!(of(good).as_deref(), Some(good));
    for bad in [
        "",
        "00",
        &good.to_uppercase(),
        &good.replace("00-", "ff-"),
        &format!("{good}-x"),
        &good[1..],
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
    ] {
        assert_eq!(of(bad), None, "{bad}");
    }
}
