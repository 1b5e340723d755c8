//! Which language the reader gets: `?lang=`, else `Accept-Language`, else English.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    En,
    Ca,
    Es,
}

impl Language {
    /// All of them, as the page offers them.
    pub const ALL: [Self; 3] = [Self::En, Self::Ca, Self::Es];

    /// For `lang` and `?lang=`.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::Ca => "ca",
            Self::Es => "es",
        }
    }

    /// What it calls itself.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::En => "English",
            Self::Ca => "Català",
            Self::Es => "Español",
        }
    }

    /// Of a code such as `ca` or `es-419`.
    #[must_use]
    pub fn of(code: &str) -> Option<Self> {
        let primary = code.split('-').next().unwrap_or_default().trim();
        Self::ALL.into_iter().find(|language| primary.eq_ignore_ascii_case(language.code()))
    }

    /// The language that an `Accept-Language` header prefers, of those that we have.
    #[must_use]
    pub fn accepted(header: &str) -> Self {
        let mut best = (Self::En, 0.0);
        for part in header.split(',') {
            let (code, weight) = part.split_once(';').unwrap_or((part, "q=1"));
            let weight = weight.trim().strip_prefix("q=").and_then(|q| q.parse().ok()).unwrap_or(0.0);
            if let Some(language) = Self::of(code)
                && weight > best.1
            {
                best = (language, weight);
            }
        }
        best.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_of_our_languages_is_taken_and_english_otherwise() {
        for (header, language) in [
            ("", Language::En),
            ("de, fr;q=0.9", Language::En),
            ("ca-ES,ca;q=0.9,es;q=0.8,en;q=0.7", Language::Ca),
            ("es-419", Language::Es),
            ("en;q=0.5, CA;q=0.6", Language::Ca),
            ("de, es;q=0.1, *;q=0.5", Language::Es),
            ("es;q=0", Language::En),
            ("es;q=x", Language::En),
        ] {
            assert_eq!(Language::accepted(header), language, "{header}");
        }
    }
}
