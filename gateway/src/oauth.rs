//! Sallyport as an authorization server.

mod resource;

pub use resource::{Resource, Resources};
