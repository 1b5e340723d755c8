use super::*;
use crate::ids::Source;

fn read(text: &str) -> Result<Courses, String> {
    parse(Path::new("f.json"), text.as_bytes()).map_err(|problem| problem.to_string())
}

#[test]
fn every_field_of_a_course_is_read() {
    let courses = read(
        r#"{"amep": {"teams": ["A", "B"], "github_token": "t", "taiga_user": "u", "taiga_password": "p",
            "github_secret": "g", "github_secret_previous": "g0", "taiga_secret": "s", "taiga_secret_previous": "s0",
            "excel_secret": "e", "excel_secret_previous": "e0"}, "pes": {"teams": ["C"]}}"#,
    )
    .unwrap();
    let amep = courses.course_of(&Project::new("B").unwrap()).unwrap();
    assert_eq!((amep.name.as_str(), amep.teams.len(), amep.taiga_user.as_deref()), ("amep", 2, Some("u")));
    assert_eq!(amep.github_token.as_ref().unwrap().expose(), "t");
    assert_eq!(amep.taiga_password.as_ref().unwrap().expose(), "p");
    for (source, current, previous) in
        [(Source::Github, "g", "g0"), (Source::Taiga, "s", "s0"), (Source::Excel, "e", "e0")]
    {
        let keys = amep.signing_keys(source).unwrap();
        assert_eq!((keys.current.expose(), keys.previous.as_ref().unwrap().expose()), (current, previous));
    }
    let pes = courses.course_of(&Project::new("C").unwrap()).unwrap();
    assert!(pes.signing_keys(Source::Github).is_none() && pes.github_token.is_none());
    assert!(courses.course_of(&Project::new("D").unwrap()).is_none());
    assert_eq!(courses.iter().count(), 2);
    assert!(!format!("{amep:?}").contains("g0"));
}

#[test]
fn an_empty_object_and_a_byte_order_mark_are_fine() {
    assert_eq!(read("{}").unwrap().iter().count(), 0);
    assert_eq!(read("\u{feff}{\"a\": {\"teams\": []}}\r\n").unwrap().iter().count(), 1);
}

