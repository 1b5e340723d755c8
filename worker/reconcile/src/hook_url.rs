//! Which hooks are ours, by their addresses: those that lead to the webhooks of this installation's ingress.

use reqwest::Url;
use shared::ids::{Project, QualityModel};
use shared::source::Source;

/// The address a hook should have.
#[must_use]
pub fn hook_url(base: &Url, source: Source, project: &Project, model: Option<&QualityModel>) -> String {
    source.payload_url(base.as_str(), project, model)
}

/// Whether an address leads to a webhook of this ingress: then the hook is ours, right or wrong. `http` and `https`
/// are one, for a hook with the wrong one is ours too; what else lives on the same host is not.
#[must_use]
pub fn is_ours(base: &Url, address: &str) -> bool {
    let Ok(url) = Url::parse(address) else { return false };
    let below = url.path().strip_prefix(base.path().trim_end_matches('/'));
    let webhook = below
        .and_then(|path| path.strip_prefix("/webhook"))
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    webhook && base.host_str() == url.host_str() && base.port() == url.port()
}

/// Whether an address has the path of a webhook; used when `--public-url` is not given.
#[must_use]
pub fn looks_ours(source: Source, address: &str) -> bool {
    Url::parse(address).is_ok_and(|url| url.path().trim_end_matches('/').ends_with(&format!("/webhook/{source}")))
}

/// The project in a hook's address.
#[must_use]
pub fn project_of(address: &str) -> Option<String> {
    let url = Url::parse(address).ok()?;
    url.query_pairs().find(|(name, _)| name == "prj").map(|(_, value)| value.into_owned()).filter(|prj| !prj.is_empty())
}

/// The quality model in a hook's address.
#[must_use]
pub fn model_of(address: &str) -> Option<QualityModel> {
    let url = Url::parse(address).ok()?;
    url.query_pairs().find(|(name, _)| name == "quality_model").and_then(|(_, value)| QualityModel::new(&value).ok())
}

/// Whether a hook's address leads to our webhooks of a source, for this project.
#[must_use]
pub fn is_for(public_url: Option<&Url>, source: Source, address: &str, prj: &Project) -> bool {
    let ours = public_url.is_none_or(|base| is_ours(base, address)) && looks_ours(source, address);
    ours && project_of(address).as_deref() == Some(prj.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::public_url;

    #[test]
    fn a_hook_is_ours_by_its_host_and_port_and_no_one_elses() {
        let ours = public_url("https://ld.example.edu").unwrap();
        for address in [
            "https://ld.example.edu/webhook/github?prj=A",
            "http://ld.example.edu/webhook/github",
            "https://ld.example.edu/webhook/gihtub?prj=A",
        ] {
            assert!(is_ours(&ours, address), "{address}");
        }
        for address in [
            "https://ld.example.edu.evil.example/webhook/github?prj=A",
            "https://other.example.edu/webhook/github?prj=A",
            "https://ld.example.edu:8443/webhook/github?prj=A",
            "https://ld.example.edu/ci/github",
            "https://ld.example.edu/webhooks/x",
            "https://evil.example/?https://ld.example.edu/webhook/github",
            "",
        ] {
            assert!(!is_ours(&ours, address), "{address}");
        }
        let below = public_url("https://example.edu/ld/").unwrap();
        assert!(is_ours(&below, "https://example.edu/ld/webhook/taiga?prj=A"));
        assert!(!is_ours(&below, "https://example.edu/ldx/webhook/taiga?prj=A"));
        assert!(!is_ours(&below, "https://example.edu/other"));
    }

    #[test]
    fn an_address_is_made_and_read_again() {
        let project = Project::new("A1").unwrap();
        let made = hook_url(&public_url("https://x.example/ld/").unwrap(), Source::Taiga, &project, None);
        assert_eq!(made, "https://x.example/ld/webhook/taiga?prj=A1");
        assert_eq!((project_of(&made).as_deref(), model_of(&made)), (Some("A1"), None));
        let model = QualityModel::new("AMEP").unwrap();
        assert_eq!(model_of(&format!("{made}&quality_model=AMEP")), Some(model));
        assert_eq!(project_of("https://x.example/webhook/taiga?prj="), None);
        assert!(looks_ours(Source::Taiga, &made) && !looks_ours(Source::Github, &made));
    }

    #[test]
    fn a_hook_is_a_teams_by_our_address_and_its_prj() {
        let (ours, prj) = (Url::parse("https://ld.example.edu/ld").unwrap(), Project::new("TeamA").unwrap());
        let is = |address: &str| is_for(Some(&ours), Source::Github, address, &prj);
        assert!(is("https://ld.example.edu/ld/webhook/github?prj=TeamA&quality_model=M"));
        for other in [
            "https://ld.example.edu/ld/webhook/github?prj=TeamB",
            "https://ld.example.edu/ld/webhook/taiga?prj=TeamA",
            "https://ld.example.edu/webhook/github?prj=TeamA",
            "https://evil.example/ld/webhook/github?prj=TeamA",
            "no address",
        ] {
            assert!(!is(other), "{other}");
        }
        assert!(is_for(None, Source::Github, "https://x.example/webhook/github?prj=TeamA", &prj));
    }
}
