//! Messages of the server, cut off where they are larger than any row may be.
//!
//! A row is one message, and the driver gathers a message whole before it hands it over: up to a gigabyte. So the messages are looked at before
//! the driver gets them. Of a larger one the driver gets so much that the decoder finds the row too large and names the column; then the
//! connection ends.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};

/// What is read from the server at once.
const BUFFER_BYTES: usize = 32 * 1024;
/// A message's type and its length, which counts itself.
const HEAD_BYTES: usize = 5;
/// The length alone.
const LENGTH_BYTES: usize = 4;
/// A message of COPY TO STDOUT.
const COPY_DATA: u8 = b'd';
/// What the decoder looks at beyond the limit: the COPY's own header, the number of fields, the size of the field that is too much.
const BEYOND_BYTES: usize = 64;

/// The server's side of a connection, before the driver.
pub(super) struct Watched<S> {
    inner: S,
    buffer: Box<[u8]>,
    /// The bytes of the buffer that are not handed over yet.
    start: usize,
    end: usize,
    /// Bytes that may be handed over: more than the buffer holds in the middle of a message.
    free: usize,
    /// The message being handed over was cut: nothing follows it.
    cut: bool,
    max_row_bytes: usize,
}

impl<S> Watched<S> {
    pub(super) fn new(inner: S, max_row_bytes: u64) -> Self {
        // A message's length is a number of 31 bits.
        let max_row_bytes = usize::try_from(max_row_bytes).unwrap_or(usize::MAX).min(i32::MAX as usize);
        let buffer = vec![0; BUFFER_BYTES].into_boxed_slice();
        Self { inner, buffer, start: 0, end: 0, free: 0, cut: false, max_row_bytes }
    }

    /// Looks at the heads of the messages in the buffer.
    fn look(&mut self) -> io::Result<()> {
        while !self.cut && self.end - self.start >= self.free + HEAD_BYTES {
            let at = self.start + self.free;
            let head = &mut self.buffer[at..at + HEAD_BYTES];
            let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
            let most = self.max_row_bytes + BEYOND_BYTES;
            if length <= most {
                self.free += 1 + length.max(LENGTH_BYTES);
                continue;
            }
            if head[0] != COPY_DATA {
                let what =
                    format!("a message of {length} bytes, over the limit `max_row_bytes` of {}", self.max_row_bytes);
                return Err(io::Error::new(io::ErrorKind::InvalidData, what));
            }
            let shorter = u32::try_from(most).unwrap_or(u32::MAX);
            head[1..].copy_from_slice(&shorter.to_be_bytes());
            self.free += 1 + most;
            self.cut = true;
        }
        Ok(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            this.look()?;
            let bytes = this.free.min(this.end - this.start).min(out.remaining());
            if bytes > 0 {
                out.put_slice(&this.buffer[this.start..this.start + bytes]);
                this.start += bytes;
                this.free -= bytes;
                return Poll::Ready(Ok(()));
            }
            if this.cut && this.free == 0 {
                return Poll::Ready(Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "a row over the limit `max_row_bytes`",
                )));
            }
            this.buffer.copy_within(this.start..this.end, 0);
            (this.start, this.end) = (0, this.end - this.start);
            let mut more = ReadBuf::new(&mut this.buffer[this.end..]);
            ready!(Pin::new(&mut this.inner).poll_read(context, &mut more))?;
            let bytes = more.filled().len();
            if bytes == 0 {
                return Poll::Ready(Ok(()));
            }
            this.end += bytes;
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
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

impl<S: TlsStream + Unpin> TlsStream for Watched<S> {
    fn channel_binding(&self) -> ChannelBinding {
        self.inner.channel_binding()
    }
}

/// TLS whose plain side is watched.
pub(super) struct WatchedTls<T> {
    pub(super) tls: T,
    pub(super) max_row_bytes: u64,
}

impl<S, T> TlsConnect<S> for WatchedTls<T>
where
    T: TlsConnect<S>,
    T::Stream: Unpin,
    T::Future: Send + 'static,
{
    type Stream = Watched<T::Stream>;
    type Error = T::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Stream, T::Error>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        let connecting = self.tls.connect(stream);
        Box::pin(async move { Ok(Watched::new(connecting.await?, self.max_row_bytes)) })
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    fn message(kind: u8, content: &[u8]) -> Vec<u8> {
        let length = u32::try_from(content.len() + LENGTH_BYTES).unwrap();
        [&[kind][..], &length.to_be_bytes(), content].concat()
    }

    /// What comes out of bytes that arrive in pieces of this size, and how it ends.
    async fn through(bytes: &[u8], piece: usize, max_row_bytes: u64) -> (Vec<u8>, Option<String>) {
        let mut mock = pieces(bytes, piece);
        let mut watched = Watched::new(&mut mock, max_row_bytes);
        let (mut out, mut chunk) = (Vec::new(), [0; 7]);
        loop {
            match watched.read(&mut chunk).await {
                Ok(0) => return (out, None),
                Ok(read) => out.extend_from_slice(&chunk[..read]),
                Err(error) => return (out, Some(error.to_string())),
            }
        }
    }

    /// A reader of these bytes that gives so many at once.
    fn pieces(bytes: &[u8], piece: usize) -> Pieces {
        Pieces { bytes: bytes.to_vec(), at: 0, piece }
    }

    struct Pieces {
        bytes: Vec<u8>,
        at: usize,
        piece: usize,
    }

    impl AsyncRead for Pieces {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            let this = self.get_mut();
            let bytes = this.piece.min(this.bytes.len() - this.at).min(out.remaining());
            out.put_slice(&this.bytes[this.at..this.at + bytes]);
            this.at += bytes;
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn messages_within_the_limit_pass_as_they_are() {
        let bytes =
            [message(b'R', &[0; 4]), message(b'd', &[1; 900]), message(b'c', &[]), message(b'Z', b"I")].concat();
        for piece in [1, 2, 3, 5, 64, 100_000] {
            assert_eq!(through(&bytes, piece, 1_000).await, (bytes.clone(), None), "{piece}");
        }
        let large = [message(b'd', &vec![2; 100_000]), message(b'c', &[])].concat();
        assert_eq!(through(&large, 40_000, 100_000).await, (large, None));
    }

    #[tokio::test]
    async fn a_row_over_the_limit_is_cut_and_nothing_follows() {
        let before = message(b'd', &[1; 10]);
        let bytes = [before.clone(), message(b'd', &[2; 5_000]), message(b'c', &[])].concat();
        for piece in [1, 3, 64, 100_000] {
            let (out, error) = through(&bytes, piece, 1_000).await;
            let cut = 1_000 + BEYOND_BYTES;
            let expected = [&before[..], b"d", &u32::try_from(cut).unwrap().to_be_bytes(), &vec![2; cut - 4]].concat();
            assert_eq!((out, error.as_deref()), (expected, Some("a row over the limit `max_row_bytes`")), "{piece}");
        }
    }

    #[tokio::test]
    async fn another_message_over_the_limit_ends_the_connection() {
        let (out, error) = through(&message(b'D', &[0; 5_000]), 100, 1_000).await;
        assert_eq!(out, b"");
        assert_eq!(error.unwrap(), "a message of 5004 bytes, over the limit `max_row_bytes` of 1000");
    }
}
