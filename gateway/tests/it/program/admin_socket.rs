//! The admin listener in the file system, where permissions say who may ask.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use super::{Folder, PROGRAM, Running, configuration, run};
use crate::support::free_port;

/// A configuration with the socket, and with the usual address beside it or without; and where the socket is.
fn with_socket(folder: &Folder, beside: bool) -> (String, String) {
    let (admin_port, socket) = (free_port(), folder.path("admin.sock"));
    let file = configuration(folder, free_port(), admin_port);
    let address = format!("address = \"127.0.0.1:{admin_port}\"");
    let text = fs::read_to_string(&file).unwrap();
    let own = if beside { address.clone() } else { "address = \"none\"".to_owned() };
    let text = text.replace(&address, &format!("{own}\nsocket = \"admin.sock\""));
    (folder.file("sallyport.toml", &text), socket)
}

fn serve(file: &str) -> Running {
    // What a umask leaves to others must not matter.
    let command = format!("umask 0; exec {PROGRAM} serve --config {file}");
    Running::of(Command::new("sh").args(["-c", &command]))
}

async fn ask(socket: &str, path: &str, host: &str) -> (u16, String) {
    let client = reqwest::Client::builder().no_proxy().unix_socket(Path::new(socket)).build().unwrap();
    let answer = client.get(format!("http://{host}{path}")).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test]
async fn who_may_open_the_socket_sees_all_and_nobody_else_may() {
    crate::support::install_crypto_provider();
    for beside in [false, true] {
        let folder = Folder::new(&format!("admin-socket-{beside}"));
        let (file, socket) = with_socket(&folder, beside);
        let running = serve(&file);
        let lines = running.read_until("admin.sock\"");
        assert!(lines.last().unwrap().contains("\"listening\""), "{lines:#?}");
        assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o7777, 0o600);
        for path in ["/healthz", "/metrics", "/status", "/sessions", "/servers"] {
            assert_eq!(ask(&socket, path, "localhost").await.0, 200, "{path}");
        }
        assert_eq!(ask(&socket, "/sessions", "evil.example").await.0, 421, "a name could have been pointed anywhere");
        assert_eq!(run(&["healthcheck", "--config", &file]).status.code(), Some(0));
        assert_eq!(running.terminate().0, Some(0));
        assert!(!Path::new(&socket).exists(), "it goes with its process");
        assert_eq!(run(&["healthcheck", "--config", &file]).status.code(), Some(1));
    }
}

#[tokio::test]
async fn a_dead_processes_socket_is_replaced_and_a_living_ones_refused() {
    crate::support::install_crypto_provider();
    let folder = Folder::new("admin-socket-stale");
    let (file, socket) = with_socket(&folder, false);
    drop(UnixListener::bind(&socket).unwrap());
    let running = serve(&file);
    running.read_until("admin.sock\"");
    assert_eq!(ask(&socket, "/healthz", "localhost").await.0, 200);

    let second = run(&["serve", "--config", &file]);
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(1), "{said}");
    assert!(said.contains("another process listens at") && said.contains("admin.sock"), "{said}");
    assert_eq!(ask(&socket, "/healthz", "localhost").await.0, 200, "the first one goes on");
    assert_eq!(running.terminate().0, Some(0));

    fs::write(&socket, "somebody's").unwrap();
    let third = run(&["serve", "--config", &file]);
    let said = String::from_utf8_lossy(&third.stderr).into_owned();
    assert!(third.status.code() == Some(1) && said.contains("is no socket"), "{said}");
    assert_eq!(fs::read_to_string(&socket).unwrap(), "somebody's");
}

#[test]
fn there_is_always_somewhere_to_ask() {
    let folder = Folder::new("admin-none");
    let (file, _) = with_socket(&folder, false);
    let without = fs::read_to_string(&file).unwrap().replace("socket = \"admin.sock\"", "");
    let file = folder.file("sallyport.toml", &without);
    let said = String::from_utf8(run(&["check", "--config", &file]).stderr).unwrap();
    assert!(said.contains("admin.address: must not be none without admin.socket"), "{said}");
}
