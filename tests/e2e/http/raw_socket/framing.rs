//! How it is framed: HTTP that is wrong, old, or wants to be read in two ways.

use harness::sender::Source;

use super::case::Wanted::{Each, Refused, Stored};
use super::case::{Cases, Raw, Step};

/// `name` chunked: what stands instead of a right end.
fn chunks(raw: Raw, end: &str) -> Raw {
    let mut raw = raw.chunked(200);
    raw.body.truncate(raw.body.len() - b"0\r\n\r\n".len());
    raw.body.extend_from_slice(end.as_bytes());
    raw
}

/// The first chunk's size line replaced by what `size` makes of the right number.
fn sized(raw: Raw, size: impl Fn(usize) -> String) -> Raw {
    let body = raw.body.clone();
    let mut raw = raw.chunked(body.len());
    raw.body = [format!("{}\r\n", size(body.len())).as_bytes(), &body, b"\r\n0\r\n\r\n"].concat();
    raw
}

pub(super) fn add(cases: &mut Cases) {
    methods_and_targets(cases);
    lengths(cases);
    chunked(cases);
    headers(cases);
    several(cases);
}

fn methods_and_targets(cases: &mut Cases) {
    for method in ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "post", "Post", "POSTX", "M-SEARCH"]
    {
        cases.github(&format!("method {method}"), 405, |raw| {
            raw.line(&format!("{method} /webhook/github?prj=Method HTTP/1.1"))
        });
    }
    cases.github("HEAD", 405, |raw| {
        raw.line("HEAD /webhook/github?prj=Method HTTP/1.1").swapped("").plus("Connection: close")
    });
    for (what, line) in [
        ("no target", "POST HTTP/1.1"),
        ("no version", "POST /webhook/github?prj=Line"),
        ("HTTP/0.9", "POST /webhook/github?prj=Line HTTP/0.9"),
        ("HTTP/1.2", "POST /webhook/github?prj=Line HTTP/1.2"),
        ("HTTP/2.0", "POST /webhook/github?prj=Line HTTP/2.0"),
        ("HTTP/11", "POST /webhook/github?prj=Line HTTP/11"),
        ("lower-case http", "POST /webhook/github?prj=Line http/1.1"),
        ("another protocol", "POST /webhook/github?prj=Line ICY/1.1"),
        ("two spaces", "POST  /webhook/github?prj=Line HTTP/1.1"),
        ("a tab", "POST\t/webhook/github?prj=Line\tHTTP/1.1"),
        ("a space in the target", "POST /webhook/github?prj=Line x HTTP/1.1"),
        ("a space before the method", " POST /webhook/github?prj=Line HTTP/1.1"),
        ("a relative target", "POST webhook/github?prj=Line HTTP/1.1"),
        ("CONNECT", "CONNECT ingress.example:443 HTTP/1.1"),
        ("a NUL in the method", "PO\0ST /webhook/github?prj=Line HTTP/1.1"),
        ("a NUL in the target", "POST /webhook/github?prj=Li\0ne HTTP/1.1"),
        ("a carriage return in the target", "POST /webhook/github?prj=Li\rne HTTP/1.1"),
        ("an empty line only", ""),
        ("a method of 40 kB", &format!("{} / HTTP/1.1", "M".repeat(40_000))),
        ("a target of 40 kB", &format!("POST /webhook/github?prj={} HTTP/1.1", "p".repeat(40_000))),
        ("a target of 70 kB", &format!("POST /webhook/github?prj={} HTTP/1.1", "p".repeat(70_000))),
    ] {
        cases.github(&format!("request line: {what}"), Refused, |raw| raw.line(line));
    }
    cases.github("OPTIONS *", Refused, |raw| raw.line("OPTIONS * HTTP/1.1"));
    cases.github("POST *", Refused, |raw| raw.line("POST * HTTP/1.1"));
    cases.github("absolute form", Stored, |raw| {
        let line = raw.line.replace("/webhook", "http://ingress.example/webhook");
        raw.line(&line)
    });
    cases.github("absolute form, another host and scheme", Stored, |raw| {
        let line = raw.line.replace("/webhook", "https://elsewhere.example:1/webhook");
        raw.line(&line)
    });
    cases.github("absolute form without a path", Refused, |raw| raw.line("POST http://ingress.example HTTP/1.1"));
    cases.github("HTTP/1.0 with a length", Stored, |raw| {
        let line = raw.line.replace("1.1", "1.0");
        raw.line(&line).without("Host")
    });
    cases.steps("an HTTP/2 preface", Refused, |_| {
        vec![Step::Send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec()), Step::Finish]
    });
    cases.steps("a TLS ClientHello", Refused, |_| {
        vec![Step::Send(b"\x16\x03\x01\0\xa5\x01\0\0\xa1\x03\x03s3ntinel\r\n\r\n".to_vec()), Step::Finish]
    });
    cases.steps("binary rubbish", Refused, |_| vec![Step::Send((0..=255).cycle().take(4096).collect()), Step::Finish]);
    cases.steps("100 kB without a line break", Refused, |_| vec![Step::Send(vec![b'A'; 100_000]), Step::Finish]);
    cases.steps("SMTP", Refused, |_| vec![Step::Send(b"EHLO s3ntinel\r\n\r\n".to_vec()), Step::Finish]);
    cases.steps("empty lines before the request", Stored, |project| {
        vec![Step::Send([b"\r\n\r\n".to_vec(), Raw::of(Source::Github, project).bytes()].concat())]
    });
    cases.steps("a PROXY line before the request", Refused, |project| {
        let line = b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n".to_vec();
        vec![Step::Send([line, Raw::of(Source::Github, project).bytes()].concat())]
    });
}

