//! MongoDB: as one address, or in the parts that the Learning Dashboard's own deployment sets.

use clap::Args;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use shared::secret::Secret;

use super::value::{Invalid, host};
use crate::store::{Store, UnusableUri};

const DEFAULT_URI: &str = "mongodb://localhost:27017";
const DEFAULT_PORT: u16 = 27017;

/// Where a user is looked up, in every deployment that we have seen.
const DEFAULT_AUTHSRC: &str = "admin";

/// How to reach MongoDB.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "MongoDB")]
pub struct MongoArgs {
    /// Where MongoDB is; a database in the path is the one that is used. Unset: made of MONGO_HOST and its like, else
    /// mongodb://localhost:27017.
    #[arg(long, env = "MONGO_URI", hide_env_values = true)]
    pub mongo_uri: Option<Secret>,
    /// The database, when MONGO_URI names none.
    #[arg(long, env = "MONGO_DB", default_value = "event_dashboard", value_parser = database)]
    pub mongo_db: String,
    /// Host of MongoDB, where MONGO_URI is unset.
    #[arg(long, env = "MONGO_HOST", value_parser = host)]
    pub mongo_host: Option<String>,
    /// Port beside MONGO_HOST; 27017 if unset.
    #[arg(long, env = "MONGO_PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub mongo_port: Option<u16>,
    /// User beside MONGO_HOST; needs MONGO_PASSWORD too.
    #[arg(long, env = "MONGO_USER")]
    pub mongo_user: Option<String>,
    /// Password of MONGO_USER, as it is: any characters, not percent-encoded. MONGO_PASS is an older name.
    #[arg(long, env = "MONGO_PASSWORD", hide_env_values = true)]
    pub mongo_password: Option<Secret>,
    /// Database in which MONGO_USER was created; admin if unset.
    #[arg(long, env = "MONGO_AUTHSRC")]
    pub mongo_authsrc: Option<String>,
}

/// MongoDB's settings cannot work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MongoSettingsError {
    /// Half of what belongs together is set.
    #[error("{set} is set but {missing} is missing: set {missing}, or MONGO_URI alone")]
    Missing {
        /// Which variable is set.
        set: &'static str,
        /// Which one it needs.
        missing: &'static str,
    },
    /// The driver does not take the address.
    #[error("{setting}: {error}")]
    Unusable {
        /// Where the address comes from.
        setting: &'static str,
        /// Why not.
        error: UnusableUri,
    },
}

impl MongoArgs {
    /// The address of MongoDB that the settings make.
    ///
    /// # Errors
    /// When only a part of what belongs together is set.
    pub fn uri(&self) -> Result<Secret, MongoSettingsError> {
        match (&self.mongo_uri, &self.mongo_host) {
            (Some(uri), _) => Ok(uri.clone()),
            (None, Some(host)) => Ok(secret(&self.made_of(host)?)),
            (None, None) => match self.parts_beside_host() {
                Some(set) => Err(MongoSettingsError::Missing { set, missing: "MONGO_HOST" }),
                None => Ok(secret(DEFAULT_URI)),
            },
        }
    }

    fn made_of(&self, host: &str) -> Result<String, MongoSettingsError> {
        let port = self.mongo_port.unwrap_or(DEFAULT_PORT);
        let escaped = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
        match (&self.mongo_user, &self.mongo_password) {
            (Some(user), Some(password)) => {
                let (user, password) = (escaped(user), escaped(password.expose()));
                let source = escaped(self.mongo_authsrc.as_deref().unwrap_or(DEFAULT_AUTHSRC));
                Ok(format!("mongodb://{user}:{password}@{host}:{port}/?authSource={source}"))
            }
            (None, None) => Ok(format!("mongodb://{host}:{port}")),
            (Some(_), None) => Err(MongoSettingsError::Missing { set: "MONGO_USER", missing: "MONGO_PASSWORD" }),
            (None, Some(_)) => Err(MongoSettingsError::Missing { set: "MONGO_PASSWORD", missing: "MONGO_USER" }),
        }
    }

