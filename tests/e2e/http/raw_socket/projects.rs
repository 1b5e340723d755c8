//! Whose it is: project ids, paths and queries.

use super::case::Cases;
use super::case::Wanted::{Refused, Stored};

pub(super) fn add(cases: &mut Cases) {
    for project in [
        "",
        "a.b",
        "a%2Eb",
        "a%20b",
        "a+b",
        "*",
        "%2A",
        ">",
        "%3E",
        "$SYS",
        "%24SYS",
        "a%00",
        "%00",
        "%0d%0aX:y",
        "a%2Fb",
        "a/b",
        "..%2f..",
        "%C3%A9",
        "%E9",
        "%FF",
        "%",
        "%2",
        "%zz",
        "%25",
        "a%",
        "Te%E2%80%8Bam",
        "%EF%BC%A1",
        "a;b",
        "a,b",
        "{\"$ne\":1}",
        "a:b",
        "a@b",
        "a'b",
        "a\"b",
        "a\\b",
        "a|b",
        "a~b",
        "(a)",
        "a=b",
    ] {
        cases.github(&format!("project {project:?}"), 400, |raw| raw.project(project));
    }
    cases.github("a project of 65 characters", 400, |raw| raw.project(&"p".repeat(65)));
    cases.github("a project of 20,000 characters", 400, |raw| raw.project(&"p".repeat(20_000)));
    cases.github("a project of 64 characters", Stored, |raw| raw.project(&"p".repeat(64)));
    cases.published_as(&"p".repeat(64));
    cases.github("a project in Latin-1 bytes", Refused, |raw| raw.project("\u{e9}"));
    cases.github("a project, percent-encoded", Stored, |raw| raw.project("%45ncoded"));
    cases.published_as("Encoded");
    cases
        .github("a project whose name is percent-encoded", Stored, |raw| raw.path("/webhook/github?%70rj=NameEncoded"));
    cases.published_as("NameEncoded");
    cases.github("two projects", 400, |raw| raw.path("/webhook/github?prj=One&prj=Two"));
    cases.github("a project and an empty one", 400, |raw| raw.path("/webhook/github?prj=One&prj="));
    cases.github("the same project twice", Stored, |raw| raw.path("/webhook/github?prj=Same&prj=Sa%6De"));
    cases.published_as("Same");
    cases.github("PRJ", 400, |raw| raw.path("/webhook/github?PRJ=One"));
    cases.github("prj[]", 400, |raw| raw.path("/webhook/github?prj[]=One"));
    cases.github("prj separated by a semicolon", 400, |raw| raw.path("/webhook/github?x=1;prj=One"));
    cases.github("no query", 400, |raw| raw.path("/webhook/github"));
    cases.github("an empty query", 400, |raw| raw.path("/webhook/github?"));
    cases.github("only separators", 400, |raw| raw.path("/webhook/github?&&&=&"));
    cases.github("a query of 10,000 parameters", 400, |raw| {
        raw.path(&format!("/webhook/github?{}", "a&".repeat(10_000)))
    });
    cases.github("a project in a fragment", Refused, |raw| raw.path("/webhook/github#?prj=One"));
    cases.github("a fragment after the query", Refused, |raw| raw.path("/webhook/github?prj=#One"));
    cases.github("a quality model with a dot", 400, |raw| raw.path("/webhook/github?prj=One&quality_model=a.b"));
    cases.github("a quality model of 65 characters", 400, |raw| {
        raw.path(&format!("/webhook/github?prj=One&quality_model={}", "q".repeat(65)))
    });
    cases.github("two quality models", 400, |raw| raw.path("/webhook/github?prj=One&quality_model=a&quality_model=b"));
    cases.github("an empty quality model", Stored, |raw| raw.path("/webhook/github?prj=NoModel&quality_model="));
    cases.published_as("NoModel");
    for path in [
        "/",
        "//",
        "/webhook",
        "/webhook/",
        "/webhook//github?prj=One",
        "//webhook/github?prj=One",
        "/webhook/github/?prj=One",
        "/webhook/GitHub?prj=One",
        "/webhook/git%68ub?prj=One",
        "/webhook/github%3Fprj=One",
        "/webhook/github%00?prj=One",
        "/webhook/../webhook/github?prj=One",
        "/./webhook/github?prj=One",
        "/webhook/github;x?prj=One",
        "/metrics",
        "/readyz",
        "/healthz",
        "/.env",
        "/%2e%2e/%2e%2e/etc/passwd",
    ] {
        cases.github(&format!("path {path:?}"), 404, |raw| raw.path(path));
    }
}
