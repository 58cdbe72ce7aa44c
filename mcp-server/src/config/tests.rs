use entra::credential::IMDS;

use super::*;

const GOOD: &str = r#"
allowed_callers = ["11111111-0000-4000-8000-000000000001"]
[entra]
tenant_id = "8F0C1C5E-0c3d-4b8e-9f59-5a3f1a2b3c4d"
client_id = "22222222-0000-4000-8000-000000000002"
[entra.credential]
kind = "managed-identity"
"#;

fn mistakes(text: &str) -> Vec<(usize, String, String)> {
    let found = parse(text, |_| None).err().unwrap_or_default();
    found.into_iter().map(|mistake| (mistake.line, mistake.key, mistake.words)).collect()
}

#[test]
fn the_example_is_read() {
    let text = include_str!("../../sallyport-mcp-server.example.toml");
    let settings = parse(text, |_| None).unwrap();
    assert_eq!(settings.listen.to_string(), "127.0.0.1:8000");
    assert!(!settings.accept_emulator && !settings.cae);
}

#[test]
fn the_example_names_every_key() {
    let text = include_str!("../../sallyport-mcp-server.example.toml");
    for key in [
        "listen",
        "allowed_callers",
        "hop_secret_file",
        "graph_url",
        "graph_scopes",
        "cloud",
        "authority",
        "tenant_id",
        "allowed_tenants",
        "client_id",
        "extra_ca_file",
        "cae",
        "kind",
        "token_file",
        "endpoint",
        "certificate_file",
        "key_file",
        "secret_file",
    ] {
        let named = text.lines().any(|line| {
            line.trim_start_matches(['#', ' ']).split_once('=').is_some_and(|(name, _)| name.trim() == key)
        });
        assert!(named, "{key}");
    }
}

#[test]
fn defaults() {
    let settings = parse(GOOD, |_| None).unwrap();
    assert_eq!(settings.listen.to_string(), "127.0.0.1:8000");
    assert_eq!(settings.graph_url, "https://graph.microsoft.com".parse().unwrap());
    assert_eq!(settings.graph_scopes, ["https://graph.microsoft.com/User.Read"]);
    assert_eq!(
        settings.authority.issuer_v2(),
        "https://login.microsoftonline.com/8f0c1c5e-0c3d-4b8e-9f59-5a3f1a2b3c4d/v2.0"
    );
    let Credential::ManagedIdentity { client_id: None, host: IdentityHost::Metadata { endpoint } } =
        settings.credential
    else {
        panic!()
    };
    assert_eq!(endpoint, IMDS);
}

#[test]
fn another_cloud_has_other_defaults() {
    let in_cloud = |cloud: &str| GOOD.replace("[entra]", &format!("[entra]\ncloud = \"{cloud}\""));
    let settings = parse(&in_cloud("us-government"), |_| None).unwrap();
    assert_eq!(settings.graph_url, "https://graph.microsoft.us".parse().unwrap());
    assert_eq!(settings.graph_scopes, ["https://graph.microsoft.us/User.Read"]);
    assert!(settings.authority.issuer_v2().starts_with("https://login.microsoftonline.us/"));
    let own = in_cloud("china").replace("tenant_id", "authority = \"https://sign-in.example\"\ntenant_id");
    let settings = parse(&format!("graph_url = \"https://graph.example\"{own}"), |_| None).unwrap();
    assert_eq!(settings.graph_url, "https://graph.example".parse().unwrap());
    assert_eq!(settings.authority.cloud(), entra::Cloud::China);
    let keys = |text: &str| mistakes(text).into_iter().map(|(_, key, _)| key).collect::<Vec<_>>();
    assert_eq!(keys(&in_cloud("germany")), ["entra.cloud"]);
    let mixed = GOOD.replace("tenant_id", "authority = \"https://login.microsoftonline.us\"\ntenant_id");
    assert_eq!(keys(&mixed), ["entra.authority"]);
}

#[test]
fn the_token_file_comes_from_the_file_or_the_platform() {
    let projected = GOOD.replace("managed-identity", "workload-identity");
    let file = |text: &str| match parse(text, |_| Some("/platform".to_owned())).unwrap().credential {
        Credential::WorkloadIdentity { token_file } => token_file,
        other => panic!("{other:?}"),
    };
    assert_eq!(file(&projected), PathBuf::from("/platform"));
    assert_eq!(file(&format!("{projected}token_file = \"/own\"")), PathBuf::from("/own"));
    let expected = "is missing, and AZURE_FEDERATED_TOKEN_FILE is not set";
    assert_eq!(mistakes(&projected), [(6, "entra.credential.token_file".into(), expected.into())]);
}

