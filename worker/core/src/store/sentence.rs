//! An error of MongoDB's driver as a sentence. The driver's own texts are dumps of its structures.

use mongodb::error::{CommandError, Error, ErrorKind, WriteFailure};

/// What went wrong, as a sentence without its full stop.
#[must_use]
pub fn sentence(error: &Error) -> String {
    match &*error.kind {
        // The driver's text dumps its state of each server.
        ErrorKind::ServerSelection { .. } => {
            "no server answers that fits (is mongod up, and is there a primary?)".to_owned()
        }
        ErrorKind::Io(error) => format!("the connection failed ({error})"),
        ErrorKind::ConnectionPoolCleared { .. } => "the connection was closed after another one failed".to_owned(),
        ErrorKind::DnsResolve { .. } => "the name of its host cannot be resolved".to_owned(),
        ErrorKind::Authentication { .. } => "it refuses the user or the password".to_owned(),
        ErrorKind::InvalidTlsConfig { message, .. } => format!("the TLS settings cannot be used ({message})"),
        ErrorKind::Command(CommandError { code, code_name, message, .. }) => {
            format!("{} ({code_name}, {code})", without_values(message))
        }
        ErrorKind::Write(WriteFailure::WriteError(error)) => format!("{} ({})", error.message, error.code),
        ErrorKind::Write(WriteFailure::WriteConcernError(error)) => {
            format!("the majority did not confirm the write: {} ({})", error.message, error.code)
        }
        ErrorKind::InsertMany(error) => {
            let first = error.write_errors.iter().flatten().next();
            first.map_or_else(|| "an insert failed".to_owned(), |error| format!("{} ({})", error.message, error.code))
        }
        ErrorKind::InvalidArgument { message, .. }
        | ErrorKind::InvalidResponse { message, .. }
        | ErrorKind::IncompatibleServer { message, .. }
        | ErrorKind::Internal { message, .. } => message.clone(),
        // For these the driver's text is a sentence.
        kind @ (ErrorKind::Bson(_) | ErrorKind::Shutdown | ErrorKind::SessionsNotSupported) => kind.to_string(),
        _ => "the driver failed".to_owned(),
    }
}

/// The beginning of MongoDB's text, before the first document in it: that is a person's, and logs and pages show the text.
#[must_use]
pub(super) fn without_values(message: &str) -> &str {
    message.split('{').next().unwrap_or_default().trim_end_matches([' ', ':'])
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn what_documents_say_is_left_out_of_an_error() {
        for (message, kept) in [
            (
                "E11000 duplicate key error collection: d.c index: a_1 dup key: { a: \"x\" }",
                "E11000 duplicate key error collection: d.c index: a_1 dup key",
            ),
            ("Can't extract geo keys: { _id: 1 } Point must", "Can't extract geo keys"),
            ("Document failed validation", "Document failed validation"),
        ] {
            assert_eq!(without_values(message), kept);
        }
    }

    #[test]
    fn a_driver_error_is_a_sentence_and_no_dump() {
        for (error, expected) in [
            (Error::from(io::Error::other("connection reset")), "the connection failed (connection reset)"),
            (Error::custom("x"), "the driver failed"),
        ] {
            assert_eq!(sentence(&error), expected);
        }
    }
}
