//! One connection: what is sent, and what must come back.

use std::net::SocketAddr;
use std::time::Duration;

use harness::sender::sign::{hmac_sha1, hmac_sha256};
use harness::sender::{Delivery, Secrets, Source, github, sheets, taiga};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// In every body and many headers; in no answer and no log line.
pub(super) const MARK: &str = "s3ntinel";

/// `EXCEL_SECRET` of this suite.
pub(super) const SHEETS: &str = "sheet-secret";

/// `GITHUB_SECRET_PREVIOUS` of this suite.
pub(super) const PREVIOUS: &str = "the-secret-before";

/// A team of a course that has a GitHub secret of its own, and that secret.
pub(super) const OTHER_COURSE: &str = "OtherCourse";
pub(super) const OTHER_SECRET: &str = "the-other-courses-secret";

/// How long a connection may take as a whole: the slowest runs into a limit of ten seconds, then is drained for ten.
const TIMEOUT: Duration = Duration::from_secs(60);

/// What must come back.
#[derive(Debug, Clone)]
pub(super) enum Wanted {
    /// 200 `ok`, and one message in the stream.
    Stored,
    /// 200 `ignored`, and nothing in the stream.
    Ignored,
    /// This status.
    Is(u16),
    /// Some 4xx, or the end of the connection without an answer.
    Refused,
    /// Several answers, in this order, on one connection.
    Each(Vec<Wanted>),
}

impl From<u16> for Wanted {
    fn from(status: u16) -> Self {
        Self::Is(status)
    }
}

/// What is done to the connection.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Send(Vec<u8>),
    /// How a slow sender is slow; nothing waits for it.
    Pause(Duration),
    /// No more will be sent; answers are still read.
    Finish,
    /// The client is gone, and reads nothing.
    HangUp,
}

#[derive(Debug)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) project: String,
    pub(super) published: Vec<String>,
    steps: Vec<Step>,
    wanted: Vec<Wanted>,
}

#[derive(Debug, Default)]
pub(super) struct Cases {
    pub(super) all: Vec<Case>,
}

impl Cases {
    /// A GitHub push, spoiled by `spoil`.
    pub(super) fn github(&mut self, name: &str, wanted: impl Into<Wanted>, spoil: impl FnOnce(Raw) -> Raw) {
        self.one(Source::Github, name, wanted, spoil);
    }

    /// A Taiga story, spoiled by `spoil`.
    pub(super) fn taiga(&mut self, name: &str, wanted: impl Into<Wanted>, spoil: impl FnOnce(Raw) -> Raw) {
        self.one(Source::Taiga, name, wanted, spoil);
    }

    /// A sheet's row, spoiled by `spoil`.
    pub(super) fn sheets(&mut self, name: &str, wanted: impl Into<Wanted>, spoil: impl FnOnce(Raw) -> Raw) {
        self.one(Source::Excel, name, wanted, spoil);
    }

    /// A good request of a source, spoiled.
    pub(super) fn one(
        &mut self,
        source: Source,
        name: &str,
        wanted: impl Into<Wanted>,
        spoil: impl FnOnce(Raw) -> Raw,
    ) {
        self.steps(&format!("{source}: {name}"), wanted, |project| {
            vec![Step::Send(spoil(Raw::of(source, project)).bytes())]
        });
    }

    /// Anything that can be done to a connection.
    pub(super) fn steps(
        &mut self,
        name: &str,
        wanted: impl Into<Wanted>,
        steps: impl FnOnce(&str) -> Vec<Step>,
    ) -> &mut Case {
        let project = format!("Raw{}", self.all.len());
        let steps = steps(&project);
        let wanted = match wanted.into() {
            Wanted::Each(several) => several,
            one => vec![one],
        };
        let stored = wanted.iter().filter(|wanted| matches!(wanted, Wanted::Stored)).count();
        let published = vec![project.clone(); stored];
        self.all.push(Case { name: name.to_owned(), project, published, steps, wanted });
        self.all.last_mut().unwrap()
    }

    /// The last case's message is one of this project.
    pub(super) fn published_as(&mut self, project: &str) {
        let case = self.all.last_mut().unwrap();
        case.published = vec![project.to_owned(); case.published.len()];
    }
}

/// A request as bytes in the making.
#[derive(Debug, Clone)]
pub(super) struct Raw {
    pub(super) line: String,
    pub(super) headers: Vec<Vec<u8>>,
    pub(super) body: Vec<u8>,
    /// Written instead of a right `Content-Length`.
    pub(super) framing: Option<Vec<u8>>,
    pub(super) source: Source,
}

