use super::*;

fn read(text: &str) -> Result<Courses, String> {
    parse(Path::new("f.json"), text.as_bytes()).map_err(|error| error.to_string())
}

#[test]
fn every_field_of_a_course_is_read() {
    let courses = read(
        r#"{"amep": {"teams": ["A", "B"], "github_token": "t", "taiga_user": "u", "taiga_password": "p",
            "github_secret": "g", "github_secret_previous": "g0", "taiga_secret": "s", "taiga_secret_previous": "s0",
            "excel_secret": "e", "excel_secret_previous": "e0", "team_secrets": "both",
            "github": {"A": "org-a", "B": ["org-b", "other/repo"]}, "taiga": {"A": "slug-a"},
            "quality_model": "AMEP", "from": "2026-09-14", "to": "2027-01-22"}, "pes": {"teams": ["C"]}}"#,
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
    let places = |source, team: &str| amep.places(source, &Project::new(team).unwrap()).join(" ");
    assert_eq!((places(Source::Github, "A"), places(Source::Github, "B")), ("org-a".into(), "org-b other/repo".into()));
    assert_eq!((places(Source::Taiga, "A"), places(Source::Taiga, "B")), ("slug-a".into(), String::new()));
    assert_eq!(amep.team_secrets, Some(crate::config::TeamSecrets::Both));
    assert_eq!(amep.quality_model.as_ref().unwrap().as_str(), "AMEP");
    assert_eq!((amep.from, amep.to), (Some(jiff::civil::date(2026, 9, 14)), Some(jiff::civil::date(2027, 1, 22))));
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

/// A copy of the example keeps the fields that are not needed.
#[test]
fn an_empty_or_null_setting_is_one_left_out() {
    for nothing in ["\"\"", "\"  \"", "null"] {
        let all = fields();
        let fields = all.split(", ").filter(|field| *field != "teams").map(|field| format!("{field:?}: {nothing}"));
        let text = format!(r#"{{"a": {{"teams": ["T"], {}}}}}"#, fields.collect::<Vec<_>>().join(", "));
        let courses = read(&text).unwrap();
        let course = courses.course_of(&Project::new("T").unwrap()).unwrap();
        assert!(Source::ALL.iter().all(|of| course.signing_keys(*of).is_none()));
        assert!(course.team_secrets.is_none() && course.quality_model.is_none() && course.from.or(course.to).is_none());
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
            format!("{course}, field \"tokn\": no such field; a course may have {}", fields()),
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
        (
            r#"{"a": {"teams": ["T"],NL "team_secrets": "SECRET"}}"#,
            format!("{course}, field \"team_secrets\": it must be true, false or \"both\""),
        ),
        (
            r#"{"a": {"teams": ["T"],NL "github": "SECRET"}}"#,
            format!(
                "{course}, field \"github\": it must be an object that says where each team lives: {{\"TeamA\": \"name\", \"TeamB\": [\"one\", \"two\"]}}"
            ),
        ),
        (
            r#"{"a": {"taiga": {NL"U": "SECRET"}, "teams": ["T"]}}"#,
            format!(
                "{course}, field \"taiga\": team \"U\" is not in the course's \"teams\": add it there or correct the name"
            ),
        ),
        (
            r#"{"a": {"teams": ["T"], "taiga": {"T": "SECRET",NL"T": "SECRET"}}}"#,
            format!("{course}, field \"taiga\": team \"T\" is listed twice: keep one"),
        ),
        (
            r#"{"a": {"teams": ["T"],NL "quality_model": "a SECRET"}}"#,
            format!("{course}, field \"quality_model\": it must be 1 to 64 characters of A-Z, a-z, 0-9, _ and -"),
        ),
        (
            r#"{"a": {"teams": ["T"],NL "from": "14 SECRET"}}"#,
            format!("{course}, field \"from\": it must be a date such as \"2026-09-14\""),
        ),
        (
            r#"{"a": {"teams": ["T"], "from": "2027-01-22",NL "to": "2026-09-14"}}"#,
            format!("{course}, field \"to\": it is a day before \"from\": exchange the two"),
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
