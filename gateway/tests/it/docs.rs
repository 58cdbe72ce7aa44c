//! The documentation as a whole: its links lead somewhere, the map has every page, and what it claims names a test that is there.
//! Tables that tell of the code are compared beside that code (`documented.rs` of the crate).

mod assurance;
mod claims;
mod endpoints;
mod links;
pub mod project;
