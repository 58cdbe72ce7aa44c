//! The clouds that Entra runs in, apart from each other (GU-15): a tenant, its users and its tokens live in one of them, and
//! each has its own hosts and its own audience for federated assertions.

use std::str::FromStr;

use url::Url;

/// One of them. What it decides are defaults and names; where Entra is, an [`crate::Authority`] says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cloud {
    #[default]
    Public,
    UsGovernment,
    /// Operated by 21Vianet.
    China,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be \"public\", \"us-government\" or \"china\"")]
pub struct UnknownCloud;

impl Cloud {
    pub const ALL: [Self; 3] = [Self::Public, Self::UsGovernment, Self::China];

    /// As a configuration writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::UsGovernment => "us-government",
            Self::China => "china",
        }
    }

    /// Where its users sign in.
    pub fn authority(self) -> &'static str {
        match self {
            Self::Public => "https://login.microsoftonline.com",
            Self::UsGovernment => "https://login.microsoftonline.us",
            Self::China => "https://login.partner.microsoftonline.cn",
        }
    }

    /// Microsoft Graph. The Department of Defense has another than the rest of the US government's cloud.
    pub fn graph(self) -> &'static str {
        match self {
            Self::Public => "https://graph.microsoft.com",
            Self::UsGovernment => "https://graph.microsoft.us",
            Self::China => "https://microsoftgraph.chinacloudapi.cn",
        }
    }

    /// What a federated assertion must be for: the audience of federated credentials, and the resource that a managed
    /// identity is asked for. Entra refuses those of another cloud (AADSTS700212).
    pub fn exchange_audience(self) -> &'static str {
        match self {
            Self::Public => "api://AzureADTokenExchange",
            Self::UsGovernment => "api://AzureADTokenExchangeUSGov",
            Self::China => "api://AzureADTokenExchangeChina",
        }
    }

    /// The host that v1 tokens name as their issuer.
    pub(crate) fn v1_issuer_host(self) -> &'static str {
        match self {
            Self::Public | Self::UsGovernment => "sts.windows.net",
            Self::China => "sts.chinacloudapi.cn",
        }
    }

    /// The cloud whose sign-in host this is, by its present name or an earlier one; `None` for any other host.
    pub(crate) fn of_host(url: &Url) -> Option<Self> {
        match url.host_str()? {
            "login.microsoftonline.com" | "login.windows.net" | "login.microsoft.com" | "sts.windows.net" => {
                Some(Self::Public)
            }
            "login.microsoftonline.us" | "login.usgovcloudapi.net" => Some(Self::UsGovernment),
            "login.partner.microsoftonline.cn" | "login.chinacloudapi.cn" => Some(Self::China),
            _ => None,
        }
    }
}

impl FromStr for Cloud {
    type Err = UnknownCloud;

    fn from_str(text: &str) -> Result<Self, UnknownCloud> {
        Self::ALL.into_iter().find(|cloud| cloud.name() == text).ok_or(UnknownCloud)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cloud_has_a_name_and_hosts_of_its_own() {
        for cloud in Cloud::ALL {
            assert_eq!(cloud.name().parse(), Ok(cloud));
            assert_eq!(Cloud::of_host(&Url::parse(cloud.authority()).unwrap()), Some(cloud));
            for other in Cloud::ALL.into_iter().filter(|other| *other != cloud) {
                assert_ne!(cloud.authority(), other.authority());
                assert_ne!(cloud.graph(), other.graph());
                assert_ne!(cloud.exchange_audience(), other.exchange_audience());
            }
        }
        for text in ["", "Public", "usgov", "germany"] {
            assert_eq!(text.parse::<Cloud>(), Err(UnknownCloud), "{text}");
        }
    }
}
