//! The keys there are. One function a section, each ending with the section's unknown keys.

mod access;
mod bounds;
mod clients;
mod entra;
mod limits;
mod store;
mod telemetry;
mod upstream;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tracing::Level;

use super::reader::Section;
use super::values::{duration, name, network, readable, web_origin};
use crate::audit::AuditFile;
use crate::oauth::Remember;
use crate::public_url::PublicUrl;
use crate::sealed::KeyRing;
use crate::server::{AdminSettings, RingSource, Settings, StreamSettings, TlsFiles};
use crate::source::TrustedProxies;
use crate::{drain, log, session};

/// `None` goes with at least one mistake. Every section is read before giving up.
pub fn read(root: &Section<'_>) -> Option<(log::Settings, Settings)> {
    let public_url = root.text("public_url").required("the origin that clients use, such as https://mcp.example.com");
    let public_url = public_url.parse(PublicUrl::parse);
    let Listen { address: listen, tls, redirect, trusted_proxies, proxy_protocol } =
        listen(&root.section("listen"), public_url.as_ref());
    let admin = admin(&root.section("admin"), listen);
    let limits = limits::read(&root.section("limits"));
    let entra = entra::read(&root.section("entra"));
    let store = store::read(&root.section("store"));
    let ring = keys(&root.section("keys"));
    let upstreams = upstream::read(root, entra.scope.as_deref());
    let sign_in = access::sign_in(&root.section("access"));
    if let (Some(sign_in), Some(upstreams)) = (&sign_in, &upstreams) {
        access::check_size(root, sign_in.as_ref(), upstreams);
    }
    let sessions = tokens(&root.section("tokens"));
    let (server_name, remember) = consent(&root.section("consent"), public_url.as_ref());
    let streams = streams(&root.section("streams"), limits.streams_per_session);
    let clients = clients::read(&root.section("clients"), public_url.as_ref());
    let allowed_origins = cors(&root.section("cors"));
    let drain = drain(&root.section("drain"));
    let traces = telemetry::read(&root.section("telemetry"));
    let Log { settings: log, access: access_log, audit } = log(&root.section("log"));
    let settings = Settings {
        public_url: public_url?,
        listen: vec![listen?],
        tls,
        redirect,
        trusted_proxies: trusted_proxies?,
        proxy_protocol: proxy_protocol?,
        connections: limits.connections?,
        bounds: limits.bounds?,
        oauth_limits: limits.oauth?,
        edge_limits: limits.edge?,
        admin: admin?,
        entra: entra.settings?,
        credential: entra.credential?,
        sign_in: sign_in?,
        store: store?,
        ring: ring?,
        upstreams: upstreams?,
        sessions: sessions?,
        streams: streams?,
        server_name: server_name?,
        remember: remember?,
        clients: clients?,
        allowed_origins: allowed_origins?,
        access_log: access_log?,
        audit: audit?,
        traces: traces?,
        drain: drain?,
    };
    Some((log?, settings))
}

struct Listen {
    address: Option<SocketAddr>,
    tls: Option<TlsFiles>,
    redirect: Option<SocketAddr>,
    trusted_proxies: Option<TrustedProxies>,
    proxy_protocol: Option<bool>,
}

fn listen(section: &Section<'_>, public_url: Option<&PublicUrl>) -> Listen {
    let own = section.text("address").required("an address and a port, such as 0.0.0.0:8443").parse(address);
    let tls = tls(&section.section("tls"));
    let redirect = section.text("redirect_address").parse(|text| match address(text) {
        Ok(address) if Some(address) == own => Err("must differ from listen.address"),
        Ok(_) if public_url.is_some_and(|url| url.scheme() != "https") => Err("is of no use: public_url is not https"),
        parsed => parsed,
    });
    let networks = section.list("trusted_proxies").or(&[]).each(network);
    let trusted_proxies = networks.map(TrustedProxies::new);
    let proxy_protocol = section.flag("proxy_protocol", false);
    section.finish();
    if proxy_protocol == Some(true) && trusted_proxies.as_ref().is_some_and(TrustedProxies::is_empty) {
        section.mistake("proxy_protocol", "needs listen.trusted_proxies: nobody else's word on a client counts");
    }
    Listen { address: own, tls, redirect, trusted_proxies, proxy_protocol }
}

fn tls(section: &Section<'_>) -> Option<TlsFiles> {
    let files = section.is_given().then(|| {
        let file = |key| section.text(key).required("a PEM file").parse(|file| readable(section.file(file)));
        let (certificate, key) = (file("certificate"), file("key"));
        let client_ca = section.text("client_ca").parse(|file| readable(section.content("client_ca", file)));
        Some(TlsFiles { certificate: certificate?, key: key?, client_ca })
    });
    section.finish();
    let files = files.flatten()?;
    match files.check() {
        Ok(()) => Some(files),
        Err(error) => {
            section.mistake(error.key(), error.to_string());
            None
        }
    }
}

/// Where the admin listeners are.
pub fn admin(section: &Section<'_>, listen: Option<SocketAddr>) -> Option<AdminSettings> {
    let address = section.text("address").or("127.0.0.1:9464").parse(|text| match address(text) {
        _ if text == "none" => Ok(None),
        Ok(address) if Some(address) == listen => Err("must differ from listen.address: it is never public"),
        Ok(address) => Ok(Some(address)),
        Err(_) => Err("must be an IP address and a port, such as 127.0.0.1:9464, or none"),
    });
    let socket = section.text("socket");
    let socket = if socket.is_absent() { Some(None) } else { socket.parse(|file| place(section.file(file))).map(Some) };
    section.finish();
    let settings = AdminSettings { address: address?, socket: socket? };
    if settings.address.is_none() && settings.socket.is_none() {
        section.mistake("address", "must not be none without admin.socket: nobody could ask how the edge is");
        return None;
    }
    Some(settings)
}

