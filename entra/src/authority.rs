//! The tenants whose users sign in at one authority, usually one: the base URL is a setting, so a stand-in on loopback fits in
//! the place of Entra.

use std::net::IpAddr;

use url::{Host, Url};
use uuid::Uuid;

use crate::Cloud;

/// A base URL and tenant ids, parsed once; everything else in this crate asks it for URLs and issuers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    cloud: Cloud,
    base: Url,
    tenant_id: String,
    /// Whose users are let in. Never empty.
    allowed: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthorityError {
    #[error("the authority must be an origin such as https://login.microsoftonline.com, without path, query or user")]
    NotAnOrigin,
    #[error("the authority must be https; http is only for a stand-in on a loopback host")]
    NotHttps,
    #[error("the tenant id must be a GUID; `common`, `organizations` and domain names are not accepted")]
    TenantNotAGuid,
    #[error("a list of tenants that is empty would let nobody in; without it users of the one tenant sign in")]
    NoTenants,
    #[error("personal accounts cannot sign in: {PERSONAL} is no organisation's tenant")]
    PersonalAccounts,
    #[error("the authority is the one of another cloud: \"{}\"", .0.name())]
    OtherCloud(Cloud),
}

impl Authority {
    /// In the public cloud, or a stand-in for it. Otherwise as [`Authority::in_cloud`].
    pub fn new(base: &str, tenant_id: &str) -> Result<Self, AuthorityError> {
        Self::in_cloud(Cloud::Public, base, tenant_id)
    }

    /// `base` is `https://host[:port]`, or `http` when the host is loopback. The tenant must be a GUID: tokens name it
    /// by GUID, and a shared endpoint such as `common` would let any tenant's users in. The host of one cloud is refused in
    /// another: what else depends on the cloud would be wrong there, and say so only when somebody signs in.
    pub fn in_cloud(cloud: Cloud, base: &str, tenant_id: &str) -> Result<Self, AuthorityError> {
        let base = Url::parse(base).map_err(|_| AuthorityError::NotAnOrigin)?;
        let bare = base.path() == "/" && base.query().is_none() && base.fragment().is_none();
        if !bare || !base.has_host() || !base.username().is_empty() || base.password().is_some() {
            return Err(AuthorityError::NotAnOrigin);
        }
        match base.scheme() {
            "https" => {}
            "http" if is_loopback(&base) => {}
            "http" => return Err(AuthorityError::NotHttps),
            _ => return Err(AuthorityError::NotAnOrigin),
        }
        if let Some(other) = Cloud::of_host(&base).filter(|other| *other != cloud) {
            return Err(AuthorityError::OtherCloud(other));
        }
        let tenant_id = tenant(tenant_id)?;
        Ok(Self { cloud, base, allowed: vec![tenant_id.clone()], tenant_id })
    }

    /// With the users of these tenants in the place of those of the registration's own, which counts if it is among them
    /// (GU-15). With several, everybody signs in at `organizations`, which any organisation's users may: what keeps the
    /// others out is that each token is checked against this list. There is no way to have that endpoint without a list.
    pub fn allowing(self, tenants: &[String]) -> Result<Self, AuthorityError> {
        let mut allowed = tenants.iter().map(|id| allowed_tenant(id)).collect::<Result<Vec<_>, _>>()?;
        allowed.sort_unstable();
        allowed.dedup();
        if allowed.is_empty() { Err(AuthorityError::NoTenants) } else { Ok(Self { allowed, ..self }) }
    }

    /// Whether users of this tenant are let in. Compared as tokens write it.
    pub fn allows(&self, tenant_id: &str) -> bool {
        self.allowed.iter().any(|allowed| allowed == tenant_id)
    }

    /// Whose users are let in; never empty.
    pub fn allowed_tenants(&self) -> &[String] {
        &self.allowed
    }

    pub fn cloud(&self) -> Cloud {
        self.cloud
    }

    pub fn authorize_url(&self) -> Url {
        self.url(self.sign_in_tenant(), "oauth2/v2.0/authorize")
    }

    /// Where codes are redeemed: whose user brings one is not known yet, so they go back to where they are from.
    pub fn redemption_url(&self) -> Url {
        self.url(self.sign_in_tenant(), TOKEN)
    }

    /// The token endpoint of the registration's own tenant.
    pub fn token_url(&self) -> Url {
        self.url(&self.tenant_id, TOKEN)
    }

