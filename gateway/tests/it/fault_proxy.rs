//! The fault proxy does what it says, or nothing that is shown with it would count.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::fault_proxy::{Cut, Ending, FaultProxy, Way};

/// A server that says every byte twice and its own name first, if it has one.
async fn echo(name: &'static [u8]) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = stream.write_all(name).await;
                let mut buffer = [0; 1024];
                while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                    let _ = stream.write_all(&buffer[..length]).await;
                }
            });
        }
    });
    port
}

async fn connect(proxy: &FaultProxy) -> TcpStream {
    TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap()
}

/// What comes back within two seconds: the bytes, and how it ended if it did.
async fn ask(stream: &mut TcpStream, question: &[u8]) -> (Vec<u8>, Option<std::io::Result<()>>) {
    stream.write_all(question).await.unwrap();
    let mut answer = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(2), async {
        while answer.len() < question.len() {
            match stream.read_buf(&mut answer).await {
                Ok(0) => return Some(Ok(())),
                Ok(_) => {}
                Err(error) => return Some(Err(error)),
            }
        }
        None
    });
    let ended = ended.await.unwrap_or(None);
    (answer, ended)
}

fn cut(after: usize, ending: Ending) -> Way {
    Way { cut: Some(Cut { after, ending }), ..Way::default() }
}

#[tokio::test]
async fn it_passes_everything_and_delays_what_it_is_told_to() {
    let proxy = FaultProxy::before(echo(b"").await, 1);
    let mut stream = connect(&proxy).await;
    assert_eq!(ask(&mut stream, b"hello").await.0, b"hello");
    let latency = Duration::from_millis(150);
    proxy.to_server(Way { latency, jitter: Duration::from_millis(20), ..Way::default() });
    let asked = Instant::now();
    for _ in 0..5 {
        // Not one after the other: those that are under way together are late together.
        stream.write_all(b"x").await.unwrap();
    }
    assert_eq!(ask(&mut stream, b"").await.0, b"");
    let mut five = [0; 5];
    stream.read_exact(&mut five).await.unwrap();
    assert!(asked.elapsed() >= latency && asked.elapsed() < latency * 3, "{:?}", asked.elapsed());
    proxy.heal();
    let asked = Instant::now();
    assert_eq!(ask(&mut stream, b"hello").await.0, b"hello");
    assert!(asked.elapsed() < latency);
}

#[tokio::test]
async fn it_cuts_after_so_many_bytes_once() {
    let proxy = FaultProxy::before(echo(b"").await, 1);
    for (ending, after) in [(Ending::Close, 3), (Ending::Reset, 3), (Ending::Close, 0), (Ending::HalfClose, 4)] {
        let mut stream = connect(&proxy).await;
        assert_eq!(ask(&mut stream, b"first").await.0, b"first");
        proxy.to_client(cut(after, ending));
        let (answer, ended) = ask(&mut stream, b"second").await;
        // A reset may overtake what was delivered just before it.
        assert!(answer == b"second"[..after] || ending == Ending::Reset, "{answer:?}");
        match (ending, ended) {
            (Ending::Reset, Some(Err(error))) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
            (Ending::Close | Ending::HalfClose, Some(Ok(()))) => {}
            (_, ended) => panic!("{ending:?}: {ended:?}"),
        }
        assert_eq!(ask(&mut connect(&proxy).await, b"third").await.0, b"third", "the next one lives");
    }
    assert_eq!(proxy.cuts(), 4);
}

#[tokio::test]
async fn what_went_out_before_a_cut_has_arrived() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let proxy = FaultProxy::before(listener.local_addr().unwrap().port(), 1);
    proxy.to_client(cut(0, Ending::Reset));
    let mut stream = connect(&proxy).await;
    stream.write_all(b"do it").await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    let mut asked = [0; 5];
    server.read_exact(&mut asked).await.unwrap();
    server.write_all(b"done").await.unwrap();
    assert!(stream.read(&mut [0; 4]).await.is_err());
    assert_eq!(&asked, b"do it");
}

#[tokio::test]
async fn a_blackhole_loses_nothing_and_a_drip_drips() {
    let proxy = FaultProxy::before(echo(b"").await, 1);
    let mut stream = connect(&proxy).await;
    proxy.to_client(Way { blackhole: true, ..Way::default() });
    assert_eq!(ask(&mut stream, b"late").await.0, b"");
    proxy.heal();
    let mut late = [0; 4];
    stream.read_exact(&mut late).await.unwrap();
    assert_eq!(&late, b"late");
    proxy.to_server(Way { drip: Some((1, Duration::from_millis(20))), ..Way::default() });
    let asked = Instant::now();
    assert_eq!(ask(&mut stream, b"0123456789").await.0, b"0123456789");
    assert!(asked.elapsed() >= Duration::from_millis(200));
}

#[tokio::test]
async fn it_refuses_cuts_all_and_balances() {
    let (a, b) = (echo(b"a").await, echo(b"b").await);
    let proxy = FaultProxy::balancing(0, &[a, b, crate::support::free_port()], 1);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..40 {
        let mut name = [0; 1];
        connect(&proxy).await.read_exact(&mut name).await.unwrap();
        seen.insert(name[0]);
    }
    assert_eq!((seen.into_iter().collect::<Vec<_>>(), proxy.connections()), (vec![b'a', b'b'], 40));
    let mut stream = connect(&proxy).await;
    stream.read_exact(&mut [0; 1]).await.unwrap();
    proxy.cut(Ending::Reset);
    assert!(stream.read(&mut [0; 1]).await.is_err());
    proxy.refuse(true);
    // The connection is taken and then reset; which of the two is noticed first is for the system to say.
    let refused = match TcpStream::connect(("127.0.0.1", proxy.port())).await {
        Ok(mut stream) => stream.read(&mut [0; 1]).await.map(|_| ()),
        Err(error) => Err(error),
    };
    assert!(refused.is_err());
    proxy.heal();
    connect(&proxy).await.read_exact(&mut [0; 1]).await.unwrap();
}