/// Of a socket in the file system, whose address has room for so much.
fn place(file: PathBuf) -> Result<PathBuf, &'static str> {
    let fits = file.to_str().is_some_and(|path| path.len() <= SOCKET_PATH_AT_MOST) && file.file_name().is_some();
    if fits { Ok(file) } else { Err("must be the path of a file, of at most 107 bytes") }
}

fn keys(section: &Section<'_>) -> Option<RingSource> {
    let what = "a key ring, made by `sallyport keys new --file FILE`";
    let ring = section.text("file").required(what).parse(|file| {
        let file = section.file(file);
        // The server reads it again, and whenever it changes.
        KeyRing::load(&file).map(|_| RingSource::File(file))
    });
    section.finish();
    ring
}

fn tokens(section: &Section<'_>) -> Option<session::Settings> {
    let access_lifetime = section.text("access_lifetime").or("1h").parse(|text| duration(text, MINUTE, DAY));
    let session_idle = section.text("session_idle").or("24h").parse(|text| duration(text, 5 * MINUTE, 90 * DAY));
    let session_max = section.text("session_max").or("7d").parse(|text| duration(text, 5 * MINUTE, 90 * DAY));
    let refresh_grace = section.text("refresh_grace").or("45s").parse(|text| duration(text, SECOND, 5 * MINUTE));
    let cached = section.number("session_cache", 10_000, 0..=SESSIONS_AT_MOST);
    section.finish();
    let settings = session::Settings {
        access_lifetime: access_lifetime?,
        session_idle: session_idle?,
        session_max: session_max?,
        refresh_grace: refresh_grace?,
        cached: cached? as usize,
    };
    if settings.access_lifetime > settings.session_max {
        section.mistake("access_lifetime", "must not be longer than tokens.session_max");
    } else if settings.access_lifetime >= settings.session_idle {
        // A client refreshes when its access token has ended: the session would be over by then.
        section.mistake("access_lifetime", "must be shorter than tokens.session_idle");
    }
    Some(settings)
}

fn streams(section: &Section<'_>, per_session: Option<u32>) -> Option<StreamSettings> {
    let keep_alive = section.text("keep_alive").or("15s").parse(|text| duration(text, SECOND, 5 * MINUTE));
    let idle_timeout = section.text("idle_timeout").or("1h").parse(|text| duration(text, MINUTE, DAY));
    let max_lifetime = section.text("max_lifetime").or("1h").parse(|text| duration(text, MINUTE, DAY));
    section.finish();
    Some(StreamSettings {
        keep_alive: keep_alive?,
        idle_timeout: idle_timeout?,
        max_lifetime: max_lifetime?,
        per_session: per_session?,
    })
}

fn drain(section: &Section<'_>) -> Option<drain::Settings> {
    let delay = section.text("delay").or("10s").parse(|text| duration(text, Duration::ZERO, 5 * MINUTE));
    let window = section.text("window").or("15s").parse(|text| duration(text, SECOND, HOUR));
    section.finish();
    Some(drain::Settings { delay: delay?, window: window? })
}

fn consent(section: &Section<'_>, public_url: Option<&PublicUrl>) -> (Option<String>, Option<Remember>) {
    let server_name = section.text("server_name").or(public_url.map_or("-", PublicUrl::authority)).parse(name);
    let words = [("ask", Remember::Ask), ("never", Remember::Never), ("always", Remember::Always)];
    let remember = section.text("remember").or("ask").one_of(&words);
    section.finish();
    (server_name, remember)
}

fn cors(section: &Section<'_>) -> Option<Vec<String>> {
    let origins = section.list("allowed_origins").or(&[]).each(web_origin);
    section.finish();
    origins
}

struct Log {
    settings: Option<log::Settings>,
    access: Option<bool>,
    /// `Some(None)`: there is no file.
    audit: Option<Option<PathBuf>>,
}

fn log(section: &Section<'_>) -> Log {
    let formats = [("json", log::Format::Json), ("text", log::Format::Text)];
    let levels = [
        ("error", Level::ERROR),
        ("warn", Level::WARN),
        ("info", Level::INFO),
        ("debug", Level::DEBUG),
        ("trace", Level::TRACE),
    ];
    let format = section.text("format").or("json").one_of(&formats);
    let level = section.text("level").or("info").one_of(&levels);
    let access = section.flag("access", true);
    let file = section.text("audit_file");
    let audit = match file.is_absent() {
        true => Some(None),
        false => file.parse(|file| {
            let file = section.file(file);
            AuditFile::check(&file).map(|()| Some(file))
        }),
    };
    section.finish();
    Log { settings: format.zip(level).map(|(format, level)| log::Settings { format, level }), access, audit }
}

fn address(text: &str) -> Result<SocketAddr, &'static str> {
    let address = text.parse::<SocketAddr>().ok().filter(|address| address.port() != 0);
    address.ok_or("must be an IP address and a port, such as 127.0.0.1:8443 or [::]:8443")
}

/// Bytes (unix(7)).
const SOCKET_PATH_AT_MOST: usize = 107;
/// Each as large as a token of Entra's.
const SESSIONS_AT_MOST: u32 = 1_000_000;
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
