//! What strangers send to our own endpoints.

mod authorize;
mod bearer;
mod fixture;
mod form;
mod redirect_uri;
mod registration;

pub use authorize::authorize;
pub use bearer::bearer;
pub use form::form;
pub use redirect_uri::redirect_uri;
pub use registration::registration;

pub use super::client::document::fuzzing::metadata_document;

use super::client::registration::Registration;
use super::records::{AuthorizationRequest, Code, GrantedCode, PendingAuthorization};
use crate::fuzzing::reopens;
use crate::sealed::Purpose;

/// Everything that this module reads from under a seal.
pub fn behind_the_seal(plain: &[u8]) {
    reopens::<Code>(Purpose::AuthorizationCode, plain);
    reopens::<Registration>(Purpose::Client, plain);
    reopens::<AuthorizationRequest>(Purpose::AuthorizationRequest, plain);
    reopens::<PendingAuthorization>(Purpose::AuthorizationRequest, plain);
    reopens::<GrantedCode>(Purpose::AuthorizationCode, plain);
}