fn lengths(cases: &mut Cases) {
    for length in [
        "-1",
        "+10",
        "0x10",
        "1e3",
        "10.0",
        "ten",
        "",
        " ",
        "1 0",
        "1,1",
        "18446744073709551615",
        "18446744073709551616",
        "99999999999999999999999",
        "9223372036854775807",
        "\u{0}",
        "१०",
    ] {
        cases.github(&format!("Content-Length {length:?}"), Refused, |raw| {
            raw.framing(format!("Content-Length: {length}"))
        });
    }
    cases.github("Content-Length with leading zeros", Stored, |raw| {
        let length = raw.body.len();
        raw.framing(format!("Content-Length: 000{length}"))
    });
    cases.github("Content-Length of 25 MiB and a byte", 413, |raw| raw.framing("Content-Length: 26214401"));
    cases.github("Content-Length of 25 MiB and a byte, wrongly signed", 413, |raw| {
        raw.framing("Content-Length: 26214401").signed_with("guessed")
    });
    cases.github("Content-Length twice, the same", Stored, |raw| {
        let length = raw.body.len();
        raw.framing(format!("Content-Length: {length}\r\nContent-Length: {length}"))
    });
    cases.github("Content-Length twice, different", Refused, |raw| {
        let length = raw.body.len();
        raw.framing(format!("Content-Length: {length}\r\nContent-Length: {}", length + 1))
    });
    cases.github("no length, so that the body is read as a further request", Each(vec![403.into(), Refused]), |raw| {
        raw.framing("")
    });
    cases.github("Content-Length too short", 403, |raw| {
        let length = raw.body.len() - 1;
        let mut raw = raw.framing(format!("Content-Length: {length}")).plus("Connection: close");
        raw.body.truncate(length);
        raw
    });
    cases.steps("Content-Length too long, then nothing", Refused, |project| {
        let raw = Raw::of(Source::Github, project);
        let length = raw.body.len() + 1;
        vec![Step::Send(raw.framing(format!("Content-Length: {length}")).bytes()), Step::Finish]
    });
}

