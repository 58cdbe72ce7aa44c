//! `[store]`: where records live between requests.

use crate::config::reader::Section;
use crate::config::values::secret;
use crate::store::{RedisSettings, RedisUrl, RedisUrlError, Settings};

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
            Err(RedisUrlError::Scheme) => Err("must begin with redis: or rediss:, or be memory:".to_owned()),
            Err(error) => Err(error.to_string()),
        },
    });
    let password = section.text("password_file").parse(|file| secret(&section.file(file)));
    section.finish();
    match url? {
        Url::Memory => {
            if password.is_some() {
                section.mistake("password_file", "has no use with memory:");
            }
            Some(Settings::Memory)
        }
        Url::Redis(url) => Some(Settings::Redis(RedisSettings { url, password })),
    }
}
