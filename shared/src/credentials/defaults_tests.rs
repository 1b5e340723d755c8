use super::*;
use crate::credentials::{KeyKind, parse, team_key};

#[test]
fn a_predecessor_without_its_successor_names_the_missing_variable() {
    let mut args = SignatureArgs::default();
    args.secrets.of_mut(Source::Taiga).previous = "old".parse().ok();
    let error = DefaultKeys::new(&args).unwrap_err().to_string();
    assert_eq!(error, "TAIGA_SECRET_PREVIOUS is set but TAIGA_SECRET, which replaced it, is missing: set TAIGA_SECRET");
}

/// Two courses with secrets of their own and one without, each in this mode.
fn courses(mode: &str) -> Courses {
    let course = |name: &str, team: &str, secrets: &str| {
        format!(r#""{name}": {{"teams": ["{team}", "{team}2"], "team_secrets": {mode} {secrets}}}"#)
    };
    let own = |name: &str| {
        Source::ALL
            .into_iter()
            .map(Source::description)
            .map(|of| {
                let (field, previous) = (of.secret.field, of.secret.previous_field);
                format!(r#", "{field}": "{name} {field}", "{previous}": "{name} {field} before""#)
            })
            .collect::<String>()
    };
    let text =
        format!("{{{}, {}, {}}}", course("a", "A", &own("a")), course("b", "B", &own("b")), course("c", "C", ""));
    parse("c.json".as_ref(), text.as_bytes()).unwrap()
}

fn defaults(mode: TeamSecrets) -> DefaultKeys {
    let mut args = SignatureArgs { team_secrets: mode, ..SignatureArgs::default() };
    for source in Source::ALL {
        args.secrets.of_mut(source).current = format!("default {source}").parse().ok();
        args.secrets.of_mut(source).previous = format!("default {source} before").parse().ok();
    }
    DefaultKeys::new(&args).unwrap()
}

fn team(name: &str) -> Project {
    Project::new(name).unwrap()
}

const TEAMS: [&str; 7] = ["A", "A2", "B", "B2", "C", "C2", "Unlisted"];

#[test]
fn a_teams_key_signs_for_no_other_team_source_or_course() {
    for (file, mode) in [("\"both\"", TeamSecrets::Both), ("true", TeamSecrets::On)] {
        let (defaults, courses) = (defaults(mode), courses(file));
        let all = || TEAMS.into_iter().flat_map(|name| Source::ALL.map(|source| (name, source)));
        for (owner, of) in all() {
            let own: Vec<_> = defaults.in_force(&courses, of, Some(&team(owner)));
            let own = own.iter().find(|key| key.kind == KeyKind::Team).unwrap().secret.expose();
            for (name, source) in all() {
                let keys = defaults.in_force(&courses, source, Some(&team(name)));
                let signs = keys.iter().any(|key| key.secret.expose() == own);
                assert_eq!(
                    signs,
                    (name, source) == (owner, of),
                    "{file}: the key of {owner} at {of} for {name} at {source}"
                );
            }
            // Without a valid `prj` only the default secrets are tried.
            assert!(defaults.in_force(&courses, of, None).iter().all(|key| key.secret.expose() != own));
        }
    }
}

#[test]
fn each_mode_accepts_its_keys_and_no_others() {
    use KeyKind::{Course, Previous, Team};
    let derived = |secret: &str| team_key(&secret.parse().unwrap(), Source::Github, &team("A")).expose().to_owned();
    let (secret, before) = ("a github_secret".to_owned(), "a github_secret before".to_owned());
    for (file, expected) in [
        ("false", vec![(Course, secret.clone()), (Previous, before.clone())]),
        ("\"both\"", vec![(Team, derived(&secret)), (Course, secret.clone()), (Previous, before.clone())]),
        ("true", vec![(Team, derived(&secret)), (Previous, derived(&before))]),
        // Where a course says nothing, the default says it.
        ("null", vec![(Team, derived(&secret)), (Previous, derived(&before))]),
    ] {
        let keys = defaults(TeamSecrets::On).in_force(&courses(file), Source::Github, Some(&team("A")));
        let found: Vec<_> = keys.iter().map(|key| (key.kind, key.secret.expose().to_owned())).collect();
        assert_eq!(found, expected, "{file}");
    }
}

#[test]
fn a_course_without_a_secret_derives_from_the_default_one() {
    let keys = defaults(TeamSecrets::Off).in_force(&courses("true"), Source::Taiga, Some(&team("C")));
    let expected = team_key(&"default taiga".parse().unwrap(), Source::Taiga, &team("C"));
    assert_eq!(keys[0].secret.expose(), expected.expose());
}

#[test]
fn without_a_project_the_default_secrets_count_as_themselves() {
    let keys = defaults(TeamSecrets::On).in_force(&courses("true"), Source::Excel, None);
    let keys: Vec<_> = keys.iter().map(|key| key.secret.expose()).collect();
    assert_eq!(keys, ["default excel", "default excel before"]);
}
