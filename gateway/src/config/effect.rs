//! When another value of a key takes effect: at a reload of a running server, or at the next start.

/// Whether a running server takes another value of the key, by its path as the catalogue has it.
pub fn is_live(path: &str) -> bool {
    let under = |section: &&str| path.strip_prefix(*section).is_some_and(|rest| rest.starts_with(['.', '[']));
    SECTIONS.iter().any(under) || KEYS.contains(&path)
}

/// `upstream[3].headers.x-key.file` is `upstream[].headers.*.file`.
pub fn general(path: &str) -> String {
    let mut general = String::new();
    for (at, part) in path.split('[').enumerate() {
        let rest = part.trim_start_matches(|letter: char| letter.is_ascii_digit());
        // Only a number that is closed is one of a list.
        let part = if at > 0 && rest.starts_with(']') { rest } else { part };
        general += if at > 0 { "[" } else { "" };
        general += part;
    }
    if let Some(rest) = general.strip_prefix(NAMED) {
        let end = rest.find('.').unwrap_or(rest.len());
        general = format!("{NAMED}*{}", &rest[end..]);
    }
    general
}

/// Here the names are the user's own.
const NAMED: &str = "upstream[].headers.";

/// All that is in them.
const SECTIONS: [&str; 6] = ["access", "clients", "consent", "cors", "streams", "upstream"];

/// Of the other sections. What bounds connections and their parts is built into the listeners.
const KEYS: [&str; 12] = [
    "entra.scope",
    "limits.authorizations_per_minute",
    "limits.burst",
    "limits.exchanges",
    "limits.refusals_per_minute",
    "limits.registrations_per_minute",
    "limits.requests_per_second",
    "limits.resets_per_connection",
    "limits.streams_per_session",
    "limits.token_requests_per_minute",
    "log.access",
    "log.level",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_one_table_is_that_of_all() {
        for (path, wanted) in [
            ("upstream[12].servers", "upstream[].servers"),
            ("upstream[0].headers.x-functions-key.file", "upstream[].headers.*.file"),
            ("upstream[1].tool_rule[2].roles", "upstream[].tool_rule[].roles"),
            ("listen.tls.key", "listen.tls.key"),
        ] {
            assert_eq!(general(path), wanted);
        }
    }

    #[test]
    fn a_section_is_no_beginning_of_a_name() {
        assert!(is_live("access.roles") && is_live("upstream[].servers") && is_live("log.level"));
        assert!(
            !is_live("accessible.roles")
                && !is_live("log.format")
                && !is_live("public_url")
                && !is_live("entra.scope.x")
        );
    }
}
