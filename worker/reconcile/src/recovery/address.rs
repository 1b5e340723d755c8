//! Addresses of GitHub and Taiga in a request. A token may go there, so a host must be one that the settings name.

use std::collections::BTreeSet;

use reqwest::Url;

use super::invalid::Invalid;
use crate::place::GithubPlace;

/// The hosts of both providers, of their APIs and of their pages.
#[derive(Debug, Clone)]
pub struct Hosts {
    github: BTreeSet<String>,
    taiga: BTreeSet<String>,
}

impl Hosts {
    /// Those of `GITHUB_API_URL` and `TAIGA_API_URL`, and github.com.
    #[must_use]
    pub fn new(github_api: &str, taiga_api: &str) -> Self {
        let github =
            [hosts_of(github_api), ["github.com", "www.github.com", "api.github.com"].map(str::to_owned).into()];
        Self { github: github.into_iter().flatten().collect(), taiga: hosts_of(taiga_api).into_iter().collect() }
    }

    /// An organisation or repository: `org`, `org/repo`, or the address of its page, of a clone or in the API.
    ///
    /// # Errors
    /// When it is neither, or its host is unknown.
    pub fn github(&self, text: &str) -> Result<GithubPlace, Invalid> {
        let wrong = Invalid::Field(
            "github_url",
            "write an organisation or a repository, such as upc-pes or https://github.com/upc-pes/marmota",
        );
        let path = path_of(text, &self.github, "github_url", "GITHUB_API_URL")?;
        let mut names: Vec<&str> = path.0.split('/').filter(|name| !name.is_empty()).collect();
        if path.1 {
            // GitHub Enterprise has its API below /api/v3.
            if names.starts_with(&["api", "v3"]) {
                names.drain(..2);
            }
            if names.len() > 1 && ["orgs", "users", "repos"].contains(&names[0]) {
                names.remove(0);
            }
        }
        // What follows a repository in an address is a page of it.
        if path.1 {
            names.truncate(2);
        }
        match names[..] {
            [owner] if is_name(owner) => Ok(GithubPlace { owner: owner.to_owned(), name: None }),
            [owner, name] => {
                let name = name.strip_suffix(".git").unwrap_or(name);
                let good = is_name(owner) && is_name(name);
                good.then(|| GithubPlace { owner: owner.to_owned(), name: Some(name.to_owned()) }).ok_or(wrong)
            }
            _ => Err(wrong),
        }
    }

    /// A project's slug, or the address of one of its pages.
    ///
    /// # Errors
    /// When it is neither, or its host is unknown.
    pub fn taiga(&self, text: &str) -> Result<String, Invalid> {
        let wrong = Invalid::Field(
            "taiga_url",
            "write a project's slug or address, such as https://tree.taiga.io/project/mireia-marmota",
        );
        let (path, is_url) = path_of(text, &self.taiga, "taiga_url", "TAIGA_API_URL")?;
        let mut names = path.split('/').filter(|name| !name.is_empty());
        let slug = match is_url {
            true => names.find(|name| *name == "project").and_then(|_| names.next()),
            false => names.next().filter(|_| names.next().is_none()),
        };
        slug.filter(|slug| is_name(slug)).map(str::to_owned).ok_or(wrong)
    }
}

/// The path of an address at one of these hosts, and whether it was an address; else the text itself.
fn path_of(
    text: &str,
    hosts: &BTreeSet<String>,
    field: &'static str,
    setting: &'static str,
) -> Result<(String, bool), Invalid> {
    let text = text.trim();
    if !text.contains("://") {
        return Ok((text.to_owned(), false));
    }
    let url = Url::parse(text).map_err(|_| Invalid::Field(field, "it is not an address"))?;
    let plain = url.username().is_empty() && url.password().is_none();
    let known = url.host_str().is_some_and(|host| hosts.contains(host));
    if matches!(url.scheme(), "http" | "https") && plain && known {
        return Ok((url.path().to_owned(), true));
    }
    let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
    Err(Invalid::Host { field, hosts: hosts.join(", "), setting })
}

/// The host of an API, and the hosts under which its pages may be.
fn hosts_of(api: &str) -> Vec<String> {
    let Some(host) = Url::parse(api).ok().and_then(|url| url.host_str().map(str::to_owned)) else { return Vec::new() };
    let pages = host.strip_prefix("api.").map(|rest| [rest.to_owned(), format!("www.{rest}"), format!("tree.{rest}")]);
    std::iter::once(host.clone()).chain(pages.into_iter().flatten()).collect()
}

/// A name becomes part of an address.
fn is_name(text: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=200).contains(&text.len()) && text.bytes().all(good) && !text.bytes().all(|byte| byte == b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts() -> Hosts {
        Hosts::new("https://api.github.com", "https://api.taiga.io/api/v1")
    }

    #[test]
    fn an_organisation_or_a_repository_is_read_from_its_name_and_from_its_addresses() {
        let place = |owner: &str, name: Option<&str>| {
            Ok(GithubPlace { owner: owner.to_owned(), name: name.map(str::to_owned) })
        };
        for text in [
            "upc-pes",
            "https://github.com/upc-pes",
            "https://api.github.com/orgs/upc-pes",
            "http://www.github.com/upc-pes/",
        ] {
            assert_eq!(hosts().github(text), place("upc-pes", None), "{text}");
        }
        for text in [
            "upc-pes/marmota",
            "https://github.com/upc-pes/marmota",
            "https://github.com/upc-pes/marmota.git",
            "https://github.com/upc-pes/marmota/issues/3?q=x",
            "https://api.github.com/repos/upc-pes/marmota",
        ] {
            assert_eq!(hosts().github(text), place("upc-pes", Some("marmota")), "{text}");
        }
        let enterprise = Hosts::new("https://git.example.edu/api/v3", "https://t.example.edu/api/v1");
        assert_eq!(enterprise.github("https://git.example.edu/api/v3/repos/a/b"), place("a", Some("b")));
        assert_eq!(enterprise.taiga("https://t.example.edu/project/x/backlog"), Ok("x".to_owned()));
    }

    #[test]
    fn an_address_of_another_host_or_shape_is_refused() {
        for text in [
            "https://github.com.evil.example/upc-pes",
            "https://evil.example/github.com/upc-pes",
            "https://u:p@github.com/upc-pes",
            "ftp://github.com/upc-pes",
            "https://github.com/",
            "a/b/c",
            "..",
            "a/../b",
            "",
        ] {
            assert!(hosts().github(text).unwrap_err().to_string().starts_with("github_url: "), "{text}");
        }
        for text in ["https://evil.example/project/x", "https://tree.taiga.io/discover", "a/b", ""] {
            assert!(hosts().taiga(text).unwrap_err().to_string().starts_with("taiga_url: "), "{text}");
        }
        assert_eq!(hosts().taiga("mireia-marmota"), Ok("mireia-marmota".to_owned()));
        assert_eq!(
            hosts().taiga("https://tree.taiga.io/project/mireia-marmota/kanban"),
            Ok("mireia-marmota".to_owned())
        );
    }
}
