//! The keys in the links to teams' check pages. They are derived, so that no link need be stored.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::course::Courses;
use super::defaults::{DefaultKeys, MissingSecret};
use super::keys::SigningKeys;
use super::weak::is_seen;
use crate::config::{TeamPageArgs, TeamSecrets};
use crate::hash::short_hex;
use crate::ids::Project;
use crate::secret::Secret;
use crate::source::Source;

/// Bytes of a link's key; each is two hex digits.
const LENGTH: usize = 16;

/// For whom a link is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Viewer {
    /// The team: its students.
    Team,
    /// The team's teacher, who may also see the team's secrets.
    Teacher,
}

impl Viewer {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Team, Self::Teacher];

    const fn word(self) -> &'static str {
        match self {
            Self::Team => "page",
            Self::Teacher => "teacher",
        }
    }
}

/// What a link opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// For whom it is.
    pub viewer: Viewer,
    /// Whether the team's secrets may be shown: to its teacher, where they are the team's own, and where no team can have
    /// computed this link.
    pub shows_secrets: bool,
}

/// Makes links' keys and checks them.
#[derive(Debug, Clone)]
pub struct PageKeys {
    own: Option<SigningKeys>,
    defaults: DefaultKeys,
}

impl PageKeys {
    /// Takes them from the settings.
    ///
    /// # Errors
    /// When a predecessor is set without the secret that replaced it; the text names the missing variable.
    pub fn new(args: &TeamPageArgs, defaults: DefaultKeys) -> Result<Self, MissingSecret> {
        let own = match (&args.team_pages_secret, &args.team_pages_secret_previous) {
            (Some(current), previous) => Some(SigningKeys { current: current.clone(), previous: previous.clone() }),
            (None, None) => None,
            (None, Some(_)) => return Err(MissingSecret::new("TEAM_PAGES_SECRET", "TEAM_PAGES_SECRET_PREVIOUS")),
        };
        Ok(Self { own, defaults })
    }

    /// The signing keys of courses and sources, by which a team's own secrets are found.
    #[must_use]
    pub const fn defaults(&self) -> &DefaultKeys {
        &self.defaults
    }

    /// The secret of which a project's links are made: its own, else that of a source with which the project is signed.
    fn base<'a>(&'a self, courses: &'a Courses, project: &Project) -> Option<&'a SigningKeys> {
        let course = courses.course_of(project);
        let of = |source| course.and_then(|course| course.signing_keys(source)).or_else(|| self.defaults.of(source));
        self.own.as_ref().or_else(|| of(Source::Github)).or_else(|| of(Source::Taiga))
    }

    /// The key of a link; `None` where there is no secret to make it of.
    #[must_use]
    pub fn key(&self, courses: &Courses, project: &Project, viewer: Viewer) -> Option<String> {
        Some(short_hex(mac(&self.base(courses, project)?.current, project, viewer).finalize().into_bytes()))
    }

    /// What a link with this key opens, if anything. The comparison takes the same time whatever the key is.
    #[must_use]
    pub fn open(&self, courses: &Courses, project: &Project, key: &str) -> Option<Opened> {
        let is_hex = key.len() == 2 * LENGTH && key.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let key = hex::decode(key).ok().filter(|_| is_hex)?;
        let base = self.base(courses, project)?;
        let mut opened = None;
        for (secret, is_current) in
            std::iter::once((&base.current, true)).chain(base.previous.iter().map(|old| (old, false)))
        {
            for viewer in Viewer::ALL {
                if mac(secret, project, viewer).verify_truncated_left(&key).is_ok() {
                    opened.get_or_insert((viewer, secret, is_current));
                }
            }
        }
        let (viewer, secret, is_current) = opened?;
        let shows_secrets = viewer == Viewer::Teacher && self.is_private(courses, project, secret, is_current);
        Some(Opened { viewer, shows_secrets })
    }

    /// Whether the project's signing keys are its own, and nobody in a team can know this secret.
    fn is_private(&self, courses: &Courses, project: &Project, secret: &Secret, is_current: bool) -> bool {
        let mode = self.defaults.team_secrets(courses.course_of(project));
        let is_kept = self.own.is_some() || (mode == TeamSecrets::On && is_current);
        mode != TeamSecrets::Off && is_kept && !is_seen(&self.defaults, courses, secret.expose())
    }

    /// Whether teams may know a secret of which links to this project's page are made, so that they can compute them.
    #[must_use]
    pub fn is_known_to_teams(&self, courses: &Courses, project: &Project) -> bool {
        let Some(base) = self.base(courses, project) else { return false };
        let mode = self.defaults.team_secrets(courses.course_of(project));
        let is_shared = self.own.is_none() && mode != TeamSecrets::On;
        let mut secrets = std::iter::once(&base.current).chain(&base.previous);
        is_shared || secrets.any(|secret| is_seen(&self.defaults, courses, secret.expose()))
    }
}

