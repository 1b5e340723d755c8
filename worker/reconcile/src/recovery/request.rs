//! The request, validated before anything is done.

use jiff::civil::{Date, Time};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use shared::ids::{Project, QualityModel};
use shared::secret::Secret;
use shared::source::Source;
use shared::time::{MADRID, parse_instant};

use super::address::Hosts;
use super::invalid::Invalid;
use crate::place::GithubPlace;
use crate::reading::taiga::Item;
use crate::scope::{Depth, GithubKind, Scope};

/// The alphabet of names.
const NAME: &str = "write 1 to 64 characters of A-Z, a-z, 0-9, _ and -";

/// The body of a recovery of one team. No `Debug`: it may hold tokens.
#[derive(Deserialize)]
struct TeamBody {
    prj: Option<String>,
    github_url: Option<String>,
    taiga_url: Option<String>,
    quality_model: Option<String>,
    from_date: Option<String>,
    to_date: Option<String>,
    github_events: Option<Vec<String>>,
    taiga_events: Option<Vec<String>>,
    github_token: Option<String>,
    taiga_token: Option<String>,
}

/// The body of a recovery of all teams.
#[derive(Deserialize)]
struct AllBody {
    since: Option<String>,
    since_hours: Option<f64>,
    dry_run: Option<bool>,
    run_async: Option<bool>,
}

/// One team, at one or both providers.
pub(super) struct Team {
    pub(super) scope: Scope,
    pub(super) github: Option<(GithubPlace, Option<Secret>)>,
    pub(super) taiga: Option<(String, Option<Secret>)>,
}

/// All teams.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct All {
    pub(super) depth: Depth,
    pub(super) dry_run: bool,
    pub(super) in_background: bool,
}

/// Reads the body of `/admin/recovery/…`.
///
/// # Errors
/// See [`Invalid`].
pub(super) fn team(body: &[u8], sources: &[Source], hosts: &Hosts) -> Result<Team, Invalid> {
    let body: TeamBody = json(body)?;
    let needed = |value: &Option<String>, name| given(value).map(str::to_owned).ok_or(Invalid::Missing(name));
    let prj = needed(&body.prj, "prj")?;
    let prj = Project::new(&prj).map_err(|_| Invalid::Field("prj", NAME))?;
    let (mut github, mut taiga) = (None, None);
    if sources.contains(&Source::Github) {
        let place = hosts.github(&needed(&body.github_url, "github_url")?)?;
        github = Some((place, secret(&body.github_token)));
    }
    if sources.contains(&Source::Taiga) {
        let slug = hosts.taiga(&needed(&body.taiga_url, "taiga_url")?)?;
        taiga = Some((slug, secret(&body.taiga_token)));
    }
    let mut scope = Scope::everything(prj, Depth::All);
    if let Some(model) = given(&body.quality_model) {
        let model = model.parse::<QualityModel>();
        scope.quality_model = Some(model.map_err(|_| Invalid::Field("quality_model", NAME))?);
    }
    scope.range = (date(&body.from_date, "from_date", false)?, date(&body.to_date, "to_date", true)?);
    if let Some(names) = &body.github_events {
        scope.github = names.iter().map(|name| github_kind(name)).collect::<Result<_, _>>()?;
    }
    if let Some(names) = &body.taiga_events {
        scope.taiga = names.iter().map(|name| item(name)).collect::<Result<_, _>>()?;
    }
    Ok(Team { scope, github, taiga })
}

/// Reads the body of `/data-recovery/run`; an empty one asks for everything.
///
/// # Errors
/// See [`Invalid`].
pub(super) fn all(body: &[u8], now_ms: i64) -> Result<All, Invalid> {
    let body: AllBody = json(if body.is_empty() { b"{}" } else { body })?;
    let since = match (date(&body.since, "since", false)?, body.since_hours) {
        (Some(_), Some(_)) => return Err(Invalid::Field("since and since_hours", "give one of them")),
        (Some(since), None) => Some(since),
        (None, Some(hours)) if (0.0..=87_600.0).contains(&hours) => Some(now_ms - (hours * 3_600_000.0) as i64),
        (None, Some(_)) => return Err(Invalid::Field("since_hours", "write a number of hours from 0 to 87600")),
        (None, None) => None,
    };
    let [dry_run, in_background] = [body.dry_run, body.run_async].map(Option::unwrap_or_default);
    Ok(All { depth: since.map_or(Depth::All, Depth::Since), dry_run, in_background })
}

/// serde's own text may quote a value, which may be a token.
fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Invalid> {
    serde_json::from_slice(body).map_err(|error| Invalid::Json { line: error.line(), column: error.column() })
}

/// An empty text counts as none: the administration tool sends empty fields.
fn given(value: &Option<String>) -> Option<&str> {
    value.as_deref().map(str::trim).filter(|value| !value.is_empty())
}

fn secret(value: &Option<String>) -> Option<Secret> {
    given(value).and_then(|value| value.parse().ok())
}

