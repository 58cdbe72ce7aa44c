//! What the gateway and the MCP server both say to Microsoft Entra ID.
//!
//! One [`Client`] speaks for one app registration at one [`Authority`]. It builds the sign-in URL, redeems codes,
//! exchanges tokens on behalf of users, and verifies what comes back; it proves who it is by a
//! [`ClientCredential`]: a federated assertion or one signed with a certificate, and by a secret in development only.
//!
//! The map: [`authority`] knows URLs, [`Cloud`] the names that differ among Microsoft's clouds, [`credential`] how we prove who we are, `token` the token endpoint and its error answers,
//! `throttle` how much is asked of it at a time, `observe` who counts that, [`ApplicationTokens`] what signs the gateway itself in elsewhere,
//! [`ClaimsRequest`] and `challenge` what a resource wants of the next token, [`claims`] what a token must say, `keys` who may
//! have signed it. This crate knows nothing of our own
//! clients, cookies or stores. Whoever uses it installs the TLS provider (`rustls`) first and passes in the time.

mod aadsts;
mod advice;
mod application;
pub mod authority;
mod authorize;
mod challenge;
pub mod claims;
mod claims_request;
mod client;
mod cloud;
pub mod credential;
mod error;
mod exchange;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod http;
mod keys;
mod observe;
mod secret;
mod throttle;
mod token;

pub use aadsts::{Code, KNOWN as KNOWN_CODES};
pub use advice::advice;
pub use application::ApplicationTokens;
pub use authority::{Authority, AuthorityError};
pub use authorize::AuthorizeRequest;
pub use claims::{AccessTokenPolicy, ClaimsError, Groups, Memberships, User, VerifiedUser};
pub use claims_request::ClaimsRequest;
pub use client::{Client, SetUpError, Settings, SignInAnswer};
pub use cloud::{Cloud, UnknownCloud};
pub use credential::{ClientCredential, Credential, CredentialError};
pub use error::{Error, Refusal};
pub use exchange::Exchange;
pub use observe::{Observer, Operation, Outcome};
pub use secret::Secret;
pub use token::{AccessToken, Redemption, Renewal, Renewed, SignIn};
pub use url::Url;
