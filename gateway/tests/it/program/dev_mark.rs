//! `serve` and the tokens of a stand-in for Entra: they carry the mark `emu`, and only `dev` takes them.

use super::*;

/// All else is right: the authority, its keys, the workload's token, the user. No configuration can change the answer.
#[tokio::test]
async fn serve_refuses_the_tokens_of_a_stand_in() {
    install_crypto_provider();
    let entra = FakeEntra::start(fake_entra::Options::default()).await.unwrap();
    let folder = Folder::new("serve-dev-mark");
    let (port, admin_port) = (free_port(), free_port());
    let file = configuration(&folder, port, admin_port);
    folder.file("federated-token", &entra.mint_service_account_token("system:serviceaccount:sallyport:sallyport"));
    let text = fs::read_to_string(&file).unwrap();
    let text = text
        .replace("[entra]", &format!("[entra]\nauthority = \"{}\"", entra.authority()))
        .replace("11111111-1111-1111-1111-111111111111", entra.tenant_id())
        .replace("22222222-2222-2222-2222-222222222222", entra.gateway_client_id())
        .replace("api://33333333-3333-3333-3333-333333333333/access_as_user", &entra.scope());
    folder.file("sallyport.toml", &text);
    let running = Running::start(&["serve", "--config", &file]);
    let mut log = running.read_until("listening");
    log.extend(running.read_until("listening"));

    let url = |path: &str| format!("http://localhost:{port}{path}");
    let client = registered(&url("/register")).await;
    let browser = Browser::new();
    let page = allowed(&browser, &url("/authorize"), &client).await;
    let callback = sign_in_at_entra(&browser, &page.next(), ADELE).await;
    let back = url::Url::parse(&browser.get(&callback).await.next()).unwrap();
    assert_eq!(query(&back, "error").as_deref(), Some("server_error"), "{back}");
    assert_eq!(query(&back, "code"), None);
    assert_eq!(entra.counters().token["authorization_code"], 1, "the code was redeemed, and what came was refused");

    let (code_of_exit, rest) = running.terminate();
    assert_eq!(code_of_exit, Some(0));
    log.extend(rest);
    let log = log.join("\n");
    assert!(log.contains("from an emulator"), "the log says why:\n{log}");
}
