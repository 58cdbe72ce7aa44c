//! Sallyport: a secure edge for MCP servers behind Microsoft Entra ID.

pub mod browser;
pub mod clock;
pub mod oauth;
pub mod public_url;
pub mod sealed;
pub mod secret;
pub mod session;
pub mod store;
