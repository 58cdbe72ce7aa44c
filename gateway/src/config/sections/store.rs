//! `[store]`: where records live between requests.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::config::reader::Section;
use crate::config::values::{brief_duration, guid, roots_of_trust, secret};
use crate::store::{BreakerSettings, EntraUser, RedisSettings, RedisUrl, RedisUrlError, Settings};

#[derive(Clone)]
enum Url {
    Memory,
    Redis(RedisUrl),
}

pub fn read(section: &Section<'_>) -> Option<Settings> {
    let url = section.text("url").required("memory: for one replica, or redis: or rediss:");
    let url = url.parse(|text| match text {
        "memory:" => Ok(Url::Memory),
        text => match text.parse() {
            Ok(url) => Ok(Url::Redis(url)),
            Err(RedisUrlError::Scheme) => Err("must begin with redis: or rediss:, or with redis+sentinel:, \
                rediss+sentinel:, redis+cluster: or rediss+cluster:, or be memory:"
                .to_owned()),
            Err(error) => Err(error.to_string()),
        },
    });
    let password = section.text("password_file").parse(|file| secret(&section.content("password_file", file)));
    let entra_user = section.text("entra_user").parse(guid);
    let sentinel_password =
        section.text("sentinel_password_file").parse(|file| secret(&section.content("sentinel_password_file", file)));
    let ca = section.text("ca_file").parse(|file| roots_of_trust(&section.content("ca_file", file)));
    let duration = |key, default, range: RangeInclusive<Duration>| {
        section.text(key).or(default).parse(|text| brief_duration(text, *range.start(), *range.end()))
    };
    let connect_timeout = duration("connect_timeout", "1s", millis(100)..=millis(10_000));
    let response_timeout = duration("response_timeout", "250ms", millis(10)..=millis(10_000));
    let failures = section.number("breaker_failures", 5, 1..=1000);
    let pause = duration("breaker_pause", "1s", millis(100)..=millis(60_000));
    section.finish();
    let url = match url? {
        Url::Memory => None,
        Url::Redis(url) => Some(url),
    };
    let useless = [
        ("password_file", password.is_some() && url.is_none(), "has no use with memory:"),
        ("entra_user", entra_user.is_some() && url.is_none(), "has no use with memory:"),
        (
            "entra_user",
            entra_user.is_some() && url.as_ref().is_some_and(RedisUrl::has_sentinels),
            "has no use with sentinels: Entra's tokens sign in to Azure Managed Redis, which has none",
        ),
        (
            "entra_user",
            entra_user.is_some() && url.as_ref().is_some_and(RedisUrl::names_a_user),
            "has no use with a user in store.url: it is the user, and signs in by Entra's token",
        ),
        (
            "entra_user",
            entra_user.is_some() && password.is_some() && url.is_some(),
            "must not stand beside password_file: Entra's token is the password",
        ),
        (
            "entra_user",
            entra_user.is_some() && url.as_ref().is_some_and(|url| !url.is_tls() && !url.is_loopback()),
            "needs TLS, so a URL that begins with rediss: whoever sees Entra's token on its way can sign in to Redis",
        ),
        (
            "sentinel_password_file",
            sentinel_password.is_some() && !url.as_ref().is_some_and(RedisUrl::has_sentinels),
            "has no use without sentinels: it is theirs, and the primary's is password_file",
        ),
        (
            "ca_file",
            ca.is_some() && !url.as_ref().is_some_and(RedisUrl::is_tls),
            "has no use without TLS: the URL begins with rediss",
        ),
    ];
    for (key, _, words) in useless.into_iter().filter(|(_, useless, _)| *useless) {
        section.mistake(key, words);
    }
    let Some(url) = url else { return Some(Settings::Memory) };
    Some(Settings::Redis(RedisSettings {
        url,
        password,
        entra_user: entra_user.map(EntraUser::new),
        sentinel_password,
        ca,
        connect_timeout: connect_timeout?,
        response_timeout: response_timeout?,
        breaker: BreakerSettings { failures: failures?, pause: pause? },
    }))
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
