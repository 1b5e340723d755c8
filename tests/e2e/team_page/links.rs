//! What a link opens, and for whom.

use serde_json::{Value, json};

use super::{fetch, links, page, serving, two_teams};
use crate::operators::commands::{command, done};

#[tokio::test]
async fn a_link_opens_its_teams_page_and_anything_else_is_one_and_the_same_404() {
    let stack = serving("page-links", &two_teams(), &[]).await;
    let links = links(&stack, &["--course", "amep"]).await;
    let (ours, zebra) = (&links["Ours"], &links["Zebra"]);
    for path in [ours.clone(), format!("{ours}?lang=ca"), format!("{ours}.json")] {
        let (status, headers, body) = fetch(&stack, "GET", &path).await.unwrap();
        assert_eq!(status, 200, "{path}: {body}");
        assert!(body.contains("Ours") && !body.contains("Zebra"), "{path}: {body}");
        assert_eq!(headers["referrer-policy"], "no-referrer");
        assert_eq!(headers["cache-control"], "no-store");
        assert_eq!(headers["x-content-type-options"], "nosniff");
        let policy = &headers["content-security-policy"];
        assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
    }
    let key = |link: &str| link.rsplit('/').next().unwrap().to_owned();
    let nothing = fetch(&stack, "GET", "/").await.unwrap();
    assert_eq!((nothing.0, nothing.2.as_str()), (404, "Not found\n"));
    let wrong = [
        format!("/team/Ours/{}", key(zebra)),
        format!("/team/Zebra/{}", key(ours)),
        format!("/team/Ours/{}", "0".repeat(32)),
        format!("/team/Ours/{}", key(ours).to_uppercase()),
        format!("/team/Ours/{}0", key(ours)),
        format!("/team/Ours/{}", &key(ours)[1..]),
        format!("/team/Ours/{}.txt", key(ours)),
        format!("/team/Ours/{}.json.json", key(ours)),
        format!("/team/ours/{}", key(ours)),
        format!("/team/Nobody/{}", key(ours)),
        format!("/team/%FF/{}", key(ours)),
        "/team/Ours/%00".to_owned(),
        "/team/Ours/".to_owned(),
        "/team/Ours".to_owned(),
        "/status".to_owned(),
        "/metrics".to_owned(),
    ];
    for path in wrong {
        assert_eq!(fetch(&stack, "GET", &path).await.unwrap(), nothing, "{path}");
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        assert_eq!(fetch(&stack, method, ours).await.unwrap(), nothing, "{method}");
    }
}

#[tokio::test]
async fn a_link_of_the_previous_secret_works_while_it_is_there() {
    let stack = serving("page-previous", &two_teams(), &[("TEAM_PAGES_SECRET_PREVIOUS", "the-secret-before")]).await;
    let old = links(&stack, &["--prj", "Ours", "--team-pages-secret", "the-secret-before"]).await;
    let new = links(&stack, &["--prj", "Ours"]).await;
    assert_ne!(old, new);
    for links in [old, new] {
        page(&stack, &links["Ours"]).await;
    }
    let other = links(&stack, &["--prj", "Ours", "--team-pages-secret", "another"]).await;
    assert_eq!(fetch(&stack, "GET", &other["Ours"]).await.unwrap().0, 404);
}

#[tokio::test]
async fn only_a_teachers_link_shows_the_secrets_and_only_those_of_the_team_itself() {
    let courses = json!({
        "amep": { "teams": ["Ours"], "team_secrets": true, "github_secret": "a long secret of which keys are derived" },
        "pes": { "teams": ["Zebra"] },
    });
    let stack = serving("page-secrets", &courses, &[]).await;
    let (team, teacher) = (links(&stack, &[]).await, links(&stack, &["--teacher"]).await);
    let printed = done(&stack, &["secrets", "--prj", "Ours", "--output", "json"]).await;
    let keys: Vec<Value> = printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let keys: Vec<_> = keys.iter().map(|line| line["key"].as_str().unwrap()).collect();
    assert_eq!(keys.len(), 3);
    let shown = |page: &str| keys.iter().filter(|key| page.contains(**key)).count();
    assert_eq!(shown(&page(&stack, &teacher["Ours"]).await), 3);
    for link in [&team["Ours"], &format!("{}.json", teacher["Ours"]), &teacher["Zebra"]] {
        let body = page(&stack, link).await;
        assert!(shown(&body) == 0 && !body.contains("github-secret"), "{link}: {body}");
    }
}

#[tokio::test]
async fn team_links_warns_where_teams_can_compute_each_others() {
    let stack = serving("page-warning", &two_teams(), &[("TEAM_PAGES_SECRET", "")]).await;
    let output = command(&stack, &["team-links", "--output", "csv"]).await;
    let (links, notices) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(links.starts_with("course,prj,link\namep,Ours,https://ld.example.edu/team/Ours/"), "{links}");
    assert!(notices.contains("teams can compute each other's: Ours, Zebra. Set TEAM_PAGES_SECRET"), "{notices}");
    let own = command(&stack, &["team-links", "--team-pages-secret", "the-secret-of-links"]).await;
    assert!(!String::from_utf8_lossy(&own.stderr).contains("warning"));
}
