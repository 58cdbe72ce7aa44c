//! What is tried, in the order of the table: from what anybody sees to what needs a person's token.

mod authorize;
mod callback;
mod canary;
mod code;
mod consent;
mod discovery;
mod framing;
mod mcp;
mod pages;
mod redirects;
mod refresh;
mod registration;
mod tokens;

use super::case::Case;

pub fn all() -> Vec<Case> {
    [
        discovery::cases(),
        registration::cases(),
        redirects::cases(),
        authorize::cases(),
        pages::cases(),
        consent::cases(),
        callback::cases(),
        code::cases(),
        refresh::cases(),
        tokens::cases(),
        mcp::cases(),
        framing::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn every_case_has_an_id_of_its_own_and_a_source() {
        let cases = super::all();
        let ids: BTreeSet<_> = cases.iter().map(|case| case.id).collect();
        assert_eq!(ids.len(), cases.len());
        assert!(cases.iter().all(|case| !case.source.is_empty() && !case.tried.contains('|')));
    }
}
