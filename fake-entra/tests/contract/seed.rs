//! The program's files: a directory it reads, a token it keeps fresh, a certificate it writes.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use fake_entra::Seed;
use serde_json::{Value, json};

use crate::support::{bench, claims};

const PROGRAM: &str = env!("CARGO_BIN_EXE_fake-entra");

/// Gone at the end, with what is in it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        let folder = std::env::temp_dir().join(format!("fake-entra-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&folder).unwrap();
        Folder(folder)
    }

    fn file(&self, name: &str, content: &str) -> String {
        std::fs::write(self.0.join(name), content).unwrap();
        self.path(name)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

/// Killed by its id.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// The program, once it has printed its state.
fn start(arguments: &[&str]) -> (Running, Value) {
    let mut child = Command::new(PROGRAM).args(arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (Running(child), serde_json::from_str(&line).unwrap())
}

fn run(arguments: &[&str]) -> Output {
    Command::new(PROGRAM).args(arguments).output().unwrap()
}

#[test]
fn the_printed_directory_is_the_built_in_one() {
    let folder = Folder::new();
    let printed = String::from_utf8(run(&["--print-seed"]).stdout).unwrap();
    let read: Seed = toml::from_str(&printed).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), serde_json::to_value(Seed::default()).unwrap());
    let (_running, state) = start(&["--seed", &folder.file("seed.toml", &printed)]);
    assert_eq!(state["gateway_client_id"], json!(Seed::default().gateway));
}

#[test]
fn a_seed_says_only_what_is_different() {
    let folder = Folder::new();
    let toml = r#"
        domain = "fabrikam.example"
        [policies]
        resource = "enforce-page"
        [[policies.conditional_access]]
        id = "c1"
        effect = "block"
        [[users]]
        oid = "5d0c7e91-64fa-4b38-93e2-8b1f4c6a20b1"
        upn = "kim@fabrikam.example"
        name = "Kim Akers"
        given_name = "Kim"
        surname = "Akers"
        groups = ["8a3fa1c4-972d-4e6b-8615-be427f9d5301"]
        roles = { "2a8d3e4f-17b6-4d90-b1c8-6e3f9a5d7b02" = ["Tools.Read"] }
    "#;
    let json = r#"{"users": [], "tenant_name": "Fabrikam"}"#;
    let (_running, state) = start(&["--seed", &folder.file("seed.toml", toml)]);
    assert_eq!(state["users"], json!([{"upn": "kim@fabrikam.example", "name": "Kim Akers", "note": ""}]));
    assert_eq!(state["gateway_client_id"], json!(Seed::default().gateway), "the rest is built in");
    let (_running, state) = start(&["--seed", &folder.file("seed.json", json)]);
    assert_eq!(state["users"], json!([]));
}

#[test]
fn a_seed_that_is_none_is_refused_by_name() {
    let folder = Folder::new();
    for (name, content) in
        [("seed.toml", "tenant = 1"), ("seed.json", "{\"users\": 7}"), ("seed.json", "tenant_id = 1")]
    {
        let file = folder.file(name, content);
        let output = run(&["--seed", &file]);
        assert!(!output.status.success());
        assert!(String::from_utf8(output.stderr).unwrap().contains(&file), "{content}");
    }
}

#[test]
fn a_service_account_token_is_replaced_before_it_expires() {
    let folder = Folder::new();
    let file = folder.path("token");
    let subject = "system:serviceaccount:sallyport:sallyport";
    let (_running, state) =
        start(&["--service-account-token", &file, "--service-account", subject, "--service-account-renewal", "1"]);
    let first = std::fs::read_to_string(&file).unwrap();
    assert_eq!(claims(&first)["sub"], json!(subject));
    assert_eq!(claims(&first)["iss"], state["cluster_issuer"]);
    // A reader sees one token or the other, never a part and never no file.
    let begun = Instant::now();
    let second = loop {
        let read = std::fs::read_to_string(&file).unwrap();
        if read != first {
            break read;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "never replaced");
        std::thread::sleep(Duration::from_millis(5));
    };
    assert_eq!(claims(&second)["sub"], json!(subject));
    assert!(!run(&["--service-account-token", &file]).status.success(), "whose?");
}

#[test]
fn with_tls_the_certificate_to_trust_is_written() {
    let folder = Folder::new();
    let file = folder.path("ca.pem");
    let (_running, state) = start(&["--tls-ca", &file]);
    assert!(state["authority"].as_str().unwrap().starts_with("https://127.0.0.1:"));
    assert!(state["control_url"].as_str().unwrap().starts_with("http://127.0.0.1:"));
    let certificate = std::fs::read_to_string(Path::new(&file)).unwrap();
    assert!(certificate.starts_with("-----BEGIN CERTIFICATE-----"));
    assert!(!certificate.contains("PRIVATE"));
}

#[tokio::test]
async fn with_a_state_directory_the_signing_keys_outlive_a_restart_and_a_rotation() {
    let folder = Folder::new();
    let state = folder.path("state");
    let http = bench().await.http;
    let kids = async |state: &Value| {
        let url = format!("{}/common/discovery/v2.0/keys", state["authority"].as_str().unwrap());
        let keys: Value = http.get(url).send().await.unwrap().json().await.unwrap();
        keys["keys"].as_array().unwrap().iter().map(|key| key["kid"].to_string()).collect::<Vec<_>>()
    };
    let (running, first) = start(&["--state-dir", &state]);
    let before = kids(&first).await;
    let rotate = http.post(format!("{}/_emu/keys/rotate", first["control_url"].as_str().unwrap()));
    let rotate = rotate.bearer_auth(first["control_token"].as_str().unwrap()).json(&json!({"mode": "publish"}));
    assert_eq!(rotate.send().await.unwrap().status(), 204);
    let rotated = kids(&first).await;
    assert!(rotated.len() == before.len() + 1 && rotated[..before.len()] == before);
    drop(running);
    let file = Path::new(&state).join("signing-keys.json");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let (running, second) = start(&["--state-dir", &state]);
    assert_eq!(kids(&second).await, rotated);
    drop(running);
    let (_running, without) = start(&[]);
    assert!(kids(&without).await.iter().all(|kid| !rotated.contains(kid)), "new each time");
    std::fs::write(&file, "{}").unwrap();
    let refused = run(&["--state-dir", &state]);
    assert!(!refused.status.success());
    assert!(String::from_utf8(refused.stderr).unwrap().contains("signing-keys.json"));
}