fn chunked(cases: &mut Cases) {
    for size in [1, 7, 200, 100_000] {
        cases.github(&format!("chunks of {size}"), Stored, |raw| raw.chunked(size));
    }
    cases.github("chunk sizes with zeros", Stored, |raw| sized(raw, |n| format!("0000{n:x}")));
    cases.github("chunk sizes in upper case", Stored, |raw| sized(raw, |n| format!("{n:X}")));
    cases.github("a chunk extension", Stored, |raw| sized(raw, |n| format!("{n:x};a=b;c=\"d\"")));
    cases.github("a trailer", Stored, |raw| chunks(raw, "0\r\nX-Trailer: s3ntinel\r\n\r\n"));
    cases.github("a signature in a trailer", 403, |raw| {
        let value = raw.value("X-Hub-Signature-256");
        chunks(raw.without("X-Hub-Signature-256"), &format!("0\r\nX-Hub-Signature-256: {value}\r\n\r\n"))
    });
    for (what, size) in [
        ("not hex", "xyz"),
        ("negative", "-1"),
        ("with a sign", "+5"),
        ("with 0x", "0x5"),
        ("empty", ""),
        ("of 17 digits", "10000000000000000"),
        ("of 16 digits", "ffffffffffffffff"),
        ("with a space before", " 5"),
        ("a NUL", "\0"),
    ] {
        cases.github(&format!("a chunk size {what}"), Refused, |raw| sized(raw, |_| size.to_owned()));
    }
    cases.github("a chunk size too small", Refused, |raw| sized(raw, |n| format!("{:x}", n - 5)));
    cases.steps("a chunk size too large, then nothing", Refused, |project| {
        let raw = sized(Raw::of(Source::Github, project), |n| format!("{:x}", n + 5000));
        vec![Step::Send(raw.bytes()), Step::Finish]
    });
    cases.steps("chunks without an end", Refused, |project| {
        vec![Step::Send(chunks(Raw::of(Source::Github, project), "").bytes()), Step::Finish]
    });
    cases.steps("half a last chunk", Refused, |project| {
        vec![Step::Send(chunks(Raw::of(Source::Github, project), "0\r\n").bytes()), Step::Finish]
    });
    cases.github("chunk lines with a bare line feed", Refused, |raw| {
        let body = raw.body.clone();
        let mut raw = raw.chunked(body.len());
        raw.body = [format!("{:x}\n", body.len()).as_bytes(), &body, b"\n0\n\n"].concat();
        raw
    });
    cases
        .github("a chunk extension of 100 kB", Refused, |raw| sized(raw, |n| format!("{n:x};{}", "e".repeat(100_000))));
    cases.github("trailers of 100 kB", Refused, |raw| {
        chunks(raw, &format!("0\r\n{}\r\n", format!("X: {}\r\n", "t".repeat(1000)).repeat(100)))
    });
    for coding in
        ["gzip", "gzip, chunked", "identity", "chunked, identity", "chunked, chunked", "xchunked", "\"chunked\"", ""]
    {
        cases.github(&format!("Transfer-Encoding {coding:?}"), Refused, |raw| {
            raw.chunked(100).framing(format!("Transfer-Encoding: {coding}"))
        });
    }
    cases.github("Transfer-Encoding Chunked", Stored, |raw| raw.chunked(100).framing("Transfer-Encoding: Chunked"));
    cases.github("Transfer-Encoding twice", Refused, |raw| {
        raw.chunked(100).framing("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked")
    });
    cases.github("Transfer-Encoding with a space before its colon", Refused, |raw| {
        raw.chunked(100).framing("Transfer-Encoding : chunked")
    });
    cases.github("Transfer-Encoding with a vertical tab", Refused, |raw| {
        raw.chunked(100).framing("Transfer-Encoding: \u{b}chunked")
    });
    cases.github("chunked in HTTP/1.0", Refused, |raw| {
        let line = raw.line.replace("1.1", "1.0");
        raw.line(&line).chunked(100)
    });
    // Two ways to read the end of a body, with a good request hidden in the difference. The chunks count, and
    // nothing after them.
    for (what, order) in [("length first", true), ("chunked first", false)] {
        cases.steps(&format!("both lengths, {what}"), Stored, |project| {
            let raw = Raw::of(Source::Github, project).chunked(100);
            let length = format!("Content-Length: {}", raw.body.len());
            let chunked = "Transfer-Encoding: chunked".to_owned();
            let lines = if order { [length, chunked] } else { [chunked, length] };
            vec![Step::Send(raw.framing(lines.join("\r\n")).bytes())]
        });
        cases.steps(&format!("both lengths with a request smuggled in, {what}"), Refused, |project| {
            let hidden = Raw::of(Source::Github, &format!("{project}Hidden")).bytes();
            let body = [b"0\r\n\r\n", &hidden[..]].concat();
            let length = format!("Content-Length: {}", body.len());
            let chunked = "Transfer-Encoding: chunked".to_owned();
            let lines = if order { [length, chunked] } else { [chunked, length] };
            let raw = Raw::of(Source::Github, project).body("").swapped(body);
            vec![Step::Send(raw.framing(lines.join("\r\n")).bytes())]
        });
    }
}