    /// The token endpoint for a user of this tenant; `None` if those are not let in.
    pub fn token_url_of(&self, tenant_id: &str) -> Option<Url> {
        self.allows(tenant_id).then(|| self.url(tenant_id, TOKEN))
    }

    /// The document that says who the authority is (OpenID Connect Discovery section 4).
    pub fn discovery_url(&self) -> Url {
        self.url(&self.tenant_id, "v2.0/.well-known/openid-configuration")
    }

    pub fn keys_url(&self) -> Url {
        self.url(self.sign_in_tenant(), "discovery/v2.0/keys")
    }

    /// The issuer of v2 tokens of the registration's own tenant.
    pub fn issuer_v2(&self) -> String {
        self.issuer_v2_of(&self.tenant_id)
    }

    /// Likewise, of v1 tokens.
    pub fn issuer_v1(&self) -> String {
        self.issuer_v1_of(&self.tenant_id)
    }

    /// The issuer of a tenant's v2 tokens, and of every id_token of the v2 endpoints.
    pub fn issuer_v2_of(&self, tenant_id: &str) -> String {
        format!("{}/{tenant_id}/v2.0", self.base.as_str().trim_end_matches('/'))
    }

    /// The issuer of a tenant's v1 access tokens, which Entra writes for apps without `requestedAccessTokenVersion = 2`.
    pub fn issuer_v1_of(&self, tenant_id: &str) -> String {
        if self.is_loopback() {
            return format!("{}{tenant_id}/", self.base);
        }
        format!("https://{}/{tenant_id}/", self.cloud.v1_issuer_host())
    }

    /// The GUID of the registration's own tenant, hyphenated and in lower case, as tokens write it.
    pub fn tenant_id(&self) -> &str {
        &self.tenant_id
    }

    /// Whether this is a stand-in on the own machine, and so not Entra.
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.base)
    }

    /// How URLs name whoever may sign in.
    fn sign_in_tenant(&self) -> &str {
        match self.allowed.as_slice() {
            [only] => only,
            _ => "organizations",
        }
    }

    fn url(&self, tenant: &str, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("/{tenant}/{path}"));
        url
    }
}

/// One tenant of a list for [`Authority::allowing`], as tokens write it.
pub fn allowed_tenant(id: &str) -> Result<String, AuthorityError> {
    match tenant(id)? {
        id if id == PERSONAL => Err(AuthorityError::PersonalAccounts),
        id => Ok(id),
    }
}

/// Uuid also reads the braced, the urn: and the undashed form; only the one that tokens use is meant here.
fn tenant(id: &str) -> Result<String, AuthorityError> {
    let canonical = Uuid::try_parse(id).map(|guid| guid.to_string()).unwrap_or_default();
    if canonical.eq_ignore_ascii_case(id) && !id.is_empty() {
        Ok(canonical)
    } else {
        Err(AuthorityError::TenantNotAGuid)
    }
}

const TOKEN: &str = "oauth2/v2.0/token";
/// Microsoft's tenant of all personal accounts, which `organizations` does not let in.
const PERSONAL: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";

