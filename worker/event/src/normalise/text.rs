//! What is found in users' sentences: references to tasks, and user stories.

use std::sync::LazyLock;

use bson::Bson;
use regex::Regex;

use super::number::integer;

/// A mention of a task in a commit's message, in English or Catalan.
static TASK: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?i)\b(?:task|tasca)\b(?:\s*#?\s*(\d+))?").expect("a fixed pattern, which the tests compile")
});

/// Whether a message mentions a task, and the number of the first mention, or null.
pub(super) fn task(message: &str) -> (bool, Bson) {
    let Some(first) = TASK.captures(message) else {
        return (false, Bson::Null);
    };
    let number = first.get(1).map_or(Bson::Null, |digits| match digits.as_str().parse() {
        Ok(number) => integer(number),
        // Beyond 64 bits it is a double, and never an infinite one. Digits of other scripts are no number.
        Err(_) => digits.as_str().parse().map_or(Bson::Null, |double: f64| Bson::Double(double.min(f64::MAX))),
    });
    (true, number)
}

/// The three ways to begin, to want and to say why, in lower case. An accent may also be
/// a character of its own: what is pasted from a Mac often is written so, and looks the same.
const PATTERNS: [(&str, &str, &[&str]); 3] = [
    ("as", "i want", &["so that", "to"]),
    ("como", "quiero", &["para", "por", "porque", "porqué", "porque\u{301}", "de manera que", "de forma que"]),
    (
        "com",
        "vull",
        &["per", "perquè", "perque\u{300}", "perqué", "perque\u{301}", "perque", "de manera que", "de forma que"],
    ),
];

/// Whether a description is a user story: `as … i want … so that …` or its Spanish or Catalan form.
///
/// Each keyword is a whole word, and each `…` holds at least one character that is not white space. Plain
/// searches rather than a regular expression: with Unicode word boundaries that would leave its
/// fast path at the first accent.
pub(super) fn is_user_story(description: &str) -> bool {
    let mut text = String::with_capacity(description.len());
    for word in description.split_whitespace() {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(word);
    }
    let text = text.to_lowercase();
    PATTERNS.iter().any(|(who, want, why)| {
        // The earliest place of each keyword leaves the most room for the next.
        let wanted = something_after(&text, 0, who).and_then(|at| something_after(&text, at, want));
        wanted.is_some_and(|at| why.iter().any(|why| something_after(&text, at, why).is_some()))
    })
}

/// Where the text goes on after the first whole `word` from `from` on and one more visible character.
fn something_after(text: &str, from: usize, word: &str) -> Option<usize> {
    let mut from = from;
    loop {
        let start = from + text.get(from..)?.find(word)?;
        let end = start + word.len();
        let before = text.get(..start)?.chars().next_back();
        let after = text.get(end..)?.chars().next();
        if !before.is_some_and(in_word) && !after.is_some_and(in_word) {
            let rest = text.get(end..)?;
            let visible = rest.trim_start();
            return Some(end + (rest.len() - visible.len()) + visible.chars().next()?.len_utf8());
        }
        from = end;
    }
}

/// Letters, digits, the underscore, and the accents that follow a letter as a character of their own.
fn in_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || ('\u{300}'..='\u{36f}').contains(&c)
}

/// Words of a text: what white space separates.
pub(super) fn words(text: &str) -> usize {
    text.split_whitespace().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_mention_of_a_task_counts() {
        for (message, number) in [
            ("task 12", Some(12)),
            ("Closes TASK#12", Some(12)),
            ("fix (Tasca   #  7): x, task 8", Some(7)),
            ("task\n#3", Some(3)),
            ("task", None),
            ("task-12", None),
            ("task and task 4", None),
            ("tasca dotze", None),
            ("task #5x", Some(5)),
        ] {
            assert_eq!(task(message), (true, number.map_or(Bson::Null, Bson::Int32)), "{message}");
        }
        for message in ["", "tasks 5", "multitask 5", "tascat 1", "TG-12", "task_5", "tàsca 5"] {
            assert_eq!(task(message), (false, Bson::Null), "{message}");
        }
        assert_eq!(task("task 9999999999").1, Bson::Int64(9_999_999_999));
        assert_eq!(task("task 100000000000000000000").1, Bson::Double(1e20));
        assert_eq!(task(&format!("task {}", "9".repeat(10_000))).1, Bson::Double(f64::MAX));
    }

    #[test]
    fn a_user_story_is_recognised_in_three_languages() {
        for story in [
            "As a student I want to log in so that I see my marks",
            "AS A STUDENT\n\n\tI   WANT a list TO sort it",
            "Hello! as x, i want: y, so\nthat: z.",
            "Como alumna quiero ver notas para aprobar",
            "como A QUIERO b porqué c",
            "como a quiero b de  manera\nque c",
            "Com a alumne vull veure notes PERQUÈ m'interessa",
            "com a vull b de forma que c",
            "com a vull b per c",
            "COM A VULL B PERQUE\u{300} C",
            "com a vull b perque\u{301} c",
            "como a quiero b porque\u{301} c",
            "**As a** user **I want** x **to** y",
            "as as a user i want want so that x",
            "has no as but as a b i want c to d",
        ] {
            assert!(is_user_story(story), "{story}");
        }
    }

    #[test]
    fn a_description_without_its_three_parts_is_none() {
        for other in [
            "",
            "As a student I want to",
            "As a student I want x so that",
            "As I want to log in",
            "As a student I want so that",
            "I want x as a student so that y",
            "Has a student I want x so that y",
            "As a student I wanted x so that y",
            "as a i want b token c",
            "como a quiero b parar c",
            "com a vull b perquèx c",
            "como a vull b per c",
            "as a quiero b to c",
            "asá a i want b to c",
        ] {
            assert!(!is_user_story(other), "{other}");
        }
    }

    #[test]
    fn a_long_description_is_searched_in_one_go() {
        let endless = "as i want è ".repeat(200_000);
        assert!(!is_user_story(&endless));
        assert!(is_user_story(&format!("{endless} to x")));
        assert!(!task(&"é tas ".repeat(200_000)).0);
    }

    #[test]
    fn words_are_separated_by_any_white_space() {
        assert_eq!(words("fix TG-12 login\n\nlong body\twith\u{a0}lines "), 7);
        assert_eq!(words(" \n"), 0);
    }
}