/// As whoever fills in a copy of the example leaves what is not needed.
#[test]
fn an_empty_or_null_setting_is_one_left_out() {
    for nothing in ["\"\"", "\"  \"", "null"] {
        let fields = FIELDS.split(", ").filter(|field| *field != "teams").map(|field| format!("{field:?}: {nothing}"));
        let text = format!(r#"{{"a": {{"teams": ["T"], {}}}}}"#, fields.collect::<Vec<_>>().join(", "));
        let courses = read(&text).unwrap();
        let course = courses.course_of(&Project::new("T").unwrap()).unwrap();
        assert!([Source::Github, Source::Taiga, Source::Excel].iter().all(|of| course.signing_keys(*of).is_none()));
        assert!(course.github_token.is_none() && course.taiga_user.is_none() && course.taiga_password.is_none());
    }
    let courses = read(r#"{"a": {"teams": ["T"], "github_secret": "g", "github_secret_previous": ""}}"#).unwrap();
    let keys = courses.course_of(&Project::new("T").unwrap()).unwrap().signing_keys(Source::Github).unwrap();
    assert!(keys.current.expose() == "g" && keys.previous.is_none());
}

/// Every refusal names file, line, course and field, and repeats no value.
#[test]
fn a_mistake_is_refused_with_its_place() {
    let course = r#"f.json, line 2, course "a""#;
    for (text, expected) in [
        (
            r#"{"a": {"teams": ["T"],NL "tokn": "SECRET"}}"#,
            format!("{course}, field \"tokn\": no such field; a course may have {FIELDS}"),
        ),
        (
            r#"{"a": {"teams": ["T"],NL "github_secret": 424242}}"#,
            format!("{course}, field \"github_secret\": it must be a text in quotes"),
        ),
        (
            r#"{"a": {"teams": ["T"],NL "github_secret": {"SECRET": 1}}}"#,
            format!("{course}, field \"github_secret\": it must be a text in quotes"),
        ),
        (
            r#"{"a": {"teams": ["T"],NL "github_token": ["SECRET"]}}"#,
            format!("{course}, field \"github_token\": it must be a text in quotes"),
        ),
        (
            r#"{"a": {"teams": ["T"],NL "taiga_user": "SECRET", "taiga_password": ""}}"#,
            format!(
                "{course}, field \"taiga_password\": it is missing, but taiga_user is there, which is of no use without it"
            ),
        ),
        (
            r#"{"a": {"teams": ["T",NL ""]}}"#,
            format!(
                "{course}, field \"teams\": team number 2 is not a name a webhook's URL can have: 1 to 64 characters of A-Z, a-z, 0-9, _ and -"
            ),
        ),
        (
            r#"{"a": {"teams": ["T"], "github_secret": "x",NL "github_secret": "y"}}"#,
            format!("{course}, field \"github_secret\": this field is in the course twice: keep one"),
        ),
        (
            r#"{"a": {"teams": "T",NL "x": 1}}"#,
            "f.json, line 1, course \"a\", field \"teams\": it must be a list of team names: [\"TeamA\", \"TeamB\"]"
                .to_owned(),
        ),
        (
            r#"{"a": {"teams": ["T",NL "a.b"]}}"#,
            format!(
                "{course}, field \"teams\": team number 2 is not a name a webhook's URL can have: 1 to 64 characters of A-Z, a-z, 0-9, _ and -"
            ),
        ),
        (r#"{"a": {"teams": ["T",NL 7]}}"#, format!("{course}, field \"teams\": it must be a text in quotes")),
        (
            r#"{"a": {"teams": ["T",NL "T"]}}"#,
            format!("{course}, field \"teams\": team \"T\" is listed twice: keep one"),
        ),
        (
            r#"{"b": {"teams": ["T"]},NL"a": {"teams": ["T"]}}"#,
            format!("{course}, field \"teams\": team \"T\" is also in course \"b\": a team has one course"),
        ),
        (
            r#"{"a": {"teams": ["T"]},NL"a": {"teams": ["U"]}}"#,
            format!("{course}: this course is in the file twice: merge the two"),
        ),
        (r#"{"a":NL {"github_token": "SECRET"}}"#, format!("{course}: \"teams\" is missing: list the course's teams")),
        (r#"{NL"a": ["SECRET"]}"#, format!("{course}: a course must be an object with at least \"teams\"")),
        (r#"{NL"a": "SECRET"}"#, format!("{course}: a course must be an object with at least \"teams\"")),
        (
            r#"{"a": {"teams": [],NL "taiga_user": "SECRET"}}"#,
            format!(
                "{course}, field \"taiga_password\": it is missing, but taiga_user is there, which is of no use without it"
            ),
        ),
        (
            r#"{"a": {"teams": [],NL "taiga_password": "SECRET"}}"#,
            format!(
                "{course}, field \"taiga_user\": it is missing, but taiga_password is there, which is of no use without it"
            ),
        ),
        (
            r#"{"a": {"teams": [],NL "github_secret_previous": "SECRET"}}"#,
            format!(
                "{course}, field \"github_secret\": it is missing, but github_secret_previous is there, which is of no use without it"
            ),
        ),
        (r#"{NL"": {"teams": []}}"#, "f.json, line 2, course \"\": a course needs a name".to_owned()),
        ("[]", "f.json, line 1: the file must be one object with a field for each course".to_owned()),
        ("7", "f.json, line 1: the file must be one object with a field for each course".to_owned()),
        ("", "f.json, line 1: EOF while parsing a value".to_owned()),
        (r#"{"a": {"teams": []}}NLSECRET"#, "f.json, line 2: trailing characters".to_owned()),
        (r#"{"a": {"teams": ["T"],NL "github_secret": "SECRET" "x"}}"#, format!("{course}: expected `,` or `}}`")),
    ] {
        let error = read(&text.replace("NL", "\n")).expect_err(text);
        assert_eq!(error, expected, "{text}");
        assert!(!error.contains("SECRET") && !error.contains("424242"), "{error}");
    }
}

#[test]
fn a_file_that_is_not_utf_8_is_refused() {
    let error = parse(Path::new("f.json"), b"{\"\xff\": 1}").unwrap_err();
    assert_eq!(error.to_string(), "f.json: the file is not UTF-8: save it as UTF-8");
}
