//! An MCP server in a process of its own, which can be killed and frozen: this very program, started for the one test that is
//! none. What it does, each request says in its query, and lines on its standard input say for all of them.

use std::io::{BufRead, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::support::free_port;

/// Tells the started program where to listen. Without it the test below has nothing to do.
const PORT: &str = "SALLYPORT_TEST_SERVER_PORT";
const SEEN: &str = "seen ";

/// Killed, by its process id, when dropped.
pub struct ServerProcess {
    pub port: u16,
    process: Child,
    commands: Option<ChildStdin>,
    reader: Option<JoinHandle<()>>,
    seen: Arc<Mutex<Vec<String>>>,
}

/// What it does to all connections that it serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    Reset,
    /// It says no more, and would still listen.
    HalfClose,
}

impl ServerProcess {
    pub async fn start() -> Self {
        let (port, seen) = (free_port(), Arc::default());
        let (process, commands, reader) = launch(port, &seen);
        let server = Self { port, process, commands: Some(commands), reader: Some(reader), seen };
        server.until_open().await;
        server
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The target of each `POST` that came, in all its lives; after a death also of the last ones.
    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    pub async fn until_seen(&self, target: &str) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !self.seen.lock().unwrap().iter().any(|seen| seen == target) {
            assert!(Instant::now() < deadline, "{target} does not come");
            sleep(Duration::from_millis(2)).await;
        }
    }

    pub fn cut(&mut self, cut: Cut) {
        let commands = self.commands.as_mut().unwrap();
        writeln!(commands, "{cut:?}").unwrap();
    }

    /// SIGKILL: what it had is gone, and the kernel says so to whoever is connected.
    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        // What it had written is still in the pipe.
        self.reader.take().unwrap().join().unwrap();
    }

    /// After [`ServerProcess::kill`], at the same port.
    pub async fn start_again(&mut self) {
        let (process, commands, reader) = launch(self.port, &self.seen);
        (self.process, self.commands, self.reader) = (process, Some(commands), Some(reader));
        self.until_open().await;
    }

    /// Its connections stay open, and nothing comes, until [`ServerProcess::thaw`].
    pub fn freeze(&self) {
        self.signal("-STOP");
    }

    pub fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.process.id().to_string()]).status().unwrap().success());
    }

    async fn until_open(&self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
            assert!(Instant::now() < deadline, "the server does not listen");
            sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // It may have been killed already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn launch(port: u16, seen: &Arc<Mutex<Vec<String>>>) -> (Child, ChildStdin, JoinHandle<()>) {
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "chaos::server_process::serve", "--ignored", "--nocapture", "--test-threads", "1"])
        .env(PORT, port.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (commands, output) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
    let seen = seen.clone();
    let reader = std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if let Some(target) = line.strip_prefix(SEEN) {
                seen.lock().unwrap().push(target.to_owned());
            }
        }
    });
    (process, commands, reader)
}

/// The server itself.
#[test]
#[ignore = "it is no test: other tests start it as a server"]
fn serve() {
    let Ok(port) = std::env::var(PORT) else { return println!("SKIPPED: there is nothing to serve") };
    // The harness has begun a line.
    println!();
    let (tell, told) = watch::channel(None);
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            let cut = [Cut::Reset, Cut::HalfClose].into_iter().find(|cut| format!("{cut:?}") == line);
            tell.send_replace(cut);
        }
        // Whoever started it is gone.
        std::process::exit(0);
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async move {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(([127, 0, 0, 1], port.parse().unwrap()).into()).unwrap();
        let listener: TcpListener = socket.listen(4096).unwrap();
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            let mut told = told.clone();
            // A command from before this connection is not for it.
            told.mark_unchanged();
            tokio::spawn(connection(stream, told));
        }
    });
}

async fn connection(mut stream: TcpStream, mut told: watch::Receiver<Option<Cut>>) {
    let cut = tokio::select! {
        // It ends when the other side has gone.
        _ = requests(&mut stream) => return,
        changed = told.changed() => changed.ok().and_then(|()| *told.borrow()),
    };
    match cut {
        Some(Cut::Reset) => stream.set_zero_linger().unwrap(),
        Some(Cut::HalfClose) => {
            // The peer may have gone already.
            let _ = stream.shutdown().await;
            let mut rest = [0; 64];
            while stream.read(&mut rest).await.is_ok_and(|read| read > 0) {}
        }
        None => {}
    }
}

async fn requests(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut read = Vec::new();
    while let Some((method, target)) = request(stream, &mut read).await? {
        if method == "POST" {
            let mut output = std::io::stdout().lock();
            writeln!(output, "{SEEN}{target}")?;
            output.flush()?;
        }
        let is = |name: &str| target.contains(name);
        if is("do=silence") {
            std::future::pending::<()>().await;
        } else if is("do=events") || is("do=idle") || is("do=drip") || is("do=flood") {
            let header = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
            stream.write_all(header.as_bytes()).await?;
            events(stream, &target).await?;
        } else {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}")
                .await?;
        }
    }
    Ok(())
}

/// Without end.
async fn events(stream: &mut TcpStream, target: &str) -> std::io::Result<()> {
    let flood = format!("data: {}\n\n", "x".repeat(16 * 1024));
    for number in 0_u64.. {
        let event = format!("data: {number}\n\n");
        if target.contains("do=idle") {
            let mut rest = [0; 64];
            // Nobody sends anything more: this is the end of the connection.
            let read = stream.read(&mut rest).await?;
            return Err(std::io::Error::other(format!("{read} bytes on a stream that nobody answers")));
        } else if target.contains("do=flood") {
            chunk(stream, &flood).await?;
        } else if target.contains("do=drip") {
            for byte in event.chars() {
                sleep(Duration::from_secs(1)).await;
                chunk(stream, &byte.to_string()).await?;
            }
        } else {
            chunk(stream, &event).await?;
            sleep(Duration::from_millis(20)).await;
        }
    }
    Ok(())
}

async fn chunk(stream: &mut TcpStream, text: &str) -> std::io::Result<()> {
    stream.write_all(format!("{:x}\r\n{text}\r\n", text.len()).as_bytes()).await
}

/// The next request, with its body read; `None` at the end.
async fn request(stream: &mut TcpStream, read: &mut Vec<u8>) -> std::io::Result<Option<(String, String)>> {
    let (header, length) = loop {
        if let Some(at) = read.windows(4).position(|window| window == b"\r\n\r\n") {
            let header = String::from_utf8_lossy(&read[..at]).to_ascii_lowercase();
            let length = header.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            break (String::from_utf8_lossy(&read[..at]).into_owned(), at + 4 + length.unwrap_or(0));
        }
        if stream.read_buf(read).await? == 0 {
            return Ok(None);
        }
    };
    while read.len() < length {
        if stream.read_buf(read).await? == 0 {
            return Ok(None);
        }
    }
    read.drain(..length);
    let mut words = header.split(' ');
    let mut word = || words.next().unwrap_or_default().to_owned();
    Ok(Some((word(), word())))
}