fn headers(cases: &mut Cases) {
    cases.github("no Host", 400, |raw| raw.without("Host"));
    cases.github("two Hosts", 400, |raw| raw.plus("Host: elsewhere.example"));
    cases.github("an empty Host", Stored, |raw| raw.with("Host", ""));
    cases.github("80 further headers", Stored, |raw| (0..80).fold(raw, |raw, n| raw.plus(format!("X-{n}: s3ntinel"))));
    cases.github("200 further headers", Refused, |raw| {
        (0..200).fold(raw, |raw, n| raw.plus(format!("X-{n}: s3ntinel")))
    });
    cases
        .github("10,000 further headers", Refused, |raw| (0..10_000).fold(raw, |raw, n| raw.plus(format!("X-{n}: y"))));
    cases.github("a header of 20 kB", Stored, |raw| raw.plus(format!("X-Long: {}", "v".repeat(20_000))));
    cases.github("a header of 40 kB", Refused, |raw| raw.plus(format!("X-Long: {}", "v".repeat(40_000))));
    cases.github("a header of 1 MB", Refused, |raw| raw.plus(format!("X-Long: {}", "v".repeat(1_000_000))));
    cases.github("a header name of 70 kB", Refused, |raw| raw.plus(format!("{}: v", "n".repeat(70_000))));
    for (what, header) in [
        ("without a colon", "no colon here"),
        ("without a name", ": v"),
        ("with a space in its name", "X Y: v"),
        ("with a space before its colon", "X-Y : v"),
        ("with a NUL", "X-Y: a\0b"),
        ("with a bare carriage return", "X-Y: a\rb"),
        ("with a control character", "X-Y: a\u{8}b"),
        ("with a delete character", "X-Y: a\u{7f}b"),
        ("folded onto a second line", "X-Y: a\r\n b"),
        ("folded with a tab", "X-Y: a\r\n\tb"),
        ("whose name is not ASCII", "X-\u{e9}: v"),
        ("that is a bracket", "X[Y]: v"),
    ] {
        cases.github(&format!("a header {what}"), Refused, |raw| raw.plus(header));
    }
    cases.github("a signature folded onto a second line", Refused, |raw| {
        let value = raw.value("X-Hub-Signature-256");
        raw.without("X-Hub-Signature-256").plus(format!("X-Hub-Signature-256:\r\n {value}"))
    });
    cases.github("the first header folded", Refused, |mut raw| {
        raw.headers.insert(0, b" X-Y: folded".to_vec());
        raw
    });
    cases.github("a header with Latin-1", Stored, |raw| raw.plus(b"X-Y: caf\xe9"));
    cases.github("headers of X-HTTP-Method-Override", Stored, |raw| raw.plus("X-HTTP-Method-Override: DELETE"));
    cases.github("forwarding headers of a liar", Stored, |raw| {
        raw.plus("X-Forwarded-For: 127.0.0.1")
            .plus("X-Forwarded-Host: a\"b")
            .plus("X-Original-URL: /webhook/excel?prj=x")
    });
    cases.github("Upgrade to h2c", Stored, |raw| {
        raw.plus("Connection: Upgrade, HTTP2-Settings").plus("Upgrade: h2c").plus("HTTP2-Settings: AAMAAABkAAQAAP__")
    });
    cases.github("Upgrade to a websocket", Stored, |raw| raw.plus("Connection: Upgrade").plus("Upgrade: websocket"));
    cases.github("Connection names our headers", Stored, |raw| {
        raw.plus("Connection: X-Hub-Signature-256, Content-Length")
    });
    cases.github("Expect: 100-continue", Stored, |raw| raw.plus("Expect: 100-continue"));
    cases.github("Expect: 100-continue with a wrong signature", 403, |raw| {
        raw.plus("Expect: 100-continue").signed_with("guessed")
    });
    cases.github("Expect something else", Stored, |raw| raw.plus("Expect: s3ntinel"));
    cases.steps("Expect: 100-continue, and nothing is sent but the head of what is too large", 413, |project| {
        let raw = Raw::of(Source::Github, project).plus("Expect: 100-continue").framing("Content-Length: 30000000");
        vec![Step::Send(raw.head())]
    });
    cases.steps("bare line feeds throughout", Stored, |project| {
        let raw = Raw::of(Source::Github, project);
        let head = String::from_utf8_lossy(&raw.head()).replace("\r\n", "\n");
        vec![Step::Send([head.as_bytes(), &raw.body].concat())]
    });
}