#[test]
fn the_kinds_of_credential_that_come_from_files() {
    let certificate = GOOD.replace("managed-identity\"", "certificate\"\ncertificate_file = \"/c\"\nkey_file = \"/k\"");
    let Credential::Certificate { certificate_file, key_file } = parse(&certificate, |_| None).unwrap().credential
    else {
        panic!()
    };
    assert_eq!((certificate_file, key_file), ("/c".into(), "/k".into()));
    let secret = GOOD.replace("managed-identity\"", "client-secret\"\nsecret_file = \"/s\"");
    assert!(matches!(parse(&secret, |_| None).unwrap().credential, Credential::ClientSecret { .. }));
    let incomplete = GOOD.replace("managed-identity", "certificate");
    let keys: Vec<_> = mistakes(&incomplete).into_iter().map(|(_, key, _)| key).collect();
    assert_eq!(keys, ["entra.credential.certificate_file", "entra.credential.key_file"]);
}

#[test]
fn every_mistake_with_its_line() {
    let text = r#"
listen = 8000
allowed_callers = ["11111111-0000-4000-8000-000000000001", "gateway", 7]
graph_url = "http://graph.microsoft.com"
graph_scopes = []
accept_emulator = true
[entra]
authority = "http://login.microsoftonline.com"
tenant_id = "common"
secret = "x"
[entra.credential]
kind = "managed-identity"
endpoint = "169.254.169.254"
token_file = "/t"
"#;
    let found = mistakes(text);
    let keys: Vec<_> = found.iter().map(|(line, key, _)| (*line, key.as_str())).collect();
    assert_eq!(
        keys,
        [
            (2, "listen"),
            (3, "allowed_callers"),
            (3, "allowed_callers"),
            (4, "graph_url"),
            (5, "graph_scopes"),
            (6, "accept_emulator"),
            (7, "entra.client_id"),
            (8, "entra.authority"),
            (9, "entra.tenant_id"),
            (10, "entra.secret"),
            (13, "entra.credential.endpoint"),
            (14, "entra.credential.token_file"),
        ],
        "{found:#?}"
    );
}

#[test]
fn missing_parts() {
    assert_eq!(
        mistakes(""),
        [(1, "allowed_callers".into(), "is missing".into()), (1, "entra".into(), "is missing".into())]
    );
    let unknown = GOOD.replace("managed-identity", "password");
    assert_eq!(mistakes(&unknown)[0].1, "entra.credential.kind");
    let empty = GOOD.replace("[\"11111111-0000-4000-8000-000000000001\"]", "[]");
    assert_eq!(mistakes(&empty)[0].1, "allowed_callers");
}

#[test]
fn what_is_no_toml() {
    let found = mistakes("listen = \"a\nallowed_callers = [");
    assert!(!found.is_empty() && found[0].0 == 1 && found[0].1.is_empty(), "{found:?}");
}

#[test]
fn shown_for_people() {
    let found = parse("listen = 1\n", |_| None).unwrap_err();
    let shown = Mistakes { file: "server.toml".into(), found }.to_string();
    assert!(shown.starts_with("server.toml:1: listen must be a string\nserver.toml:1: "), "{shown}");
}

/// GU-15: no list that lets in whoever has an organisation.
#[test]
fn several_tenants_are_a_list_of_them() {
    let with = |list: &str| GOOD.replace("client_id = \"2", &format!("allowed_tenants = {list}\nclient_id = \"2"));
    let own = "8f0c1c5e-0c3d-4b8e-9f59-5a3f1a2b3c4d";
    assert_eq!(parse(GOOD, |_| None).unwrap().authority.allowed_tenants(), [own]);
    let partner = "aaaaaaaa-0c3d-4b8e-9f59-5a3f1a2b3c4d";
    let settings = parse(&with(&format!("[\"{}\"]", partner.to_uppercase())), |_| None).unwrap();
    assert_eq!(settings.authority.allowed_tenants(), [partner]);
    for (list, words) in [
        ("[]", "not empty"),
        ("[\"common\"]", "GUID"),
        ("[\"organizations\"]", "GUID"),
        ("[\"9188040d-6c67-4c5b-b112-36a304b66dad\"]", "personal accounts"),
        ("\"8f0c1c5e-0c3d-4b8e-9f59-5a3f1a2b3c4d\"", "a list"),
    ] {
        let found = mistakes(&with(list));
        let [(5, key, said)] = found.as_slice() else { panic!("{list}: {found:?}") };
        assert!(key == "entra.allowed_tenants" && said.contains(words), "{list}: {found:?}");
    }
}