fn mac(secret: &Secret, project: &Project, viewer: Viewer) -> Hmac<Sha256> {
    let mac = <Hmac<Sha256>>::new_from_slice(secret.expose().as_bytes()).expect("HMAC takes keys of every length");
    mac.chain_update(format!("ld-connect/1/{}/{project}", viewer.word()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SignatureArgs;

    const COURSES: &str = r#"{"c": {"teams": ["A", "B"], "github_secret": "of the course, long enough to derive from",
        "github_secret_previous": "before", "team_secrets": true}, "d": {"teams": ["D"]}}"#;

    fn team(name: &str) -> Project {
        Project::new(name).unwrap()
    }

    fn keys(own: &str, previous: &str, defaults: [&str; 2]) -> PageKeys {
        let mut signatures = SignatureArgs::default();
        signatures.secrets.of_mut(Source::Github).current = defaults[0].parse().ok();
        signatures.secrets.of_mut(Source::Taiga).current = defaults[1].parse().ok();
        let args =
            TeamPageArgs { team_pages_secret: own.parse().ok(), team_pages_secret_previous: previous.parse().ok() };
        PageKeys::new(&args, DefaultKeys::new(&signatures).unwrap()).unwrap()
    }

    fn courses(file: &str) -> Courses {
        super::super::parse("c.json".as_ref(), file.as_bytes()).unwrap()
    }

    #[test]
    fn a_key_is_half_of_the_hmac_of_viewer_and_project() {
        // printf %s ld-connect/1/page/AMEP11Beats | openssl dgst -sha256 -hmac "a page's secret"
        let (keys, courses) = (keys("a page's secret", "", ["", ""]), Courses::default());
        let key = |viewer| keys.key(&courses, &team("AMEP11Beats"), viewer).unwrap();
        assert_eq!(key(Viewer::Team), "e9f8f7d9bbb7cbc42b0c997cf14d8d49");
        assert_eq!(key(Viewer::Teacher), "4f09c58358d9c24f76daa41531147c28");
    }

    #[test]
    fn of_several_secrets_the_first_that_is_set_counts() {
        let (none, listed) = (Courses::default(), courses(COURSES));
        let key = |keys: &PageKeys, courses: &Courses| keys.key(courses, &team("A"), Viewer::Team);
        let of = |secret: &str| {
            Some(short_hex(mac(&secret.parse().unwrap(), &team("A"), Viewer::Team).finalize().into_bytes()))
        };
        assert_eq!(key(&keys("own", "", ["g", "t"]), &listed), of("own"));
        assert_eq!(key(&keys("", "", ["g", "t"]), &listed), of("of the course, long enough to derive from"));
        assert_eq!(key(&keys("", "", ["g", "t"]), &none), of("g"));
        assert_eq!(key(&keys("", "", ["", "t"]), &none), of("t"));
        assert_eq!(key(&keys("", "", ["", ""]), &none), None);
    }

    #[test]
    fn a_link_opens_its_own_project_alone_and_one_of_a_predecessor_still_does() {
        let courses = courses(COURSES);
        let (now, before) = (keys("new", "old", ["", ""]), keys("old", "", ["", ""]));
        for keys in [&now, &before] {
            let key = keys.key(&courses, &team("A"), Viewer::Team).unwrap();
            assert_eq!(now.open(&courses, &team("A"), &key).map(|opened| opened.viewer), Some(Viewer::Team));
            assert_eq!(now.open(&courses, &team("B"), &key), None);
            for wrong in [&key[1..], &key.to_uppercase(), &format!("{key}0"), "", "0", &"é".repeat(16)] {
                assert_eq!(now.open(&courses, &team("A"), wrong), None, "{wrong}");
            }
        }
        let other = keys("other", "", ["", ""]).key(&courses, &team("A"), Viewer::Team).unwrap();
        assert_eq!(now.open(&courses, &team("A"), &other), None);
    }

    #[test]
    fn secrets_are_shown_only_to_a_teacher_whose_link_no_team_can_have_computed() {
        let shows = |keys: &PageKeys, made_by: &PageKeys, file: &str, prj: &str| {
            let courses = courses(file);
            let open = |viewer| {
                let key = made_by.key(&courses, &team(prj), viewer).unwrap();
                keys.open(&courses, &team(prj), &key).unwrap().shows_secrets
            };
            assert!(!open(Viewer::Team));
            open(Viewer::Teacher)
        };
        let (own, of_course) = (keys("own", "", ["g", ""]), keys("", "", ["g", ""]));
        assert!(shows(&own, &own, COURSES, "A"));
        assert!(shows(&of_course, &of_course, COURSES, "A"));
        assert!(!shows(&own, &own, COURSES, "D"), "this team has no secret of its own");
        // Teams know what signed as itself before.
        let before = &COURSES
            .replace("of the course, long enough to derive from", "before")
            .replace(r#""github_secret_previous": "before","#, "");
        let old = courses(before);
        let made_of_the_old = of_course.key(&old, &team("A"), Viewer::Teacher).unwrap();
        let opened = of_course.open(&courses(COURSES), &team("A"), &made_of_the_old).unwrap();
        assert_eq!(opened, Opened { viewer: Viewer::Teacher, shows_secrets: false });
        let both = &COURSES.replace("true", "\"both\"");
        assert!(!shows(&of_course, &of_course, both, "A") && shows(&own, &own, both, "A"));
        // The default secret is another course's whole key.
        let default = r#"{"c": {"teams": ["A"], "team_secrets": true}, "d": {"teams": ["D"]}}"#;
        assert!(!shows(&of_course, &of_course, default, "A"));
    }

    #[test]
    fn links_are_known_to_teams_where_they_are_made_of_what_teams_sign_with() {
        let known = |keys: &PageKeys, prj: &str| keys.is_known_to_teams(&courses(COURSES), &team(prj));
        let (own, of_course) = (keys("own", "", ["g", ""]), keys("", "", ["g", ""]));
        assert!(!known(&own, "A") && !known(&own, "D"));
        assert!(known(&of_course, "A"), "the predecessor still makes links");
        assert!(known(&of_course, "D"));
        assert!(known(&keys("g", "", ["g", ""]), "D"), "it is also a key of teams");
        let alone = courses(&COURSES.replace(r#""github_secret_previous": "before","#, ""));
        assert!(!of_course.is_known_to_teams(&alone, &team("A")));
    }
}