fn several(cases: &mut Cases) {
    let good = |project: &str| Raw::of(Source::Github, project);
    cases.steps("three good requests in one packet", Each(vec![Stored, Stored, Stored]), |project| {
        vec![Step::Send([good(project).bytes(), good(project).bytes(), good(project).bytes()].concat())]
    });
    cases.steps("good, wrong, good in one packet", Each(vec![Stored, 403.into(), Stored]), |project| {
        let wrong = good(project).signed_with("guessed").bytes();
        vec![Step::Send([good(project).bytes(), wrong, good(project).bytes()].concat())]
    });
    cases.steps(
        "404, 405, 400, good in one packet",
        Each(vec![404.into(), 405.into(), 400.into(), Stored]),
        |project| {
            let nowhere = good(project).path("/nowhere").bytes();
            let put = good(project).line("PUT /webhook/github?prj=x HTTP/1.1").bytes();
            let no_project = good(project).path("/webhook/github").bytes();
            vec![Step::Send([nowhere, put, no_project, good(project).bytes()].concat())]
        },
    );
    cases.steps("good, then rubbish", Each(vec![Stored, Refused]), |project| {
        vec![Step::Send([good(project).bytes(), b"\0\0\0 s3ntinel\r\n\r\n".to_vec()].concat())]
    });
    cases.steps(
        "too large, then good: what follows is the large one's body",
        Each(vec![413.into(), Refused]),
        |project| {
            let large = good(project).framing("Content-Length: 26214401").head();
            vec![Step::Send([large, good(&format!("{project}Hidden")).bytes()].concat())]
        },
    );
    cases.steps("a good request within the body of a wrong one", 403, |project| {
        let hidden = good(&format!("{project}Hidden")).bytes();
        vec![Step::Send(good(project).swapped(hidden).bytes())]
    });
    cases.steps("Connection: close, then a good one", Each(vec![Stored, Refused]), |project| {
        let first = good(project).plus("Connection: close").bytes();
        vec![Step::Send([first, good(&format!("{project}Hidden")).bytes()].concat())]
    });
    cases.steps("50 forgeries in one packet", Each(vec![403.into(); 50]), |project| {
        vec![Step::Send(good(project).signed_with("guessed").bytes().repeat(50))]
    });
    cases.steps("chunked, then good", Each(vec![Stored, Stored]), |project| {
        vec![Step::Send([good(project).chunked(50).bytes(), good(project).bytes()].concat())]
    });
}
