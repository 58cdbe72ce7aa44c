//! What an attacker writes in place of a record.

use super::vault::Vault;

pub struct Attack {
    pub what: String,
    harm: Harm,
}

enum Harm {
    Value(Vec<u8>),
    OtherType,
}

impl Attack {
    pub fn strike(&self, vault: &Vault, name: &str) {
        match &self.harm {
            Harm::Value(value) => vault.write(name, value),
            Harm::OtherType => vault.write_list(name),
        }
    }

    /// Redis itself then refuses to read it, and a store that refuses is one that does not answer.
    pub fn is_of_another_type(&self) -> bool {
        matches!(self.harm, Harm::OtherType)
    }

    fn value(what: impl Into<String>, value: Vec<u8>) -> Self {
        Self { what: what.into(), harm: Harm::Value(value) }
    }
}

/// Against `own`, whose sealed part begins at `sealed`. `strangers` are put in its place as they are.
pub fn attacks(own: &[u8], sealed: usize, strangers: &[(&str, Vec<u8>)]) -> Vec<Attack> {
    let mut attacks = Vec::new();
    // The frame, the version, the key's id, the nonce, what is encrypted, the tag.
    for place in [0, sealed, sealed + 4, sealed + 5, usize::midpoint(sealed, own.len()), own.len() - 16, own.len() - 1]
    {
        for bit in [0, 7] {
            let mut value = own.to_vec();
            value[place] ^= 1 << bit;
            attacks.push(Attack::value(format!("bit {bit} of byte {place} flipped"), value));
        }
    }
    for length in [0, 1, sealed, sealed + 1, sealed + 17, sealed + 32, sealed + 33, own.len() / 2, own.len() - 1] {
        attacks.push(Attack::value(format!("cut to {length} bytes"), own[..length].to_vec()));
    }
    attacks.push(Attack::value("one byte more", [own, &[0]].concat()));
    for version in [0, 2, 255] {
        let mut value = own.to_vec();
        value[sealed] = version;
        attacks.push(Attack::value(format!("version {version}"), value));
    }
    for (whose, value) in strangers {
        attacks.push(Attack::value(*whose, value.clone()));
    }
    let garbage: Vec<u8> = (0..1_u32 << 20).map(|place| place.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    // As it is, and behind a beginning that is right.
    attacks.push(Attack::value("a megabyte of garbage", garbage.clone()));
    attacks.push(Attack::value("a framed megabyte of garbage", [&own[..sealed + 5], &garbage].concat()));
    attacks.push(Attack { what: "a list".into(), harm: Harm::OtherType });
    attacks
}
