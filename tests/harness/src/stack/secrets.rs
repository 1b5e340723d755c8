//! No secret may stand in what a process writes: all secrets that a stack's processes get
//! in their settings, and a search for them.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

/// How long a secret must be to be searched for: a shorter one could be a word.
const SHORTEST: usize = 8;

/// All secrets in these settings: what is called so, passwords in addresses, and what the credentials file and key
/// files hold.
#[must_use]
pub fn of(env: &BTreeMap<String, String>) -> Vec<String> {
    let mut secrets = Vec::new();
    for (name, value) in env {
        let named = ["SECRET", "SECRET_PREVIOUS", "SIGNATURE_KEY", "TOKEN", "PASSWORD", "MONGO_PASS"]
            .iter()
            .any(|end| name.ends_with(end));
        match name.as_str() {
            _ if named => secrets.push(value.clone()),
            "NATS_URL" | "MONGO_URI" => secrets.extend(value.split(',').filter_map(password)),
            "CREDENTIALS_FILE" => {
                let text = std::fs::read_to_string(value).unwrap_or_default();
                words(&serde_json::from_str(&text).unwrap_or_default(), &mut secrets);
            }
            "TLS_KEY" | "NATS_KEY" | "NATS_CREDS" => {
                // The lines between the PEM marks.
                let text = std::fs::read_to_string(value).unwrap_or_default();
                secrets.extend(text.lines().filter(|line| !line.starts_with('-')).map(str::to_owned));
            }
            _ => {}
        }
    }
    secrets.retain(|secret| secret.len() >= SHORTEST);
    secrets.sort();
    secrets.dedup();
    secrets
}

/// The password in an address.
fn password(url: &str) -> Option<String> {
    let (login, _) = url.split_once("://")?.1.rsplit_once('@')?;
    Some(login.split_once(':')?.1.to_owned())
}

/// The credentials file's secrets: every text of a course that is neither a team nor an account's name.
fn words(courses: &Value, secrets: &mut Vec<String>) {
    for course in courses.as_object().into_iter().flat_map(serde_json::Map::values) {
        for (name, value) in course.as_object().into_iter().flatten() {
            if name != "teams" && name != "taiga_user" {
                secrets.extend(value.as_str().map(str::to_owned));
            }
        }
    }
}

/// The secrets that stand in a text.
#[must_use]
pub fn found<'s>(secrets: &'s [String], text: &str) -> Vec<&'s str> {
    secrets.iter().map(String::as_str).filter(|secret| text.contains(secret)).collect()
}

/// The secrets in a log, with the lines they stand in.
#[must_use]
pub fn in_log(secrets: &[String], log: &Path) -> Vec<String> {
    let bytes = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines = text.lines().flat_map(|line| found(secrets, line).into_iter().map(move |secret| (secret, line)));
    lines.map(|(secret, line)| format!("{secret:?} in {line}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_found_in_every_setting_that_holds_them() {
        let dir = std::env::temp_dir().join(format!("ld-scan-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let (file, key) = (dir.join("c.json"), dir.join("k.pem"));
        std::fs::write(&file, r#"{"c":{"teams":["TeamAAAA"],"taiga_user":"teacher1","github_token":"course-token"}}"#)
            .unwrap();
        std::fs::write(&key, "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMG\n-----END PRIVATE KEY-----\n").unwrap();
        let env = BTreeMap::from(
            [
                ("GITHUB_SECRET", "the-github-secret"),
                ("TAIGA_SECRET_PREVIOUS", "the-older-secret"),
                ("EXCEL_SECRET", "short"),
                ("NATS_URL", "nats://worker:nats-password@a:1,nats://b"),
                ("MONGO_URI", "mongodb://u:mongo-password@a:1,b:2/?x=y"),
                ("LOG_LEVEL", "not-a-secret"),
                ("CREDENTIALS_FILE", file.to_str().unwrap()),
                ("TLS_KEY", key.to_str().unwrap()),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        let secrets = of(&env);
        let expected = [
            "MIGHAgEAMBMG",
            "course-token",
            "mongo-password",
            "nats-password",
            "the-github-secret",
            "the-older-secret",
        ];
        assert_eq!(secrets, expected);
        let log = dir.join("x.log");
        std::fs::write(&log, "all is well\nerror: cannot log in with nats-password\n").unwrap();
        let leaks = in_log(&secrets, &log);
        std::fs::remove_dir_all(&dir).unwrap();
        assert_eq!(leaks, ["\"nats-password\" in error: cannot log in with nats-password"]);
    }
}
