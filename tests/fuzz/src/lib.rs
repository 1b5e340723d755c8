//! Fuzzing on stable Rust: seeds that are mutated again and again, deterministically, against what must hold for
//! every input ([`targets`]).
//!
//! There is no coverage to steer by. Instead each target says in a word what became of an input, and an input that
//! brought about something new is mutated further. What fails is written to `target/fuzz`; once fixed it becomes a
//! file in `corpus/<target>`, and every run begins with those.

mod mutate;
mod seeds;
pub mod targets;
#[cfg(test)]
mod short_run;

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

pub use targets::Target;

/// How many inputs are kept for further mutation.
const KEPT: usize = 2_000;

/// How large an input may grow.
const LARGEST: usize = 16 * 1024;

/// An input for which something did not hold.
#[derive(Debug, Clone)]
pub struct Failure {
    pub target: &'static str,
    /// What did not hold, or the panic's text.
    pub error: String,
    pub input: Vec<u8>,
}

/// Mutates until `enough` says so, given how many inputs were tried; gives their number.
///
/// # Errors
/// The first input for which something did not hold.
pub fn run(target: &Target, seed: u64, mut enough: impl FnMut(u64) -> bool) -> Result<u64, Box<Failure>> {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut kept = seeds::of(target);
    let mut seen = HashSet::new();
    for input in &kept {
        seen.insert(check(target, input)?);
    }
    let mut tried = kept.len() as u64;
    while !enough(tried) {
        // Half of the time one that was found late: what is new leads to what is newer.
        let late = kept.len() - kept.len().min(50);
        let from = if rng.random() { &kept[..] } else { &kept[late..] };
        let mut input = from.choose(&mut rng).cloned().unwrap_or_default();
        let other = kept.choose(&mut rng).cloned().unwrap_or_default();
        for _ in 0..rng.random_range(1..=6) {
            mutate::once(&mut input, &other, &mut rng);
        }
        input.truncate(LARGEST);
        let outcome = check(target, &input)?;
        tried += 1;
        if seen.insert(outcome) && kept.len() < KEPT {
            kept.push(input);
        }
    }
    Ok(tried)
}

/// Tries one input; gives what became of it, in a word.
///
/// # Errors
/// When something does not hold, a panic included.
pub fn check(target: &Target, input: &[u8]) -> Result<String, Box<Failure>> {
    let failure = |error: String| Box::new(Failure { target: target.name, error, input: input.to_vec() });
    match catch_unwind(AssertUnwindSafe(|| (target.check)(input))) {
        Ok(outcome) => outcome.map_err(failure),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Err(failure(format!("panicked: {}", text.unwrap_or_default())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds_unless(input: &[u8], word: &[u8]) -> Result<String, String> {
        let wrong = input.windows(word.len()).any(|window| window == word);
        assert!(!wrong, "a bug that somebody planted");
        Ok(String::new())
    }

    #[test]
    fn what_does_not_hold_is_found_and_a_panic_is_caught() {
        let check = |input: &[u8]| holds_unless(input, b"\\ud800");
        let planted = Target { name: "taiga", source: Some(shared::source::Source::Taiga), check };
        let failure = run(&planted, 1, |tried| tried > 50_000).unwrap_err();
        assert_eq!(failure.error, "panicked: a bug that somebody planted");
        let check = |input: &[u8]| holds_unless(input, b"never to be found");
        let sound = Target { name: "excel", source: Some(shared::source::Source::Excel), check };
        assert_eq!(run(&sound, 1, |tried| tried >= 5_000).unwrap(), 5_000);
    }
}
