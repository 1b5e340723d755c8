//! The query: project and quality model.

use shared::ids::{Project, QualityModel};

use super::refusal::Refusal;

/// The parameters of a webhook's URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    pub project: Project,
    /// `quality_model`; an empty one counts as absent.
    pub quality_model: Option<QualityModel>,
}

impl Query {
    /// Reads `prj` and `quality_model`; every other parameter is ignored.
    ///
    /// # Errors
    /// When `prj` is missing, or one of the two is outside its alphabet or there with two values.
    pub fn parse(query: Option<&str>) -> Result<Self, Refusal> {
        let (mut project, mut model) = (None, None);
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            let (slot, name) = match name.as_ref() {
                "prj" => (&mut project, "prj"),
                "quality_model" => (&mut model, "quality_model"),
                _ => continue,
            };
            match slot {
                Some(first) if *first != value => return Err(Refusal::Twice(name)),
                slot => *slot = Some(value),
            }
        }
        let given = |value: &std::borrow::Cow<'_, str>| !value.is_empty();
        let project = project.filter(given).ok_or(Refusal::NoProject)?;
        Ok(Self {
            project: Project::new(&project)?,
            quality_model: model.filter(given).map(|model| QualityModel::new(&model)).transpose()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(query: &str) -> Result<(String, Option<String>), String> {
        Query::parse(Some(query))
            .map(|query| (query.project.to_string(), query.quality_model.map(String::from)))
            .map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn the_query_names_project_and_quality_model() {
        let both = Ok(("TeamA".to_owned(), Some("AMEP".to_owned())));
        assert_eq!(parse("prj=TeamA&quality_model=AMEP"), both);
        assert_eq!(parse("x=1&quality_model=AMEP&prj=Team%41&prj=TeamA"), both);
        assert_eq!(parse("prj=TeamA&quality_model="), Ok(("TeamA".to_owned(), None)));
    }

    #[test]
    fn a_query_without_a_valid_project_is_refused_with_what_is_missing() {
        let required = Err("prj is required as query parameter".to_owned());
        assert_eq!(Query::parse(None), Err(Refusal::NoProject));
        for query in ["", "prj", "prj=", "PRJ=a", "ping=1", "quality_model=x"] {
            assert_eq!(parse(query), required, "{query}");
        }
        for query in
            ["prj=a.b", "prj=a%20b", "prj=a+b", "prj=%FF", "prj=%00", "prj=a%2Fb", "prj=*", "prj=%24x", "prj=\u{e9}"]
        {
            assert_eq!(
                parse(query),
                Err("prj must be 1 to 64 characters of A-Z, a-z, 0-9, _ and -".to_owned()),
                "{query}"
            );
        }
        assert!(parse("prj=a&quality_model=x.y").unwrap_err().starts_with("quality_model must be"));
        assert_eq!(parse("prj=a&prj=b"), Err("prj is in the query more than once, with different values".to_owned()));
        assert!(parse("prj=a&quality_model=x&quality_model=y").is_err());
    }
}
