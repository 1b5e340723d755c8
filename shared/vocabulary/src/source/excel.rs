//! Google Sheets: the add-on that sends a team's activities.

use super::description::{Description, SecretNames};

pub(super) const DESCRIPTION: Description = Description {
    name: "excel",
    title: "Google Sheets",
    secret: SecretNames {
        flag: "excel-secret",
        variable: "EXCEL_SECRET",
        older_variables: &[],
        field: "excel_secret",
        help: "Secret of the Google Sheets add-on; without it EXCEL_UNSIGNED decides whose unsigned sheets are accepted",
        previous_flag: "excel-secret-previous",
        previous_variable: "EXCEL_SECRET_PREVIOUS",
        previous_field: "excel_secret_previous",
        previous_help: "The secret that EXCEL_SECRET replaced",
    },
    may_be_unsigned: true,
    events: &["sheets_activity"],
    // A row of a sheet is a few KiB.
    max_body: 1024 * 1024,
    has_places: false,
};
