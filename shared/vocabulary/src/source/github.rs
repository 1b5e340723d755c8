//! GitHub: organisation and repository hooks.

use super::description::{Description, SecretNames};

pub(super) const DESCRIPTION: Description = Description {
    name: "github",
    title: "GitHub",
    secret: SecretNames {
        flag: "github-secret",
        variable: "GITHUB_SECRET",
        older_variables: &["GITHUB_SIGNATURE_KEY"],
        field: "github_secret",
        help: "Secret of GitHub hooks",
        previous_flag: "github-secret-previous",
        previous_variable: "GITHUB_SECRET_PREVIOUS",
        previous_field: "github_secret_previous",
        previous_help: "The secret that GITHUB_SECRET replaced, accepted while hooks are being changed",
    },
    may_be_unsigned: false,
    events: &["push", "issues", "pull_request", "repository"],
    // GitHub's own cap.
    max_body: 25 * 1024 * 1024,
    has_places: true,
};