    fn parts_beside_host(&self) -> Option<&'static str> {
        let parts = [
            ("MONGO_USER", self.mongo_user.is_some()),
            ("MONGO_PASSWORD", self.mongo_password.is_some()),
            ("MONGO_PORT", self.mongo_port.is_some()),
            ("MONGO_AUTHSRC", self.mongo_authsrc.is_some()),
        ];
        parts.into_iter().find_map(|(name, is_set)| is_set.then_some(name))
    }

    /// Checks the settings without a request to the server.
    ///
    /// # Errors
    /// When they cannot work.
    pub fn check(&self) -> Result<(), MongoSettingsError> {
        UnusableUri::check(self.uri()?.expose()).map_err(|error| self.unusable(error))
    }

    /// The store in this database. Returns without a request to the server: the first command connects.
    ///
    /// # Errors
    /// When the address cannot be used; the text names the setting.
    pub async fn open(&self) -> Result<Store, MongoSettingsError> {
        let store = Store::connect(self.uri()?.expose(), &self.mongo_db).await;
        store.map_err(|error| self.unusable(error))
    }

    const fn unusable(&self, error: UnusableUri) -> MongoSettingsError {
        let setting = if self.mongo_uri.is_none() && self.mongo_host.is_some() { "MONGO_HOST" } else { "MONGO_URI" };
        MongoSettingsError::Unusable { setting, error }
    }
}

fn secret(uri: &str) -> Secret {
    uri.parse().expect("an address is not empty")
}

/// A name that MongoDB accepts for a database.
fn database(text: &str) -> Result<String, Invalid> {
    let bad =
        |c: char| c.is_control() || matches!(c, '/' | '\\' | '.' | ' ' | '"' | '$' | '*' | '<' | '>' | ':' | '|' | '?');
    match (1..64).contains(&text.len()) && !text.contains(bad) {
        true => Ok(text.to_owned()),
        false => Err(Invalid(r#"write a name of at most 63 bytes, without /\. "$*<>:|?, such as event_dashboard"#)),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use mongodb::options::ConnectionString;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Settings {
        #[command(flatten)]
        mongo: MongoArgs,
    }

    fn uri(args: &[&str]) -> Result<String, String> {
        let settings = Settings::try_parse_from(["x"].iter().chain(args)).unwrap();
        settings.mongo.uri().map(|uri| uri.expose().to_owned()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_database_has_a_name_that_mongodb_takes() {
        assert!(database("event_dashboard").is_ok());
        for bad in ["", "a.b", "a/b", "a b", "$a", &"a".repeat(64)] {
            assert!(database(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_address_is_made_of_its_parts_whatever_is_in_the_password() {
        assert_eq!(uri(&[]).unwrap(), "mongodb://localhost:27017");
        assert_eq!(uri(&["--mongo-host", "mongodb"]).unwrap(), "mongodb://mongodb:27017");
        assert_eq!(uri(&["--mongo-host", "::1", "--mongo-port", "1"]).unwrap(), "mongodb://[::1]:1");
        for password in ["p@ss:w/rd?#[]%41&=+ $é'\"\\", "%", " ", "-x"] {
            let password_flag = format!("--mongo-password={password}");
            let args = ["--mongo-host", "h", "--mongo-user", "us@r", &password_flag, "--mongo-authsrc", "a b"];
            let credential = ConnectionString::parse(uri(&args).unwrap()).unwrap().credential.unwrap();
            assert_eq!(credential.password.as_deref(), Some(password));
            assert_eq!(credential.username.as_deref(), Some("us@r"));
            assert_eq!(credential.source.as_deref(), Some("a b"));
        }
    }

    #[test]
    fn an_address_goes_before_its_parts() {
        assert_eq!(uri(&["--mongo-uri", "mongodb://a", "--mongo-host", "b"]).unwrap(), "mongodb://a");
    }

    #[test]
    fn of_half_a_group_the_missing_variable_is_named() {
        let host = ["--mongo-host", "h"];
        for (args, missing) in [
            (&["--mongo-port", "1"][..], "MONGO_PORT is set but MONGO_HOST is missing"),
            (&["--mongo-user", "u", "--mongo-password", "hush"], "MONGO_USER is set but MONGO_HOST is missing"),
            (&[&host[..], &["--mongo-user", "u"]].concat(), "MONGO_USER is set but MONGO_PASSWORD is missing"),
            (&[&host[..], &["--mongo-password", "hush"]].concat(), "MONGO_PASSWORD is set but MONGO_USER is missing"),
        ] {
            let error = uri(args).unwrap_err();
            assert!(error.starts_with(missing) && !error.contains("hush"), "{error}");
        }
    }
}
