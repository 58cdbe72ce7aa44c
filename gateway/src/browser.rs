//! What only a browser sees: sealed cookies, the checks on a form's origin, and the pages.
//!
//! This module knows how a browser is spoken to safely; what a consent or a sign-in implies is for its caller.

mod cookies;
mod csrf;
mod fault;
mod lists;
mod pages;
mod person;
mod transaction;

#[cfg(any(test, fuzzing))]
pub use cookies::fuzzing;
pub use cookies::{ConsentState, Cookies, CsrfToken, EntraState, Jar, OPEN_TRANSACTIONS};
pub use csrf::{CrossOrigin, same_origin};
pub use fault::{Fault, Reference};
pub use lists::{ApprovedClients, DeniedClients, Label};
pub use pages::{ConsentPage, LeavePage, Pages, RETRY_AFTER_SECONDS, Vouched};
pub use person::{is_a_person, prefers_json};
pub use transaction::Transaction;
