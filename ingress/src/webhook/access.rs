//! Which senders are accepted: the keys in force for a request, and whether it may be unsigned.

use clap::ValueEnum;
use shared::credentials::{Courses, DefaultKeys, Key};
use shared::source::Source;

use super::query::Query;
use super::refusal::Refusal;

/// Whose unsigned sheets are accepted if no secret is set for Google Sheets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum UnsignedSheets {
    /// Sheets of teams in the credentials file.
    Listed,
    /// Sheets of every project.
    Any,
    /// None.
    Off,
}

/// The settings of access, beside the credentials file.
#[derive(Debug)]
pub struct Access {
    pub defaults: DefaultKeys,
    pub unsigned_sheets: UnsignedSheets,
}

impl Access {
    /// The keys, one of which must have signed; none if the request may be unsigned.
    ///
    /// # Errors
    /// When it has to be refused whatever its signature is.
    pub fn keys(
        &self,
        courses: &Courses,
        source: Source,
        query: Result<&Query, &Refusal>,
    ) -> Result<Vec<Key>, Refusal> {
        let project = query.ok().map(|query| &query.project);
        let keys = self.defaults.in_force(courses, source, project);
        if !keys.is_empty() {
            return Ok(keys);
        }
        if !source.description().may_be_unsigned {
            return Err(Refusal::NoSecret);
        }
        let query = query.map_err(Clone::clone)?;
        let accepted = match self.unsigned_sheets {
            UnsignedSheets::Listed => courses.course_of(&query.project).is_some(),
            UnsignedSheets::Any => true,
            UnsignedSheets::Off => false,
        };
        if accepted { Ok(keys) } else { Err(Refusal::Unsigned) }
    }
}