/// Whether a URL's host is this machine. `localhost` counts: it is what the development set-up writes.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        Some(Host::Ipv4(address)) => IpAddr::from(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::from(address).is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TENANT: &str = "8F0C1C5E-0c3d-4b8e-9f59-5a3f1a2b3c4d";
    const LOWER: &str = "8f0c1c5e-0c3d-4b8e-9f59-5a3f1a2b3c4d";

    #[test]
    fn public_cloud() {
        let authority = Authority::new("https://login.microsoftonline.com/", TENANT).unwrap();
        let base = format!("https://login.microsoftonline.com/{LOWER}");
        assert_eq!(authority.authorize_url().as_str(), format!("{base}/oauth2/v2.0/authorize"));
        assert_eq!(authority.token_url().as_str(), format!("{base}/oauth2/v2.0/token"));
        assert_eq!(authority.discovery_url().as_str(), format!("{base}/v2.0/.well-known/openid-configuration"));
        assert_eq!(authority.keys_url().as_str(), format!("{base}/discovery/v2.0/keys"));
        assert_eq!(authority.issuer_v2(), format!("{base}/v2.0"));
        assert_eq!(authority.issuer_v1(), format!("https://sts.windows.net/{LOWER}/"));
    }

    #[test]
    fn the_other_clouds() {
        for (cloud, v1) in [(Cloud::UsGovernment, "sts.windows.net"), (Cloud::China, "sts.chinacloudapi.cn")] {
            let authority = Authority::in_cloud(cloud, cloud.authority(), TENANT).unwrap();
            assert_eq!(authority.token_url().as_str(), format!("{}/{LOWER}/oauth2/v2.0/token", cloud.authority()));
            assert_eq!(authority.issuer_v1(), format!("https://{v1}/{LOWER}/"));
            assert_eq!(Authority::new(cloud.authority(), TENANT), Err(AuthorityError::OtherCloud(cloud)));
            assert!(Authority::in_cloud(cloud, "https://sign-in.example", TENANT).is_ok(), "a name of the operator's");
        }
        let public = Authority::in_cloud(Cloud::China, Cloud::Public.authority(), TENANT);
        assert_eq!(public, Err(AuthorityError::OtherCloud(Cloud::Public)));
    }

    #[test]
    fn several_tenants_sign_in_where_any_organisation_does_and_one_at_its_own() {
        let own = || Authority::new("https://login.microsoftonline.com", TENANT).unwrap();
        let tenants = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        let other = "AAAAAAAA-0c3d-4b8e-9f59-5a3f1a2b3c4d";
        let several = own().allowing(&tenants(&[TENANT, other])).unwrap();
        let at = |tenant: &str, path: &str| format!("https://login.microsoftonline.com/{tenant}/{path}");
        assert_eq!(several.authorize_url().as_str(), at("organizations", "oauth2/v2.0/authorize"));
        assert_eq!(several.redemption_url().as_str(), at("organizations", "oauth2/v2.0/token"));
        assert_eq!(several.keys_url().as_str(), at("organizations", "discovery/v2.0/keys"));
        // What concerns the registration itself, or a user who is known, never goes there.
        assert_eq!(several.token_url().as_str(), at(LOWER, "oauth2/v2.0/token"));
        let other = other.to_lowercase();
        assert_eq!(several.token_url_of(&other).unwrap().as_str(), at(&other, "oauth2/v2.0/token"));
        assert!(several.allows(&other) && several.allows(LOWER) && !own().allows(&other));
        for stranger in ["bbbbbbbb-0c3d-4b8e-9f59-5a3f1a2b3c4d", "organizations", "common", "", TENANT] {
            assert!(!several.allows(stranger) && several.token_url_of(stranger).is_none(), "{stranger}");
        }
        let one = own().allowing(&tenants(&[&other])).unwrap();
        assert_eq!(one.authorize_url().as_str(), at(&other, "oauth2/v2.0/authorize"));
        assert!(!one.allows(LOWER), "the list is the whole list");
        assert_eq!(own().authorize_url().as_str(), at(LOWER, "oauth2/v2.0/authorize"));
        assert_eq!(own().allowing(&[]), Err(AuthorityError::NoTenants));
        assert_eq!(own().allowing(&tenants(&["common"])), Err(AuthorityError::TenantNotAGuid));
        assert_eq!(own().allowing(&tenants(&[TENANT, PERSONAL])), Err(AuthorityError::PersonalAccounts));
    }

    #[test]
    fn stand_in_on_loopback() {
        for base in ["http://127.0.0.1:9", "http://localhost:9", "http://[::1]:9"] {
            let authority = Authority::new(base, TENANT).unwrap();
            assert_eq!(authority.issuer_v1(), format!("{base}/{LOWER}/"));
            assert_eq!(authority.issuer_v2(), format!("{base}/{LOWER}/v2.0"));
        }
    }

    #[test]
    fn refused() {
        for base in ["http://login.microsoftonline.com", "http://127.0.0.1.example.com", "http://10.0.0.1"] {
            assert_eq!(Authority::new(base, TENANT), Err(AuthorityError::NotHttps), "{base}");
        }
        for base in
            ["", "login.microsoftonline.com", "https://a/b", "https://a?b", "https://u:p@a", "ftp://a", "file:///a"]
        {
            assert_eq!(Authority::new(base, TENANT), Err(AuthorityError::NotAnOrigin), "{base}");
        }
        for tenant in ["common", "", "contoso.example", "8f0c1c5e0c3d4b8e9f595a3f1a2b3c4d", &format!("{{{LOWER}}}")] {
            let refused = Authority::new("https://login.microsoftonline.com", tenant);
            assert_eq!(refused, Err(AuthorityError::TenantNotAGuid), "{tenant}");
        }
    }
}
