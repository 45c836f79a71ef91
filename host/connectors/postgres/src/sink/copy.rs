//! Rows on their way by COPY.

use std::pin::Pin;

use bytes::Bytes;
use futures::SinkExt as _;
use tokio_postgres::{Client, CopyInSink, Error};

use crate::copy_format::{HEADER, TRAILER};

/// A COPY that begins with its first rows.
#[derive(Default)]
pub(crate) struct Copying(Option<Pin<Box<CopyInSink<Bytes>>>>);

impl Copying {
    /// Sends encoded rows.
    pub(crate) async fn send(&mut self, client: &Client, sql: &str, rows: Bytes) -> Result<(), Error> {
        let copy = match &mut self.0 {
            Some(copy) => copy,
            None => {
                let copy = self.0.insert(Box::pin(client.copy_in(sql).await?));
                copy.feed(Bytes::from_static(HEADER)).await?;
                copy
            }
        };
        copy.send(rows).await
    }

    /// Ends the COPY that was begun; gives the rows that arrived.
    pub(crate) async fn end(self) -> Result<u64, Error> {
        let Some(mut copy) = self.0 else { return Ok(0) };
        copy.feed(Bytes::from_static(TRAILER)).await?;
        copy.as_mut().finish().await
    }
}
