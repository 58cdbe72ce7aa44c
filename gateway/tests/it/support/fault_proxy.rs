//! A TCP proxy on loopback that misbehaves on request: between a gateway and what it depends on, or as a balancer before
//! several of them. What it does can be changed at any time and counts at once, for connections that are open too.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::chance::Chance;

/// Stopped when dropped, with every connection through it.
pub struct FaultProxy {
    port: u16,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What happens to bytes that go one way.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Way {
    pub latency: Duration,
    /// At most this much on top, by chance.
    pub jitter: Duration,
    /// Nothing gets through, and nothing is lost: what waits is delivered when this is over, as by a net that comes back.
    pub blackhole: bool,
    /// So many bytes at a time, with this pause in front of each.
    pub drip: Option<(usize, Duration)>,
    pub cut: Option<Cut>,
}

/// The end of a connection, which happens once: the next one lives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cut {
    /// So many bytes more are delivered, whichever connection they are of; the next one is not, and that is the end.
    pub after: usize,
    pub ending: Ending,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// FIN both ways.
    Close,
    /// RST both ways.
    Reset,
    /// FIN this way only; the other way goes on.
    HalfClose,
}

struct Shared {
    targets: Mutex<Vec<u16>>,
    to_server: watch::Sender<Way>,
    to_client: watch::Sender<Way>,
    refuse: watch::Sender<bool>,
    cut_all: broadcast::Sender<Ending>,
    stop: watch::Sender<bool>,
    chance: Mutex<Chance>,
    connections: AtomicU64,
    untaken: AtomicU64,
    cuts: AtomicU64,
}

/// A piece under way.
struct Piece {
    arrived: Instant,
    bytes: Vec<u8>,
}

impl FaultProxy {
    /// Before one server on loopback.
    pub fn before(port: u16, seed: u64) -> Self {
        Self::balancing(0, &[port], seed)
    }

    /// On `port` (0 takes a free one), before several servers: each connection goes to one by chance, and to another when
    /// that one does not take it.
    pub fn balancing(port: u16, targets: &[u16], seed: u64) -> Self {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        let port = listener.local_addr().unwrap().port();
        listener.set_nonblocking(true).unwrap();
        let shared = Arc::new(Shared {
            targets: Mutex::new(targets.to_vec()),
            to_server: watch::Sender::default(),
            to_client: watch::Sender::default(),
            refuse: watch::Sender::default(),
            cut_all: broadcast::Sender::new(16),
            stop: watch::Sender::default(),
            chance: Mutex::new(Chance::new(seed)),
            connections: AtomicU64::default(),
            untaken: AtomicU64::default(),
            cuts: AtomicU64::default(),
        });
        let served = shared.clone();
        // A thread of its own: a test that blocks its runtime must not become a fault.
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(listen(listener, served));
        });
        Self { port, shared, thread: Some(thread) }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on.
    pub fn to_server(&self, way: Way) {
        self.shared.to_server.send_replace(way);
    }

    pub fn to_client(&self, way: Way) {
        self.shared.to_client.send_replace(way);
    }

    /// Where new connections go. Those that are open stay.
    pub fn set_targets(&self, targets: &[u16]) {
        *self.shared.targets.lock().unwrap() = targets.to_vec();
    }

    pub fn targets(&self) -> Vec<u16> {
        self.shared.targets.lock().unwrap().clone()
    }

    /// New connections are reset at once.
    pub fn refuse(&self, refuse: bool) {
        self.shared.refuse.send_replace(refuse);
    }

    /// Ends every connection there is.
    pub fn cut(&self, ending: Ending) {
        // Nobody listens when there is no connection.
        let _ = self.shared.cut_all.send(ending);
    }

    /// All is well again.
    pub fn heal(&self) {
        self.refuse(false);
        self.to_server(Way::default());
        self.to_client(Way::default());
    }

    /// How many there were.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// How often a target did not take a connection.
    pub fn untaken(&self) -> u64 {
        self.shared.untaken.load(Ordering::SeqCst)
    }

    /// How many cuts that were asked for by [`Way::cut`] have happened.
    pub fn cuts(&self) -> u64 {
        self.shared.cuts.load(Ordering::SeqCst)
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.shared.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the fault proxy panicked");
        }
    }
}

