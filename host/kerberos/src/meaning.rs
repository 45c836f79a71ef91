//! What the library's codes mean for an operator.
//!
//! The krb5 mechanism hands its own error codes through GSSAPI's minor status: those of `krb5_err.et`, counted from
//! -1765328384, and a few of the mechanism itself (`gssapi_err_krb5.et`).

use crate::error::Refusal;

const KRB5_BASE: i64 = -1_765_328_384;
const KG_BASE: i64 = 39_756_032;

/// The meaning of a minor status.
pub(crate) fn meaning_of(minor: u32) -> Option<Refusal> {
    // The library's signed 32 bits went through an unsigned type.
    let code = i64::from(minor.cast_signed());
    Some(match code - KRB5_BASE {
        6 => Refusal::UnknownPrincipal,                                    // C_PRINCIPAL_UNKNOWN
        7 | 27 | 36 => Refusal::UnknownService, // S_PRINCIPAL_UNKNOWN, MUST_USE_USER2USER, BADMATCH
        1 | 18 | 21 | 23 => Refusal::Locked,    // NAME_EXP, CLIENT_REVOKED, CLIENT_NOTYET, KEY_EXP
        24 | 31 => Refusal::WrongKey,           // PREAUTH_FAILED, BAD_INTEGRITY
        9 | 14 | 237 => Refusal::EncryptionType, // NULL_KEY, ETYPE_NOSUPP, CONFIG_ETYPE_NOSUPP
        32 => Refusal::Expired,                 // TKT_EXPIRED
        33 | 37 => Refusal::ClockSkew,          // TKT_NYV, SKEW
        68 | 154 | 185 | 217 | 220 => Refusal::UnknownRealm, // WRONG_REALM, REALM_UNKNOWN, NO_TKT_IN_RLM, …
        29 | 156 => Refusal::Unreachable,       // SVC_UNAVAILABLE, KDC_UNREACH
        135 | 136 | 224 => Refusal::Configuration, // CANTOPEN, BADFORMAT, NODEFREALM
        141 | 142 | 143 | 195 => Refusal::NoTicket, // CC_NOTFOUND, CC_END, NO_TKT_SUPPLIED, FCC_NOFILE
        _ if (KG_BASE..KG_BASE + 32).contains(&code) => Refusal::NoTicket, // a cache of another, or an empty one
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_krb5_h_are_known() {
        let of = |code: i64| meaning_of(u32::from_ne_bytes(i32::try_from(code).unwrap().to_ne_bytes()));
        assert_eq!(of(-1_765_328_378), Some(Refusal::UnknownPrincipal));
        assert_eq!(of(-1_765_328_377), Some(Refusal::UnknownService));
        assert_eq!(of(-1_765_328_360), Some(Refusal::WrongKey));
        assert_eq!(of(-1_765_328_352), Some(Refusal::Expired));
        assert_eq!(of(-1_765_328_347), Some(Refusal::ClockSkew));
        assert_eq!(of(-1_765_328_366), Some(Refusal::Locked));
        assert_eq!(of(-1_765_328_370), Some(Refusal::EncryptionType));
        assert_eq!(of(-1_765_328_230), Some(Refusal::UnknownRealm));
        assert_eq!(of(-1_765_328_164), Some(Refusal::UnknownRealm));
        assert_eq!(of(-1_765_328_228), Some(Refusal::Unreachable));
        assert_eq!(of(-1_765_328_249), Some(Refusal::Configuration));
        assert_eq!(of(-1_765_328_160), Some(Refusal::Configuration));
        assert_eq!(of(-1_765_328_243), Some(Refusal::NoTicket));
        assert_eq!(of(-1_765_328_189), Some(Refusal::NoTicket));
        assert_eq!(of(-1_765_328_147), Some(Refusal::EncryptionType));
        assert_eq!(of(13), None);
    }
}
