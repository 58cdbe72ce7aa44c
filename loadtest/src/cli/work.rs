//! What requests are sent, as arguments.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use clap::Args;
use http::{HeaderMap, StatusCode};

use super::who::Who;
use crate::header_file;
use crate::report::Settings;
use crate::target::Target;
use crate::work::{Expected, Work};

#[derive(Args)]
pub struct What {
    /// Where requests go.
    #[arg(long, value_name = "URL")]
    pub url: Target,
    #[command(flatten)]
    who: Who,
    /// Headers, one `name: value` a line, in place of those of tools/list.
    #[arg(long, value_name = "FILE")]
    headers: Option<PathBuf>,
    /// A body to post, in place of tools/list. It then matters only that the status is as expected.
    #[arg(long, value_name = "FILE", conflicts_with = "get")]
    body: Option<PathBuf>,
    /// GET, without a body.
    #[arg(long)]
    get: bool,
    /// The status that a good answer has.
    #[arg(long, value_name = "STATUS", default_value = "200")]
    expect: StatusCode,
}

impl What {
    /// `lasts`: sessions that end before are not used.
    ///
    /// # Errors
    /// When a file is not as it must be, or no session is left.
    pub fn work(&self, lasts: Duration, settings: &mut Settings) -> anyhow::Result<Work> {
        let body = match &self.body {
            Some(path) => Some(std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?),
            None => None,
        };
        let ours = body.is_none() && !self.get;
        let text = (ours && self.expect == StatusCode::OK).then_some(Expected::RESULT.text).flatten();
        let expected = Expected { status: self.expect, text };
        let headers = self.headers.as_deref().map(header_file::read).transpose()?;
        let work = match (ours, headers) {
            (true, None) => Work::tools_list(&self.url, expected),
            (true, Some(headers)) => Work::new(&self.url, headers, Some(Work::tools_list_body()), expected),
            (false, headers) => {
                Work::new(&self.url, headers.unwrap_or_else(HeaderMap::new), body.map(Bytes::from), expected)
            }
        };
        self.describe(settings);
        self.who.send_live(work, lasts, settings)
    }

    fn describe(&self, settings: &mut Settings) {
        settings.add("url", self.url.to_string());
        settings.add("expect", self.expect.as_u16());
        if self.get {
            settings.add("get", true);
        }
        for (name, file) in [("headers", &self.headers), ("body", &self.body)] {
            if let Some(file) = file {
                settings.add(name, file.display().to_string());
            }
        }
    }
}
