//! `loadtest attack`: every attack must fail at Sallyport, and be seen to work at a server that lets them.

mod careless;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use loadtest::attack::Attack;
use loadtest::attack::case::Verdict;
use loadtest::attack::grade::Letter;
use loadtest::attack::report::Report;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};
use url::Url;

fn attack(target: &str) -> Attack {
    Attack {
        target: Url::parse(target).unwrap(),
        allowed: vec![],
        allow: vec!["decision=allow".to_owned()],
        deny: vec!["decision=deny".to_owned()],
        logins: ["adele", "alex"].map(|name| format!("user={name}@contoso.example")).to_vec(),
        patience: Duration::from_secs(20),
        limit: Duration::from_secs(150),
        only: vec![],
    }
}

/// Ended when it is dropped.
struct Dev {
    _child: Child,
    url: String,
}

impl Dev {
    async fn start(program: &Path) -> Self {
        let [edge, admin] = free_ports();
        let child = Command::new(program)
            .args(["dev", "--port", &edge.to_string(), "--admin-port", &admin.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, edge));
        let up = async {
            while TcpStream::connect(address).await.is_err() {
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(Duration::from_secs(60), up).await.expect("sallyport dev comes up");
        Self { _child: child, url: format!("http://localhost:{edge}/mcp") }
    }
}

fn free_ports() -> [u16; 2] {
    let held = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    held.map(|listener| listener.local_addr().unwrap().port())
}

#[tokio::test]
async fn no_attack_works_at_sallyport() {
    let program = Path::new(env!("CARGO_BIN_EXE_loadtest")).with_file_name("sallyport");
    if !program.is_file() {
        assert!(std::env::var_os("CI").is_none(), "the program sallyport is missing, and CI requires it");
        eprintln!("\nSKIPPED attack: needs the program sallyport (cargo build --workspace)\n");
        return;
    }
    let dev = Dev::start(&program).await;
    let report = attack(&dev.url).run().await.unwrap();
    let text = report.to_string();
    let lesser: Vec<_> = report.rows.iter().filter(|row| !matches!(row.verdict, Verdict::Passed(_))).collect();
    assert!(lesser.is_empty() && report.rows.len() > 80, "{lesser:#?}\n{text}");
    assert_eq!(report.grade.letter, Some(Letter::A), "{text}");
}

/// The ids of the cases with this verdict.
fn ids(report: &Report, verdict: &str) -> Vec<&'static str> {
    report.rows.iter().filter(|row| row.verdict.name() == verdict).map(|row| row.id).collect()
}

#[tokio::test]
async fn a_careless_server_is_found_out() {
    let url = careless::serve().await;
    let report = attack(&url).run().await.unwrap();
    let (failed, text) = (ids(&report, "FAIL"), report.to_string());
    for id in careless::MISTAKES {
        assert!(failed.contains(&id), "{id}\n{text}");
    }
    assert_eq!(report.grade.letter, Some(Letter::F), "{text}");
}

#[tokio::test]
async fn only_what_was_asked_for_is_tried() {
    let url = careless::serve().await;
    let report = Attack { only: vec!["R1".to_owned(), "D4".to_owned()], ..attack(&url) }.run().await.unwrap();
    let ids: Vec<_> = report.rows.iter().map(|row| row.id).collect();
    assert_eq!(ids, ["D4", "R1"]);
}

#[tokio::test]
async fn somebody_elses_server_needs_a_word() {
    let mut program = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    let run = program.args(["attack", "--target", "https://mcp.example.com/mcp"]).kill_on_drop(true).output();
    let output = timeout(Duration::from_secs(20), run).await.unwrap().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--yes"));
}

#[tokio::test]
async fn a_target_leads_nowhere_but_to_itself() {
    let mut target = Url::parse(&careless::serve().await).unwrap();
    // It reaches this machine, though it is no name of loopback: what it leads to at localhost is another's.
    target.set_host(Some("0.0.0.0")).unwrap();
    let report = Attack { only: vec!["C1".to_owned()], ..attack(target.as_str()) }.run().await.unwrap();
    let Verdict::Untried(reason) = &report.rows[0].verdict else { panic!("{report}") };
    assert!(reason.contains("http://localhost") && reason.contains("--also"), "{reason}");
}
