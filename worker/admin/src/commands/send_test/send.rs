//! Sends as the team's sender would: its address, its key.

use std::time::Duration;

use reqwest::{StatusCode, Url};
use serde_json::Value;
use shared::credentials::{self, DefaultKeys};
use shared::hash::short_sha256;
use shared::secret::Secret;
use shared::source::Source;
use worker_reconcile::hook_url::hook_url;

use super::options::Options;
use super::samples::Sample;
use crate::clients::webhook::{self, Said};
use crate::terminal::CommandError;

/// Longer than ingress takes for its answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// The sender of one team at one source.
#[derive(Debug)]
pub(super) struct Sender {
    http: reqwest::Client,
    source: Source,
    url: Url,
    secret: Option<Secret>,
}

impl Sender {
    pub(super) fn new(options: &Options) -> Result<Self, CommandError> {
        let Options { prj, source, .. } = options;
        let base = match &options.url {
            Some(url) => url.clone(),
            None => options.public_url.required()?,
        };
        let defaults = DefaultKeys::new(&options.signatures).map_err(CommandError::usage)?;
        let (handle, _) = credentials::open(&options.credentials.credentials_file).map_err(CommandError::usage)?;
        let courses = handle.courses();
        let key = defaults.in_force(&courses, *source, Some(prj)).into_iter().next();
        let description = source.description();
        if key.is_none() && !description.may_be_unsigned {
            let variable = description.secret.variable;
            return Err(CommandError::usage(format_args!(
                "no secret of {source} is set for {prj}: set {variable}, or a secret of its course in the credentials file, as ingress has it"
            )));
        }
        let model = courses.course_of(prj).and_then(|course| course.quality_model.as_ref());
        let url = Url::parse(&hook_url(&base, *source, prj, model)).map_err(CommandError::usage)?;
        let http = reqwest::Client::builder()
            .timeout(REQUEST_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("ld-connect/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| {
                CommandError::failed(
                    format_args!("no HTTP client can be made: {error}"),
                    "Look at the TLS settings of this machine",
                )
            })?;
        Ok(Self { http, source: *source, url, secret: key.map(|key| key.secret) })
    }

    pub(super) const fn url(&self) -> &Url {
        &self.url
    }

    /// Sends one; the delivery's id of ingress's answer.
    pub(super) async fn send(&self, sample: &Sample, number: u32) -> Result<String, CommandError> {
        let body = sample.body.to_string();
        let delivery = format!("ld-connect-test-{number}-{}", &short_sha256(&body)[..8]);
        let said = Said { event: sample.event, delivery: &delivery };
        let request = webhook::request(&self.http, self.url.clone(), self.source, said, self.secret.as_ref(), body);
        let url = &self.url;
        let answer = request.send().await.map_err(|error| {
            CommandError::failed(
                format_args!("Stuck before ingress: {url} does not answer: {}", error.without_url()),
                "Is PUBLIC_URL the address that GitHub and Taiga have, and does the proxy lead to ingress? `--url http://127.0.0.1:5000` asks ingress itself",
            )
        })?;
        let status = answer.status();
        let text = answer.text().await.unwrap_or_default();
        let said: Value = serde_json::from_str(&text).unwrap_or_default();
        match (status, said["delivery"].as_str()) {
            (StatusCode::OK, Some(delivery)) => Ok(delivery.to_owned()),
            (StatusCode::OK, None) => Err(CommandError::failed(
                format_args!("Stuck before ingress: {url} answered 200, and not as ingress does"),
                "Another server answers at this address: look at PUBLIC_URL and the proxy",
            )),
            _ => {
                let why = said["error"].as_str().map_or_else(|| "it is not ingress's answer".to_owned(), str::to_owned);
                Err(CommandError::failed(
                    format_args!("Stuck at ingress: {url} answered {status}: {why}"),
                    advice(status, self.source),
                ))
            }
        }
    }
}

fn advice(status: StatusCode, source: Source) -> String {
    match status {
        StatusCode::FORBIDDEN => format!(
            "The secret here is not ingress's: compare {} and the credentials file of both",
            source.description().secret.variable
        ),
        StatusCode::SERVICE_UNAVAILABLE => "Look at ingress's /readyz and log: NATS is away, full or slow".to_owned(),
        StatusCode::NOT_FOUND | StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => {
            "Look at the proxy between this address and ingress".to_owned()
        }
        _ => "Look at ingress's log".to_owned(),
    }
}
