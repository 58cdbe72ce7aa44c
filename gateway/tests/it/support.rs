//! A gateway with everything around it, and clients to drive it.

pub mod browser;
pub mod chance;
pub mod collector;
pub mod fault_proxy;
pub mod gateway;
pub mod http2_client;
pub mod http2_server;
pub mod journey;
pub mod memory_group;
pub mod publisher;
pub mod redis_server;
pub mod tls_server;
pub mod upstream;
pub mod wire;

use std::sync::Once;

/// Every TLS user of the process needs one provider, chosen once.
pub fn install_crypto_provider() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| rustls::crypto::aws_lc_rs::default_provider().install_default().unwrap());
}

pub use redis_server::free_port;
