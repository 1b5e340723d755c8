//! Secrets from which keys of teams should not be derived.

use super::course::{Course, Courses};
use super::defaults::DefaultKeys;
use super::keys::SigningKeys;
use crate::config::TeamSecrets;
use crate::source::Source;

/// The shortest secret from which keys are derived. Each team knows a key, and can try secrets against it offline.
const MIN_LENGTH: usize = 32;

/// A secret that signs.
struct Use<'a> {
    name: String,
    keys: &'a SigningKeys,
    mode: TeamSecrets,
}

/// What is wrong with secrets from which keys of teams are derived: too short, or seen by teams. A sentence each.
#[must_use]
pub fn weak_team_secrets(defaults: &DefaultKeys, courses: &Courses) -> Vec<String> {
    let uses: Vec<_> = Source::ALL.into_iter().flat_map(|source| of_source(defaults, courses, source)).collect();
    let mut warnings = Vec::new();
    for one in uses.iter().filter(|one| one.mode != TeamSecrets::Off) {
        let (name, secret) = (&one.name, one.keys.current.expose());
        let warning = if secret.chars().count() < MIN_LENGTH {
            format!(
                "{name} has fewer than {MIN_LENGTH} characters, and keys of teams are derived from it: make a longer one"
            )
        } else if let Some(seen) = uses.iter().find_map(|other| seen_as(other, secret)) {
            format!(
                "{name} is also {seen}, which teams have seen: make a new one, and move this one to its predecessor"
            )
        } else {
            continue;
        };
        if !warnings.contains(&warning) {
            warnings.push(warning);
        }
    }
    warnings
}

/// Whether teams have seen a secret: it is their key at some source, or was.
pub(super) fn is_seen(defaults: &DefaultKeys, courses: &Courses, secret: &str) -> bool {
    let mut uses = Source::ALL.into_iter().flat_map(|source| of_source(defaults, courses, source));
    uses.any(|one| seen_as(&one, secret).is_some())
}

/// The secrets of a source: the default one, and each course's own or the default one in the course's way.
fn of_source<'a>(defaults: &'a DefaultKeys, courses: &'a Courses, source: Source) -> Vec<Use<'a>> {
    let names = &source.description().secret;
    let default = |course| {
        let keys = defaults.of(source)?;
        Some(Use { name: names.variable.to_owned(), keys, mode: defaults.team_secrets(course) })
    };
    let of_course = |course: &'a Course| match course.signing_keys(source) {
        Some(keys) => {
            let name = format!("{} of course {:?}", names.field, course.name);
            Some(Use { name, keys, mode: defaults.team_secrets(Some(course)) })
        }
        None => default(Some(course)),
    };
    default(None).into_iter().chain(courses.iter().filter_map(of_course)).collect()
}

/// How teams have seen a secret, if it signs or signed without derivation.
fn seen_as(one: &Use<'_>, secret: &str) -> Option<String> {
    if one.mode == TeamSecrets::Off && one.keys.current.expose() == secret {
        return Some(format!("the whole key of {}", one.name));
    }
    let previous = one.keys.previous.as_ref()?;
    (previous.expose() == secret).then(|| format!("the predecessor of {}", one.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SignatureArgs;

    const LONG: &str = "0123456789abcdef0123456789abcdef";

    fn warnings(default: &str, mode: TeamSecrets, file: &str) -> Vec<String> {
        let mut args = SignatureArgs { team_secrets: mode, ..SignatureArgs::default() };
        args.secrets.of_mut(Source::Github).current = default.parse().ok();
        let courses = super::super::parse("c.json".as_ref(), file.replace("LONG", LONG).as_bytes()).unwrap();
        weak_team_secrets(&DefaultKeys::new(&args).unwrap(), &courses)
    }

    #[test]
    fn a_short_secret_or_one_that_teams_have_seen_is_reported_and_a_new_long_one_is_not() {
        let on = r#"{"c": {"teams": ["A"], "team_secrets": true, "github_secret": "LONG"}}"#;
        assert_eq!(warnings("", TeamSecrets::Off, on), [""; 0]);
        assert_eq!(warnings("short", TeamSecrets::Off, r#"{"c": {"teams": []}}"#), [""; 0]);
        let short = warnings("short", TeamSecrets::Both, "{}");
        assert!(matches!(&short[..], [one] if one.starts_with("GITHUB_SECRET has fewer than 32")), "{short:?}");
        let seen = warnings(LONG, TeamSecrets::Off, on);
        assert!(
            matches!(&seen[..], [one] if one.starts_with("github_secret of course \"c\" is also the whole key of GITHUB_SECRET")),
            "{seen:?}"
        );
        let other =
            on.replace("}}", r#"}, "d": {"teams": ["B"], "taiga_secret": "x", "taiga_secret_previous": "LONG"}}"#);
        let before = warnings("", TeamSecrets::Off, &other);
        assert!(
            matches!(&before[..], [one] if one.contains("the predecessor of taiga_secret of course \"d\"")),
            "{before:?}"
        );
    }

    #[test]
    fn a_default_secret_that_signs_as_itself_for_one_course_protects_no_other() {
        let file = r#"{"c": {"teams": ["A"], "team_secrets": true}, "d": {"teams": ["B"]}}"#;
        let found = warnings(LONG, TeamSecrets::Off, file);
        assert!(matches!(&found[..], [one] if one.contains("also the whole key of GITHUB_SECRET")), "{found:?}");
        assert_eq!(warnings(LONG, TeamSecrets::On, file), [""; 0]);
    }
}
