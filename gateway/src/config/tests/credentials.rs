//! `[entra.credential]` and `entra.cloud`: every kind in the example, and what the platform says.

use entra::Credential;
use entra::credential::{IMDS, IdentityHost};

use super::{EXAMPLE, FOLDER, TOKEN_FILE, parse_with, parsed};

#[test]
fn the_examples_other_credentials_are_valid_too() {
    let others: Vec<_> = EXAMPLE.split("#   kind = ").skip(1).collect();
    let kinds = others.iter().map(|rest| {
        let keys: Vec<_> = rest.lines().skip(1).map_while(|line| line.strip_prefix("#   ")).collect();
        let kind = rest.lines().next().unwrap();
        let text = EXAMPLE.replace("\nkind = \"workload-identity\"", &format!("\nkind = {kind}\n{}", keys.join("\n")));
        match parsed(&text, &[]).server.credential {
            Credential::ManagedIdentity { client_id, host: IdentityHost::Metadata { endpoint } } => {
                assert_eq!(client_id.unwrap(), "44444444-4444-4444-4444-444444444444");
                assert_eq!(endpoint, "http://169.254.169.254");
                "managed-identity"
            }
            Credential::Certificate { certificate_file, key_file } => {
                assert_eq!((certificate_file, key_file), (FOLDER.join("entra.pem"), FOLDER.join("entra-key.pem")));
                "certificate"
            }
            Credential::ClientSecret { secret_file } => {
                assert_eq!(secret_file, FOLDER.join("entra-secret"));
                "client-secret"
            }
            other => panic!("{other:?}"),
        }
    });
    assert_eq!(kinds.collect::<Vec<_>>(), ["managed-identity", "certificate", "client-secret"]);
}

#[test]
fn a_cloud_decides_where_users_sign_in_and_an_authority_of_another_is_a_mistake() {
    let with = |keys: &str| EXAMPLE.replace("\n#cloud = \"public\"", &format!("\n{keys}"));
    for cloud in entra::Cloud::ALL {
        let config = parsed(&with(&format!("cloud = \"{}\"", cloud.name())), &[TOKEN_FILE]);
        let authority = config.server.entra.authority;
        assert_eq!(authority.cloud(), cloud);
        assert!(authority.issuer_v2().starts_with(cloud.authority()), "{authority:?}");
    }
    let own = parsed(&with("cloud = \"china\"\nauthority = \"https://sign-in.example\""), &[TOKEN_FILE]);
    assert!(own.server.entra.authority.issuer_v2().starts_with("https://sign-in.example/"));
    for (keys, key) in [
        ("cloud = \"germany\"", "entra.cloud"),
        ("authority = \"https://login.microsoftonline.us\"", "entra.authority"),
        ("cloud = \"us-government\"\nauthority = \"https://login.microsoftonline.com\"", "entra.authority"),
    ] {
        let mistakes = parse_with(&with(keys), &[TOKEN_FILE]).err().unwrap();
        let found: Vec<_> = mistakes.found.iter().map(|mistake| mistake.key.as_str()).collect();
        assert_eq!(found, [key], "{mistakes}");
    }
}

#[test]
fn a_managed_identitys_host_is_what_the_platform_says() {
    let text = EXAMPLE.replace("kind = \"workload-identity\"", "kind = \"managed-identity\"");
    let host = |text: &str, environment: &[(&str, &str)]| {
        let config = parsed(text, environment);
        let Credential::ManagedIdentity { host, .. } = config.server.credential else { panic!("another kind") };
        (host, config.effective.to_string())
    };
    let service =
        [("IDENTITY_ENDPOINT", "http://127.0.0.1:41741/msi/token/"), ("IDENTITY_HEADER", "canary-of-the-host")];
    let (IdentityHost::AppService { endpoint, header }, shown) = host(&text, &service) else { panic!("not asked") };
    assert_eq!((endpoint.as_str(), header.expose()), ("http://127.0.0.1:41741/msi/token/", "canary-of-the-host"));
    assert!(!shown.contains("canary"), "{shown}");
    let proxy = ("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:40342");
    let explicit = text.replace("\nkind =", "\nendpoint = \"http://127.0.0.1:9\"\nkind =");
    for (text, environment, expected) in [
        (&text, vec![proxy], "http://127.0.0.1:40342"),
        (&text, vec![service[0]], IMDS),
        (&explicit, [service.as_slice(), &[proxy]].concat(), "http://127.0.0.1:9"),
    ] {
        let IdentityHost::Metadata { endpoint } = host(text, &environment).0 else { panic!("{expected}") };
        assert_eq!(endpoint, expected);
    }
}
