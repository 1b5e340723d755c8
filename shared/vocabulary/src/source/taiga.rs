//! Taiga: the webhooks of a project.

use super::description::{Description, SecretNames};

pub(super) const DESCRIPTION: Description = Description {
    name: "taiga",
    title: "Taiga",
    secret: SecretNames {
        flag: "taiga-secret",
        variable: "TAIGA_SECRET",
        older_variables: &["TAIGA_SIGNATURE_KEY"],
        field: "taiga_secret",
        help: "Secret of Taiga webhooks",
        previous_flag: "taiga-secret-previous",
        previous_variable: "TAIGA_SECRET_PREVIOUS",
        previous_field: "taiga_secret_previous",
        previous_help: "The secret that TAIGA_SECRET replaced",
    },
    may_be_unsigned: false,
    events: &["issue", "task", "userstory", "relateduserstory", "epic", "milestone"],
    max_body: 25 * 1024 * 1024,
    has_places: true,
};
