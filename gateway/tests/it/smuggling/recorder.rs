//! An upstream that reads as strictly as can be, and writes down what it saw: whatever could be read in two ways is a doubt.

mod http2;

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// One request, read whole.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Its `x-case`.
    pub case: String,
    pub method: String,
    pub target: String,
    pub authorization: String,
    pub body: String,
}

/// Answers every request with its own body.
pub struct Recorder {
    pub url: String,
    records: Arc<Mutex<Records>>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Records {
    seen: Vec<Seen>,
    doubts: Vec<String>,
}

struct Connection {
    stream: TcpStream,
    host: String,
    read: Vec<u8>,
}

/// Why a connection is read no further.
enum End {
    /// Between two requests or in the middle of one: it was not read whole, and so not served.
    Closed,
    Doubt(String),
}

impl Recorder {
    pub async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let records = Arc::<Mutex<Records>>::default();
        let (url, all) = (format!("http://{host}"), records.clone());
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                let connection = Connection { stream, host: host.clone(), read: Vec::new() };
                tokio::spawn(serve(connection, all.clone()));
            }
        });
        Self { url, records, task }
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.records.lock().unwrap().seen.clone()
    }

    pub fn doubts(&self) -> Vec<String> {
        self.records.lock().unwrap().doubts.clone()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut connection: Connection, records: Arc<Mutex<Records>>) {
    loop {
        match connection.request().await {
            Ok(seen) => {
                let body = if seen.method == "HEAD" { String::new() } else { seen.body.clone() };
                let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", seen.body.len());
                records.lock().unwrap().seen.push(seen);
                if connection.stream.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
            }
            Err(End::Closed) => return,
            Err(End::Doubt(doubt)) => return records.lock().unwrap().doubts.push(doubt),
        }
    }
}

impl Connection {
    async fn request(&mut self) -> Result<Seen, End> {
        let head = self.until(b"\r\n\r\n").await?;
        let doubt = |what: &str| End::Doubt(format!("{what} in {:?}", String::from_utf8_lossy(&head)));
        let text = std::str::from_utf8(&head).map_err(|_| doubt("no UTF-8"))?;
        let mut lines = text.strip_suffix("\r\n\r\n").unwrap().split("\r\n");
        let line: Vec<_> = lines.next().unwrap_or_default().split(' ').collect();
        let [method, target, "HTTP/1.1"] = line[..] else { return Err(doubt("no request line")) };
        let mut fields = Vec::new();
        for line in lines {
            let (name, value) = line.split_once(':').ok_or_else(|| doubt("no field"))?;
            if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
                return Err(doubt("a strange name"));
            }
            if value.bytes().any(|byte| byte < b' ' && byte != b'\t') {
                return Err(doubt("a control character"));
            }
            fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let all = |wanted: &str| -> Vec<&str> {
            fields.iter().filter(|(name, _)| name == wanted).map(|(_, value)| value.as_str()).collect()
        };
        if all("host") != [self.host.as_str()] || all("authorization").len() != 1 {
            return Err(doubt("not one host and one authorization"));
        }
        let (case, authorization) = (all("x-case").join("|"), all("authorization").concat());
        let (method, target) = (method.to_owned(), target.to_owned());
        let body = match (&all("content-length")[..], &all("transfer-encoding")[..]) {
            ([], []) => Vec::new(),
            ([length], []) if length.bytes().all(|byte| byte.is_ascii_digit()) => {
                let length = length.parse().map_err(|_| doubt("a length"))?;
                self.bytes(length).await?
            }
            ([], ["chunked"]) => self.chunks().await?,
            _ => return Err(doubt("framing")),
        };
        let body = String::from_utf8(body).map_err(|_| doubt("a body that is no text"))?;
        Ok(Seen { case, method, target, authorization, body })
    }

    async fn chunks(&mut self) -> Result<Vec<u8>, End> {
        let mut body = Vec::new();
        loop {
            let line = self.until(b"\r\n").await?;
            let size = std::str::from_utf8(&line[..line.len() - 2]).ok().filter(|size| !size.starts_with('+'));
            let size = size.and_then(|size| usize::from_str_radix(size, 16).ok());
            let Some(size) = size else { return Err(End::Doubt(format!("a chunk's size: {line:?}"))) };
            body.extend(self.bytes(size).await?);
            if self.bytes(2).await? != b"\r\n" {
                return Err(End::Doubt("a chunk's end, or a trailer".to_owned()));
            }
            if size == 0 {
                return Ok(body);
            }
        }
    }

    async fn until(&mut self, end: &[u8]) -> Result<Vec<u8>, End> {
        loop {
            if let Some(at) = self.read.windows(end.len()).position(|window| window == end) {
                return self.bytes(at + end.len()).await;
            }
            self.more().await?;
        }
    }

    async fn bytes(&mut self, length: usize) -> Result<Vec<u8>, End> {
        while self.read.len() < length {
            self.more().await?;
        }
        let rest = self.read.split_off(length);
        Ok(std::mem::replace(&mut self.read, rest))
    }

    async fn more(&mut self) -> Result<(), End> {
        match self.stream.read_buf(&mut self.read).await {
            Ok(length) if length > 0 => Ok(()),
            _ => Err(End::Closed),
        }
    }
}
