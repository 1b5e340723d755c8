//! The token of a project's look-ups: that of its course in the credentials file, else the default one.

use std::fmt;

use sha2::{Digest as _, Sha256};
use shared::credentials::{Courses, Handle};
use shared::hash::short_hex;
use shared::ids::Project;
use shared::secret::Secret;
use shared::source::Source;

use crate::config::EnrichArgs;

/// Label of the default token in metrics and logs.
const DEFAULT: &str = "default";

const ANONYMOUS: &str = "no account";

/// Identifies a token or an account without showing it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CredentialId {
    /// The course, or `default`.
    pub label: String,
    /// A hash of the token. Two courses with the same token share its limits; a replaced token starts with new ones.
    pub id: String,
}

impl CredentialId {
    fn new(label: &str, parts: &[&str]) -> Self {
        let hash = parts.iter().fold(Sha256::new(), |hash, part| hash.chain_update(part).chain_update([0]));
        let id = short_hex(hash.finalize());
        Self { label: label.to_owned(), id }
    }
}

#[derive(Debug, Clone)]
pub struct Token {
    pub credential: CredentialId,
    /// For the `Authorization` header.
    pub secret: Secret,
}

impl Token {
    /// A token, with the label that it has in metrics and logs.
    #[must_use]
    pub fn new(label: &str, secret: &Secret) -> Self {
        Self { credential: CredentialId::new(label, &[secret.expose()]), secret: secret.clone() }
    }
}

/// An account at Taiga.
#[derive(Clone)]
pub struct Account {
    pub credential: CredentialId,
    pub login: Login,
}

/// How requests to Taiga are authorised.
#[derive(Clone)]
pub enum Login {
    /// With a token that Taiga gives for these.
    Password {
        username: String,
        password: Secret,
    },
    Token(Secret),
    /// Without a token: a tunnel to a Taiga, or public projects.
    Anonymous,
}

impl Account {
    /// One of which there is only a token.
    #[must_use]
    pub fn with_token(label: &str, token: &Secret) -> Self {
        Self { credential: CredentialId::new(label, &[token.expose()]), login: Login::Token(token.clone()) }
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account").field("credential", &self.credential).finish_non_exhaustive()
    }
}

/// All tokens, with the present credentials file.
#[derive(Debug, Clone)]
pub struct Tokens {
    courses: Handle,
    github: Option<Token>,
    taiga: Option<Account>,
    /// Taiga is asked without a token where there is no account at all.
    anonymous: bool,
}

/// The default account at Taiga is half set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{set} is set but {missing} is missing: set both")]
pub struct HalfAccount {
    set: &'static str,
    missing: &'static str,
}

impl Tokens {
    /// Those of the credentials file and of the settings.
    ///
    /// # Errors
    /// When the default account is half set.
    pub fn new(courses: Handle, args: &EnrichArgs) -> Result<Self, HalfAccount> {
        let taiga = match (&args.taiga_username, &args.taiga_password) {
            (Some(username), Some(password)) => Some(account(DEFAULT, username, password)),
            (None, None) => args.taiga_token.as_ref().map(|token| Account::with_token(DEFAULT, token)),
            (None, Some(_)) => return Err(HalfAccount { set: "TAIGA_PASSWORD", missing: "TAIGA_USERNAME" }),
            (Some(_), None) => return Err(HalfAccount { set: "TAIGA_USERNAME", missing: "TAIGA_PASSWORD" }),
        };
        let github = args.github_token.as_ref().map(|secret| Token::new(DEFAULT, secret));
        Ok(Self { courses, github, taiga, anonymous: args.taiga_api_url.is_some() })
    }

    /// No tokens: nothing is looked up.
    #[must_use]
    pub fn none() -> Self {
        Self { courses: Handle::fixed(Courses::default()), github: None, taiga: None, anonymous: false }
    }

    /// The token for a project's look-ups at GitHub.
    #[must_use]
    pub fn github(&self, project: &Project) -> Option<Token> {
        let courses = self.courses.courses();
        let own =
            courses.course_of(project).and_then(|course| Some(Token::new(&course.name, course.github_token.as_ref()?)));
        own.or_else(|| self.github.clone())
    }

    /// The account for a project's look-ups at Taiga.
    #[must_use]
    pub fn taiga(&self, project: &Project) -> Option<Account> {
        let courses = self.courses.courses();
        let own = courses.course_of(project).and_then(|course| {
            Some(account(&course.name, course.taiga_user.as_ref()?, course.taiga_password.as_ref()?))
        });
        let nobody = || self.anonymous && !courses.iter().any(|course| course.taiga_password.is_some());
        own.or_else(|| self.taiga.clone()).or_else(|| {
            nobody().then(|| Account { credential: CredentialId::new(ANONYMOUS, &[]), login: Login::Anonymous })
        })
    }

