//! Who may send: the keys in force for a request, and whether it may come unsigned.

use clap::ValueEnum;
use shared::credentials::{Courses, DefaultKeys, Key};
use shared::source::Source;

use super::query::Query;
use super::refusal::Refusal;

/// Whose unsigned sheets are accepted where no secret is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum UnsignedSheets {
    /// Those of teams in the credentials file.
    Listed,
    /// Those of every project.
    Any,
    /// Nobody's.
    Off,
}

/// The settings that say who may send, beside the credentials file.
#[derive(Debug)]
pub struct Access {
    pub defaults: DefaultKeys,
    pub unsigned_sheets: UnsignedSheets,
}

impl Access {
    /// The keys of which one must have signed; none when the request need not be signed.
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
