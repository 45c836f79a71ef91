//! Bytes from the server, counted while a row is waited for.
//!
//! tiberius gathers the values of a row before it hands the row over, so that a limit on rows has to be held where their bytes arrive.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Nothing is counted.
const UNLIMITED: u64 = u64::MAX;
/// What may arrive with a row besides its values: columns' descriptions before it, the beginning of the rows behind it.
const BESIDES_BYTES: u64 = 1024 * 1024;

/// How many bytes may still arrive.
#[derive(Debug, Clone)]
pub(super) struct Meter(Arc<AtomicU64>);

impl Meter {
    pub(super) fn new() -> Self {
        Self(Arc::new(AtomicU64::new(UNLIMITED)))
    }

    /// From now on one row may arrive: its texts may take twice the bytes on the wire.
    pub(super) fn expect_row(&self, max_row_bytes: u64) {
        self.0.store(Self::most(max_row_bytes), Ordering::Relaxed);
    }

    /// From now on everything may arrive.
    pub(super) fn stop(&self) {
        self.0.store(UNLIMITED, Ordering::Relaxed);
    }

    /// Whether more arrived than was expected.
    pub(super) fn is_exceeded(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }

    /// The bytes that a row of this limit may take on the wire.
    pub(super) fn most(max_row_bytes: u64) -> u64 {
        max_row_bytes.saturating_mul(2).saturating_add(BESIDES_BYTES).min(UNLIMITED - 1)
    }

    fn count(&self, bytes: usize) -> io::Result<()> {
        let left = self.0.load(Ordering::Relaxed);
        if left == UNLIMITED {
            return Ok(());
        }
        let left = left.saturating_sub(bytes as u64);
        self.0.store(left, Ordering::Relaxed);
        if left > 0 {
            Ok(())
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidData, "a row over the limit `max_row_bytes`"))
        }
    }
}

/// A stream that is counted.
#[derive(Debug)]
pub(crate) struct Metered<S> {
    inner: S,
    meter: Meter,
}

impl<S> Metered<S> {
    pub(super) fn new(inner: S, meter: Meter) -> Self {
        Self { inner, meter }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = out.filled().len();
        ready!(Pin::new(&mut this.inner).poll_read(context, out))?;
        Poll::Ready(this.meter.count(out.filled().len() - before))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[tokio::test]
    async fn bytes_count_while_a_row_is_expected() {
        let meter = Meter::new();
        let bytes = vec![7; 8 << 20];
        let mut metered = Metered::new(bytes.as_slice(), meter.clone());
        let mut chunk = vec![0; 2 << 20];
        metered.read_exact(&mut chunk).await.unwrap();
        meter.expect_row(500_000);
        metered.read_exact(&mut chunk[..1_500_000]).await.unwrap();
        meter.expect_row(500_000);
        metered.read_exact(&mut chunk[..1_500_000]).await.unwrap();
        assert!(!meter.is_exceeded());
        let error = metered.read_exact(&mut chunk[..1_000_000]).await.unwrap_err();
        assert_eq!((error.kind(), meter.is_exceeded()), (io::ErrorKind::InvalidData, true));
        meter.stop();
        metered.read_exact(&mut chunk).await.unwrap();
    }
}