    /// Every GitHub token once.
    #[must_use]
    pub fn all_github(&self) -> Vec<Token> {
        let courses = self.courses.courses();
        let own = courses.iter().filter_map(|course| Some(Token::new(&course.name, course.github_token.as_ref()?)));
        let mut all: Vec<Token> = Vec::new();
        for token in self.github.clone().into_iter().chain(own) {
            if !all.iter().any(|held| held.credential.id == token.credential.id) {
                all.push(token);
            }
        }
        all
    }

    /// Every Taiga account once.
    #[must_use]
    pub fn all_taiga(&self) -> Vec<Account> {
        let courses = self.courses.courses();
        let own = courses.iter().filter_map(|course| {
            Some(account(&course.name, course.taiga_user.as_ref()?, course.taiga_password.as_ref()?))
        });
        let mut all: Vec<Account> = Vec::new();
        for account in self.taiga.clone().into_iter().chain(own) {
            if !all.iter().any(|held| held.credential.id == account.credential.id) {
                all.push(account);
            }
        }
        all
    }

    /// Whether events of this project and source need look-ups. Without a token they do not.
    #[must_use]
    pub fn cover(&self, source: Source, project: &Project) -> bool {
        let courses = self.courses.courses();
        let course = courses.course_of(project);
        match source {
            Source::Github => self.github.is_some() || course.is_some_and(|course| course.github_token.is_some()),
            Source::Taiga => self.taiga(project).is_some(),
            Source::Excel => false,
        }
    }
}

fn account(label: &str, username: &str, password: &Secret) -> Account {
    let credential = CredentialId::new(label, &[username, password.expose()]);
    Account { credential, login: Login::Password { username: username.to_owned(), password: password.clone() } }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::Parser as _;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Settings {
        #[command(flatten)]
        enrich: EnrichArgs,
    }

    fn tokens(file: &str, args: &[&str]) -> Result<Tokens, String> {
        let courses = shared::credentials::parse(Path::new("f.json"), file.as_bytes()).unwrap();
        let settings = Settings::try_parse_from(["x"].iter().chain(args)).unwrap();
        Tokens::new(Handle::fixed(courses), &settings.enrich).map_err(|error| error.to_string())
    }

    #[test]
    fn a_courses_own_token_goes_before_the_default_one() {
        let file = r#"{"amep": {"teams": ["A"], "github_token": "own"},
                       "pes": {"teams": ["B"], "taiga_user": "u", "taiga_password": "p"}}"#;
        let [a, b, c] = ["A", "B", "C"].map(|team| Project::new(team).unwrap());
        let with = tokens(file, &["--github-token", "general"]).unwrap();
        let label = |team| with.github(team).map(|token| (token.credential.label, token.secret.expose().to_owned()));
        assert_eq!(label(&a), Some(("amep".into(), "own".into())));
        assert_eq!(label(&b), Some(("default".into(), "general".into())));
        assert_eq!(label(&c), Some(("default".into(), "general".into())));
        let username = |account: Account| match account.login {
            Login::Password { username, .. } => Some(username),
            Login::Token(_) | Login::Anonymous => None,
        };
        assert_eq!(with.taiga(&b).and_then(username).as_deref(), Some("u"));
        assert!(with.taiga(&a).is_none());
        let without = tokens(file, &[]).unwrap();
        assert!(without.cover(Source::Github, &a) && !without.cover(Source::Github, &b));
        assert!(without.cover(Source::Taiga, &b) && !without.cover(Source::Taiga, &c));
    }

    #[test]
    fn an_account_goes_before_a_token_and_without_both_taiga_is_asked_without_one_where_its_address_is_set() {
        let a = Project::new("A").unwrap();
        let url = ["--taiga-api-url", "http://t.example"];
        let token = [&url[..], &["--taiga-token", "hush"]].concat();
        let account = [&token[..], &["--taiga-username", "u", "--taiga-password", "p"]].concat();
        let login = |file: &str, args: &[&str]| tokens(file, args).unwrap().taiga(&a).map(|account| account.login);
        let elsewhere = r#"{"pes": {"teams": ["B"], "taiga_user": "u", "taiga_password": "p"}}"#;
        assert!(matches!(login("{}", &account), Some(Login::Password { .. })));
        assert!(matches!(login("{}", &token), Some(Login::Token(_))));
        assert!(matches!(login("{}", &url), Some(Login::Anonymous)));
        assert!(login(elsewhere, &url).is_none() && login("{}", &[]).is_none());
    }

    #[test]
    fn half_an_account_names_the_missing_half() {
        let error = tokens("{}", &["--taiga-username", "u"]).unwrap_err();
        assert_eq!(error, "TAIGA_USERNAME is set but TAIGA_PASSWORD is missing: set both");
        let error = tokens("{}", &["--taiga-password", "hush"]).unwrap_err();
        assert_eq!(error, "TAIGA_PASSWORD is set but TAIGA_USERNAME is missing: set both");
    }

    #[test]
    fn an_account_is_never_shown() {
        let tokens = tokens("{}", &["--taiga-username", "who", "--taiga-password", "hush"]).unwrap();
        let shown = format!("{:?}", tokens.taiga(&Project::new("A").unwrap()));
        assert!(!shown.contains("hush") && !shown.contains("who"), "{shown}");
    }
}
