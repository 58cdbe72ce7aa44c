//! `[entra]`: the tenant and whose users are let in, the gateway's app registration, and how it proves who it is.

use entra::authority::allowed_tenant;
use entra::credential::{IMDS, IdentityHost};
use entra::{Authority, Cloud, Credential};

use crate::config::reader::Section;
use crate::config::values::{guid, origin, readable, scope};

pub struct Entra {
    pub settings: Option<entra::Settings>,
    pub credential: Option<Credential>,
    /// For upstreams that name none.
    pub scope: Option<String>,
}

#[derive(Clone, Copy)]
enum Kind {
    WorkloadIdentity,
    ManagedIdentity,
    Certificate,
    ClientSecret,
}

pub fn read(section: &Section<'_>) -> Entra {
    let tenant_id = section.text("tenant_id").required("the directory's id, a GUID").parse(guid);
    let cloud = section.text("cloud").or(Cloud::default().name()).parse(str::parse::<Cloud>);
    let authority = section.text("authority").or(cloud.unwrap_or_default().authority());
    // Cloud and tenant have their own keys, and their own mistakes.
    let tenant = tenant_id.as_deref().unwrap_or(NO_TENANT);
    let authority = authority.parse(|base| match cloud {
        Some(cloud) => Authority::in_cloud(cloud, base, tenant).map(Some),
        None => Ok(None),
    });
    let authority = authority.flatten();
    let allowed = section.list("allowed_tenants");
    // Without it, those of the one tenant.
    let authority = match allowed.is_absent() {
        true => authority,
        false => {
            let allowed = allowed.required("the tenants whose users may sign in").each(allowed_tenant);
            authority.zip(allowed).and_then(|(authority, allowed)| authority.allowing(&allowed).ok())
        }
    };
    let client_id = section.text("client_id").required("the id of the gateway's app registration").parse(guid);
    let scope =
        section.text("scope").required("what Entra is asked for, such as api://<id>/access_as_user").parse(scope);
    let extra_ca_file = section.text("extra_ca_file").parse(|file| readable(section.content("extra_ca_file", file)));
    let cae = section.flag("cae", false);
    let credential = credential(&section.section("credential"));
    section.finish();
    let settings = authority.zip(client_id).zip(cae).map(|((authority, client_id), cae)| entra::Settings {
        authority,
        client_id,
        extra_ca_file,
        cae,
        accept_emulator: false,
    });
    Entra { settings, credential, scope }
}

fn credential(section: &Section<'_>) -> Option<Credential> {
    let kinds = [
        ("workload-identity", Kind::WorkloadIdentity),
        ("managed-identity", Kind::ManagedIdentity),
        ("certificate", Kind::Certificate),
        ("client-secret", Kind::ClientSecret),
    ];
    let kind = section.text("kind").required("such as \"workload-identity\" or \"managed-identity\"");
    let credential = match kind.one_of(&kinds) {
        Some(Kind::WorkloadIdentity) => workload_identity(section),
        Some(Kind::ManagedIdentity) => managed_identity(section),
        Some(Kind::Certificate) => certificate(section),
        Some(Kind::ClientSecret) => client_secret(section),
        None => {
            // Which keys belong here is unknown then; none of them is called wrong.
            for key in ["token_file", "client_id", "endpoint", "certificate_file", "key_file", "secret_file"] {
                section.text(key);
            }
            None
        }
    };
    section.finish();
    credential
}

fn workload_identity(section: &Section<'_>) -> Option<Credential> {
    let what = format!("the projected token's file, and {TOKEN_FILE_VARIABLE} is not set either");
    let setting = section.text("token_file").or_variable(TOKEN_FILE_VARIABLE).required(&what);
    setting.parse(|file| readable(section.file(file))).map(|token_file| Credential::WorkloadIdentity { token_file })
}

fn managed_identity(section: &Section<'_>) -> Option<Credential> {
    let client_id = section.text("client_id").parse(guid);
    let host = match IdentityHost::of_platform(|name| section.variable(name)) {
        app_service @ IdentityHost::AppService { .. } if section.text("endpoint").is_absent() => app_service,
        _ => {
            let endpoint = section.text("endpoint").or_variable(POD_IDENTITY_AUTHORITY).or(IMDS);
            let endpoint = endpoint.parse(|text| origin(text).map(|_| text.to_owned()))?;
            IdentityHost::Metadata { endpoint }
        }
    };
    Some(Credential::ManagedIdentity { client_id, host })
}

fn certificate(section: &Section<'_>) -> Option<Credential> {
    let file = |key, what| section.text(key).required(what).parse(|file| readable(section.file(file)));
    let certificate_file = file("certificate_file", "the certificate that the registration knows, in PEM");
    let key_file = file("key_file", "the certificate's RSA key, in PEM");
    certificate_file
        .zip(key_file)
        .map(|(certificate_file, key_file)| Credential::Certificate { certificate_file, key_file })
}

fn client_secret(section: &Section<'_>) -> Option<Credential> {
    let setting = section.text("secret_file").required("a file that holds the secret, for development only");
    setting.parse(|file| readable(section.file(file))).map(|secret_file| Credential::ClientSecret { secret_file })
}

/// Stands in for a missing tenant while the authority is judged.
const NO_TENANT: &str = "00000000-0000-0000-0000-000000000000";
/// Set by the webhook of Entra Workload ID in Kubernetes.
const TOKEN_FILE_VARIABLE: &str = "AZURE_FEDERATED_TOKEN_FILE";
/// The address of IMDS, as Microsoft's own libraries let it be changed.
const POD_IDENTITY_AUTHORITY: &str = "AZURE_POD_IDENTITY_AUTHORITY_HOST";