async fn listen(listener: std::net::TcpListener, shared: Arc<Shared>) {
    let listener = TcpListener::from_std(listener).unwrap();
    let mut stop = shared.stop.subscribe();
    let mut open = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            accepted = listener.accept() => {
                let (client, _) = accepted.unwrap();
                shared.connections.fetch_add(1, Ordering::SeqCst);
                open.spawn(serve(client, shared.clone()));
            }
            Some(ended) = open.join_next() => ended.unwrap(),
        }
    }
}

async fn serve(mut client: TcpStream, shared: Arc<Shared>) {
    let server = if *shared.refuse.borrow() { None } else { connect(&shared).await };
    let Some(mut server) = server else {
        return client.set_zero_linger().unwrap();
    };
    for stream in [&client, &server] {
        stream.set_nodelay(true).unwrap();
    }
    let mut cut_all = shared.cut_all.subscribe();
    let ended = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let there = carry(from_client, to_server, &shared.to_server, &shared);
        let back = carry(from_server, to_client, &shared.to_client, &shared);
        tokio::select! {
            ended = async { tokio::try_join!(there, back) } => ended.err(),
            ending = cut_all.recv() => ending.ok(),
        }
    };
    if ended == Some(Ending::Reset) {
        // Without lingering, what closes a socket sends a reset. A peer that was faster has closed it already.
        let _ = client.set_zero_linger();
        let _ = server.set_zero_linger();
    }
}

async fn connect(shared: &Shared) -> Option<TcpStream> {
    let mut targets = shared.targets.lock().unwrap().clone();
    while !targets.is_empty() {
        let chosen = shared.chance.lock().unwrap().below(targets.len() as u64) as usize;
        let target = SocketAddr::from((Ipv4Addr::LOCALHOST, targets.swap_remove(chosen)));
        if let Ok(stream) = TcpStream::connect(target).await {
            return Some(stream);
        }
        shared.untaken.fetch_add(1, Ordering::SeqCst);
    }
    None
}

/// One way, to its end. A connection that breaks by itself is passed on as a close.
async fn carry(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    way: &watch::Sender<Way>,
    shared: &Shared,
) -> Result<(), Ending> {
    // Reading goes on while pieces wait, so that latency is not paid once for each piece.
    let (sender, mut pieces) = mpsc::channel::<Piece>(1024);
    let read = async move {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            match from.read(&mut buffer).await {
                Ok(0) => return Ok(()),
                Ok(length) => {
                    let piece = Piece { arrived: Instant::now(), bytes: buffer[..length].to_vec() };
                    if sender.send(piece).await.is_err() {
                        return Ok(());
                    }
                }
                Err(_) => return Err(Ending::Close),
            }
        }
    };
    let write = async {
        while let Some(piece) = pieces.recv().await {
            deliver(piece, &mut to, way, shared).await?;
        }
        to.shutdown().await.map_err(|_| Ending::Close)
    };
    tokio::try_join!(read, write).map(|_| ())
}

async fn deliver(
    piece: Piece,
    to: &mut WriteHalf<'_>,
    way: &watch::Sender<Way>,
    shared: &Shared,
) -> Result<(), Ending> {
    let mut changes = way.subscribe();
    let now = *changes.borrow();
    let jitter = now.jitter.mul_f64(shared.chance.lock().unwrap().below(1001) as f64 / 1000.0);
    sleep_until(piece.arrived + now.latency + jitter).await;
    // The sender lives as long as the connections do.
    let now = *changes.wait_for(|way| !way.blackhole).await.map_err(|_| Ending::Close)?;
    let (size, pause) = now.drip.unwrap_or((piece.bytes.len(), Duration::ZERO));
    for part in piece.bytes.chunks(size.max(1)) {
        sleep(pause).await;
        let mut due = None;
        way.send_if_modified(|way| {
            let Some(cut) = &mut way.cut else { return false };
            if part.len() <= cut.after && !part.is_empty() {
                cut.after -= part.len();
                return false;
            }
            due = way.cut.take();
            true
        });
        let whole = due.is_none();
        let passed = due.map_or(part, |cut: Cut| &part[..cut.after.min(part.len())]);
        to.write_all(passed).await.map_err(|_| Ending::Close)?;
        if !whole {
            shared.cuts.fetch_add(1, Ordering::SeqCst);
        }
        match due.map(|cut| cut.ending) {
            None => {}
            Some(Ending::HalfClose) => {
                to.shutdown().await.map_err(|_| Ending::Close)?;
                // This way is over; the other one is not.
                std::future::pending::<()>().await;
            }
            Some(ending) => return Err(ending),
        }
    }
    Ok(())
}