impl Raw {
    /// A good request.
    pub(super) fn of(source: Source, project: &str) -> Self {
        let delivery = match source {
            Source::Github => {
                Delivery::github("push", &github::push(1_795_455_723, [github::commit(&github::sha(1), MARK)]))
            }
            Source::Taiga => {
                Delivery::taiga(&taiga::event("userstory", "create", "2026-11-23T17:42:03.511Z", {
                    let mut story = taiga::userstory(1, MARK);
                    // Its own identity, so that no two cases are the same delivery.
                    story["id"] = json!(project);
                    story
                }))
            }
            Source::Excel => {
                let mut row = sheets::row(1);
                row["comment"] = json!(format!("{MARK} {project}"));
                Delivery::sheets(&row)
            }
        };
        let secrets = Secrets { excel: Some(SHEETS.to_owned()), ..Secrets::default() };
        let request = delivery.project(project).request(&secrets);
        let mut headers = vec![b"Host: ingress.example".to_vec()];
        headers.extend(request.headers.iter().map(|(name, value)| format!("{name}: {value}").into_bytes()));
        Self {
            line: format!("POST {} HTTP/1.1", request.path),
            headers,
            body: request.body.to_vec(),
            framing: None,
            source,
        }
    }

    /// With another request line.
    pub(super) fn line(mut self, line: &str) -> Self {
        line.clone_into(&mut self.line);
        self
    }

    /// With another path and query.
    pub(super) fn path(self, path: &str) -> Self {
        self.line(&format!("POST {path} HTTP/1.1"))
    }

    /// With another project in the query, written as it is.
    pub(super) fn project(self, project: &str) -> Self {
        let source = self.source;
        self.path(&format!("/webhook/{source}?prj={project}"))
    }

    /// With a header line more.
    pub(super) fn plus(mut self, header: impl AsRef<[u8]>) -> Self {
        self.headers.push(header.as_ref().to_vec());
        self
    }

    /// Without a header.
    pub(super) fn without(mut self, name: &str) -> Self {
        let start = format!("{}:", name.to_lowercase());
        self.headers.retain(|line| !String::from_utf8_lossy(line).to_lowercase().starts_with(&start));
        self
    }

    /// With another value of a header.
    pub(super) fn with(self, name: &str, value: &str) -> Self {
        self.without(name).plus(format!("{name}: {value}"))
    }

    /// A header's value.
    pub(super) fn value(&self, name: &str) -> String {
        let start = format!("{}:", name.to_lowercase());
        let line = self.headers.iter().map(|line| String::from_utf8_lossy(line).into_owned());
        line.filter(|line| line.to_lowercase().starts_with(&start))
            .map(|line| line[start.len()..].trim().to_owned())
            .next()
            .unwrap_or_default()
    }

    /// With another body, signed rightly.
    pub(super) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self.signed()
    }

    /// With another body under the old signature.
    pub(super) fn swapped(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Signed again with the default keys.
    pub(super) fn signed(self) -> Self {
        let secrets = Secrets::default();
        let key = match self.source {
            Source::Github => secrets.github,
            Source::Taiga => secrets.taiga,
            Source::Excel => SHEETS.to_owned(),
        };
        self.signed_with(&key)
    }

    /// Signed again with this key.
    pub(super) fn signed_with(self, key: &str) -> Self {
        let (one, two) = (hmac_sha1(key, &self.body), hmac_sha256(key, &self.body));
        match self.source {
            Source::Github => self
                .with("X-Hub-Signature", &format!("sha1={one}"))
                .with("X-Hub-Signature-256", &format!("sha256={two}")),
            Source::Taiga => self.with("X-TAIGA-WEBHOOK-SIGNATURE", &one),
            Source::Excel => self.with("X-Sheets-Signature", &format!("sha256={two}")),
        }
    }

    /// With these header lines instead of `Content-Length`.
    pub(super) fn framing(mut self, lines: impl AsRef<[u8]>) -> Self {
        self.framing = Some(lines.as_ref().to_vec());
        self
    }

    /// Chunked, in pieces of this size, with a right end.
    pub(super) fn chunked(mut self, size: usize) -> Self {
        let mut body = Vec::new();
        for piece in self.body.chunks(size) {
            body.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
            body.extend_from_slice(piece);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"0\r\n\r\n");
        self.body = body;
        self.framing("Transfer-Encoding: chunked")
    }

    /// Request line, headers and the empty line.
    pub(super) fn head(&self) -> Vec<u8> {
        let mut out = self.line.clone().into_bytes();
        out.extend_from_slice(b"\r\n");
        let length = format!("Content-Length: {}", self.body.len()).into_bytes();
        let framing = self.framing.clone().unwrap_or(length);
        for line in self.headers.iter().chain((!framing.is_empty()).then_some(&framing)) {
            out.extend_from_slice(line);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"\r\n");
        out
    }

    /// All of it.
    pub(super) fn bytes(self) -> Vec<u8> {
        [self.head(), self.body].concat()
    }
}

