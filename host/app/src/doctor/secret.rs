//! The link of a password: whether it can be had, from wherever it is.
//!
//! Variables and files were read with the settings. What is in a vault is asked for here, before the server is, so that a vault that
//! fails is not taken for the server's failure; the login finds it at hand.

use datakit_config::SecretSetting;

use super::chain::{Broken, Chain};
use crate::reports::Reports;

pub(super) const SECRET: &str = "secret";

/// Walks it, by a future that fetches the password as a login does.
pub(super) async fn walk<E: Into<Reports>>(
    chain: &mut Chain<'_>,
    setting: &SecretSetting,
    fetching: impl Future<Output = Result<(), E>>,
) -> Result<(), Broken> {
    let place = setting.from.place();
    let (fetched, took) = chain.step(&place, fetching).await;
    match fetched {
        Ok(()) => {
            chain.ok(SECRET, Some(took), place);
            Ok(())
        }
        Err(error) => Err(chain.broken(SECRET, Some(took), error)),
    }
}
