//! A short run of every fuzz target with fixed seeds, so that it says the same every time. A longer one:
//! `cargo run -p fuzz -- --seconds 600`.

use crate::{run, targets};

/// How many inputs a target gets here.
const INPUTS: u64 = 2_000;

#[test]
fn what_must_hold_for_every_input_holds_for_some_thousands() {
    for target in &targets::ALL {
        for seed in [1, 2] {
            if let Err(failure) = run(target, seed, |tried| tried >= INPUTS) {
                let input = String::from_utf8_lossy(&failure.input);
                panic!("{}: {} for {input:?}", failure.target, failure.error);
            }
        }
    }
}