/// An answer of ingress.
#[derive(Debug)]
struct Answer {
    status: u16,
    body: String,
}

impl Case {
    /// Does it; the error says what was wrong.
    pub(super) async fn run(&self, address: SocketAddr) -> Result<(), String> {
        let notified = async {
            let stream = TcpStream::connect(address).await.map_err(|error| format!("no connection: {error}"))?;
            let (mut read, mut write) = stream.into_split();
            let steps = self.steps.clone();
            let hangs_up = steps.iter().any(|step| matches!(step, Step::HangUp));
            let writing = tokio::spawn(async move {
                for step in steps {
                    // It may answer and hang up before it has everything; what it answers is what counts.
                    match step {
                        Step::Send(bytes) => drop(write.write_all(&bytes).await),
                        Step::Pause(time) => sleep(time).await,
                        Step::Finish => drop(write.shutdown().await),
                        Step::HangUp => return None,
                    }
                }
                Some(write)
            });
            if hangs_up {
                drop(writing.await);
                return Ok(());
            }
            let mut bytes = Vec::new();
            while answers(&bytes, &self.wanted, false)?.len() < self.wanted.len() {
                if read.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                    break;
                }
            }
            // Nothing more may come once nothing more is sent, such as an answer to a smuggled request.
            if let Ok(Some(mut write)) = writing.await {
                drop(write.shutdown().await);
                while read.read_buf(&mut bytes).await.unwrap_or(0) > 0 {}
            }
            self.judge(&bytes)
        };
        let result = timeout(TIMEOUT, notified).await.unwrap_or_else(|_| Err(format!("not done within {TIMEOUT:?}")));
        result.map_err(|error| format!("{} ({}): {error}", self.name, self.project))
    }

    fn judge(&self, bytes: &[u8]) -> Result<(), String> {
        let text = String::from_utf8_lossy(bytes).into_owned();
        for word in [MARK, SHEETS, PREVIOUS, OTHER_SECRET, "github-secret", "taiga-secret"] {
            if text.contains(word) {
                return Err(format!("the answer repeats {word:?}: {text}"));
            }
        }
        let found = answers(bytes, &self.wanted, true)?;
        if found.len() > self.wanted.len() {
            return Err(format!("{} answers instead of {}: {text}", found.len(), self.wanted.len()));
        }
        for (at, wanted) in self.wanted.iter().enumerate() {
            let got = found.get(at);
            let right = match (wanted, got) {
                (Wanted::Refused, None) => true,
                (_, None) => false,
                (Wanted::Refused, Some(answer)) => (400..500).contains(&answer.status),
                (Wanted::Is(status), Some(answer)) => answer.status == *status,
                (Wanted::Stored, Some(answer)) => answer.status == 200 && answer.body.contains(r#""status":"ok""#),
                (Wanted::Ignored, Some(answer)) => answer.status == 200 && answer.body.contains(r#""ignored""#),
                (Wanted::Each(_), Some(_)) => false,
            };
            if !right {
                return Err(format!("wanted {wanted:?}, got {got:?}"));
            }
        }
        Ok(())
    }
}

/// The complete answers in these bytes, interim ones left out. Rubbish is an error once `all` is there.
fn answers(bytes: &[u8], wanted: &[Wanted], all: bool) -> Result<Vec<Answer>, String> {
    let text = String::from_utf8_lossy(bytes);
    let mut rest = text.as_ref();
    let mut found = Vec::new();
    while !rest.is_empty() {
        let Some((head, after)) = rest.split_once("\r\n\r\n") else {
            return if all { Err(format!("a broken answer: {rest:?}")) } else { Ok(found) };
        };
        let status = head.strip_prefix("HTTP/1.").and_then(|line| line.get(2..5)).and_then(|code| code.parse().ok());
        let status: u16 = status.ok_or_else(|| format!("not an answer: {rest:?} (wanted {wanted:?})"))?;
        if (100..200).contains(&status) {
            rest = after;
            continue;
        }
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
        });
        // An answer to HEAD announces a body that does not come.
        let length = if after.is_empty() && all { 0 } else { length.unwrap_or(0) };
        if after.len() < length {
            return if all { Err(format!("a broken answer: {rest:?}")) } else { Ok(found) };
        }
        found.push(Answer { status, body: after[..length].to_owned() });
        rest = &after[length..];
    }
    Ok(found)
}
