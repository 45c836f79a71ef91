//! `host lock`: pin datakits to digests.

use datakit_app::{LockRequest, LockedDatakit, Reports};

use super::Session;
use crate::arguments::Lock;

pub(super) async fn lock(arguments: Lock, session: &Session) -> Result<(), Reports> {
    let Lock { datakits, accept_replaced } = arguments;
    let locked = session.answer(datakit_app::lock(&session.context, LockRequest { datakits, accept_replaced })).await?;
    let line = |LockedDatakit { reference, digest, is_new }: &LockedDatakit| {
        format!("{reference} {digest} {}\n", if *is_new { "pinned" } else { "unchanged" })
    };
    let lines: String = locked.iter().map(line).collect();
    Ok(session.terminal.print(&lines)?)
}
