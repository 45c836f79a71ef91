//! The links from the network to the database, which a driver shows in one step.

use std::time::Duration;

use datakit_model::Failure;

use super::{Broken, Walk};

/// Whether somebody listens.
pub const TCP: &str = "tcp";
/// Whether and how the connection is encrypted.
pub const TLS: &str = "tls";
/// Whether the login is bound to the encrypted channel.
pub const CHANNEL_BINDING: &str = "channel binding";
/// Whether the login is accepted.
pub const LOGIN: &str = "login";
/// Whether the database is there and may be used.
pub const DATABASE: &str = "database";

/// What is said of the channel binding, whatever comes of the login (docs/decisions/0155).
const NO_CHANNEL_BINDING: &str =
    "neither driver sends one: a server whose Extended Protection is `Required` refuses the ticket";

/// How a connection is encrypted: in words, or why it is not.
pub type Encryption = Result<String, String>;

/// A login that went through has shown the encryption.
pub fn show_tls(walk: &mut dyn Walk, tls: &Encryption) {
    match tls {
        Ok(how) => walk.ok(TLS, None, how.clone()),
        Err(why) => walk.not_used(TLS, why.clone()),
    }
}

/// There is none, whatever comes of the login.
pub fn show_channel_binding(walk: &mut dyn Walk) {
    if walk.open().first() == Some(&CHANNEL_BINDING) {
        walk.not_used(CHANNEL_BINDING, NO_CHANNEL_BINDING.to_owned());
    }
}

/// A login that failed has shown what comes before the link at which it did. Where the error does not tell (the server closed
/// the connection), it is the first that was not shown.
pub fn login_broke(
    walk: &mut dyn Walk,
    link: Option<&'static str>,
    tls: &Encryption,
    took: Duration,
    failure: Failure,
) -> Broken {
    if matches!(link, Some(LOGIN | DATABASE)) || tls.is_err() {
        show_tls(walk, tls);
        show_channel_binding(walk);
    }
    if link == Some(DATABASE) {
        walk.ok(LOGIN, None, "accepted".to_owned());
    }
    let link = link.filter(|link| walk.open().contains(link)).or(walk.open().first().copied());
    walk.broken(link.unwrap_or(LOGIN), Some(took), failure)
}
