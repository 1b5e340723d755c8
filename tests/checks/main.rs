//! What can be read off the repository without starting anything. Every check finds a violation that is planted in it,
//! so none of them passes because it looks in the wrong place.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the way to say that something is not as it should be")]

mod repository;

mod layers;
mod imports;
mod places;
mod documents;
mod configuration;
