//! `[entra]`: the tenant, the gateway's app registration, and where its assertions come from.

use entra::Authority;
use entra::credential::IMDS;

use crate::config::reader::Section;
use crate::config::values::{guid, origin, readable, scope, word};
use crate::server::Credential;

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
}

pub fn read(section: &Section<'_>) -> Entra {
    let tenant_id = section.text("tenant_id").required("the directory's id, a GUID").parse(guid);
    let authority = section.text("authority").or("https://login.microsoftonline.com");
    // The tenant has its own key, and its own mistake.
    let authority = authority.parse(|base| Authority::new(base, tenant_id.as_deref().unwrap_or(NO_TENANT)));
    let client_id = section.text("client_id").required("the id of the gateway's app registration").parse(guid);
    let scope =
        section.text("scope").required("what Entra is asked for, such as api://<id>/access_as_user").parse(scope);
    let extra_ca_file = section.text("extra_ca_file").parse(|file| readable(section.file(file)));
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
    let kinds = [("workload-identity", Kind::WorkloadIdentity), ("managed-identity", Kind::ManagedIdentity)];
    let kind = section.text("kind").required("\"workload-identity\" or \"managed-identity\"");
    let credential = match kind.parse(|text| word(text, &kinds)) {
        Some(Kind::WorkloadIdentity) => workload_identity(section),
        Some(Kind::ManagedIdentity) => managed_identity(section),
        None => {
            // Which keys belong here is unknown then; none of them is called wrong.
            for key in ["token_file", "client_id", "endpoint"] {
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
    let endpoint = section.text("endpoint").or(IMDS).parse(|text| origin(text).map(|_| text.to_owned()))?;
    Some(Credential::ManagedIdentity { client_id, endpoint })
}

/// Stands in for a missing tenant while the authority is judged.
const NO_TENANT: &str = "00000000-0000-0000-0000-000000000000";
/// Set by the webhook of Entra Workload ID in Kubernetes.
const TOKEN_FILE_VARIABLE: &str = "AZURE_FEDERATED_TOKEN_FILE";
