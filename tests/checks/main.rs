//! Checks that only read the repository. Every check also finds a planted violation, so none passes because it reads
//! the wrong place.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the way to say that something is not as it should be")]

mod repository;

mod layers;
mod imports;
mod places;
mod documents;
mod configuration;