/// An instant, or the beginning of a day (for `to_date`, its end) in Madrid.
fn date(value: &Option<String>, field: &'static str, is_end: bool) -> Result<Option<i64>, Invalid> {
    let Some(text) = given(value) else { return Ok(None) };
    let of_day = || {
        let day: Date = text.parse().ok()?;
        let day = if is_end { day.tomorrow().ok()? } else { day };
        Some(MADRID.to_timestamp(day.to_datetime(Time::midnight())).ok()?.as_millisecond())
    };
    let found = parse_instant(text).or_else(of_day);
    found.map(Some).ok_or(Invalid::Field(field, "write a date, such as 2026-11-23, or 2026-11-23T17:00:00Z"))
}

fn github_kind(name: &str) -> Result<GithubKind, Invalid> {
    match name {
        "commits" => Ok(GithubKind::Commits),
        "issues" => Ok(GithubKind::Issues),
        "pull_requests" => Ok(GithubKind::PullRequests),
        _ => Err(Invalid::Field("github_events", "the names are commits, issues, pull_requests")),
    }
}

fn item(name: &str) -> Result<Item, Invalid> {
    let found = Item::ALL.into_iter().find(|item| item.word() == name);
    found.ok_or(Invalid::Field("taiga_events", "the names are task, userstory, issue, epic"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: [Source; 2] = [Source::Github, Source::Taiga];

    fn read(body: &str) -> Result<Team, Invalid> {
        team(body.as_bytes(), &BOTH, &Hosts::new("https://api.github.com", "https://api.taiga.io/api/v1"))
    }

    #[test]
    fn what_is_missing_is_named_in_the_order_of_the_fields_and_an_empty_text_is_missing() {
        for (body, said) in [
            ("{}", "prj is required"),
            (r#"{"prj": " "}"#, "prj is required"),
            (r#"{"prj": "A"}"#, "github_url is required"),
            (r#"{"prj": "A", "github_url": "o"}"#, "taiga_url is required"),
        ] {
            assert_eq!(read(body).err().map(|error| error.to_string()).as_deref(), Some(said), "{body}");
        }
        let taiga = team(br#"{"prj": "A", "taiga_url": "x"}"#, &[Source::Taiga], &Hosts::new("", ""))
            .map(|team| team.github.is_none());
        assert_eq!(taiga, Ok(true));
    }

    #[test]
    fn no_error_repeats_a_value() {
        for body in [
            r#"{"prj": "ghp hush", "github_url": "o", "taiga_url": "t"}"#,
            r#"{"prj": "A", "github_url": "https://hush.example/o", "taiga_url": "t"}"#,
            r#"{"prj": "A", "github_url": "o", "taiga_url": "t", "github_events": ["hush"]}"#,
            r#"{"prj": "A", "github_url": "o", "taiga_url": "t", "github_events": "hush"}"#,
            r#"{"prj": "A", "github_url": "o", "taiga_url": "t", "taiga_events": ["hush"]}"#,
            r#"{"prj": "A", "github_url": "o", "taiga_url": "t", "from_date": "hush"}"#,
            r#"{"prj": "A", "github_url": "o", "taiga_url": "t", "quality_model": "hush hush"}"#,
            r#"["hush"]"#,
            "hush",
        ] {
            let error = read(body).err().unwrap_or_else(|| panic!("{body} is accepted"));
            assert!(!error.to_string().contains("hush"), "{body}: {error}");
        }
    }

    #[test]
    fn days_begin_and_end_in_madrid_and_events_narrow_what_is_read() {
        let team = read(
            r#"{"prj": "A", "github_url": "o/r", "taiga_url": "t", "from_date": "2026-11-23", "to_date": "2026-11-23",
                "github_events": ["commits"], "taiga_events": ["task", "epic"], "github_token": "x", "taiga_token": ""}"#,
        );
        let team = team.unwrap_or_else(|error| panic!("{error}"));
        let at = |text: &str| parse_instant(text);
        assert_eq!(team.scope.range, (at("2026-11-22T23:00:00Z"), at("2026-11-23T23:00:00Z")));
        assert_eq!((team.scope.github.len(), team.scope.taiga.len()), (1, 2));
        assert!(team.github.unwrap().1.is_some() && team.taiga.unwrap().1.is_none());
    }

    #[test]
    fn all_teams_are_read_since_then_or_whole() {
        let hour = 3_600_000;
        let since = |body: &str| all(body.as_bytes(), 10 * hour).map(|all| all.depth);
        assert_eq!((since(""), since("{}")), (Ok(Depth::All), Ok(Depth::All)));
        assert_eq!(since(r#"{"since_hours": 2.5}"#), Ok(Depth::Since(10 * hour - 5 * hour / 2)));
        for bad in [r#"{"since": "x"}"#, r#"{"since_hours": -1}"#, r#"{"since": "2026-11-23", "since_hours": 1}"#, "[]"]
        {
            assert!(since(bad).is_err(), "{bad}");
        }
    }
}
