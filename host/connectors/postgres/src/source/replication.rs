//! A login as a client of replication.
//!
//! The driver has no setting for it: the parameter is put into its first message on the way to the server.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};

/// The parameter of the startup message, with the end of each text.
const PARAMETER: &[u8] = b"replication\0database\0";
/// The length of a startup message, which counts itself.
const LENGTH_BYTES: usize = 4;

/// What a session is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// SQL.
    Queries,
    /// Commands of replication.
    Replication,
}

/// A connection whose first message may get a parameter.
pub(super) struct Introduced<S> {
    inner: S,
    startup: Startup,
}

enum Startup {
    Awaited,
    /// The longer message, how much of it is sent, and how many bytes of the driver's it stands for.
    Sending {
        message: Vec<u8>,
        sent: usize,
        replaces: usize,
    },
    Sent,
}

impl<S> Introduced<S> {
    pub(super) fn new(inner: S, purpose: Purpose) -> Self {
        let startup = match purpose {
            Purpose::Queries => Startup::Sent,
            Purpose::Replication => Startup::Awaited,
        };
        Self { inner, startup }
    }
}

/// The startup message at the front of these bytes with the parameter in it, and its length before.
fn extended(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let length = u32::from_be_bytes(*bytes.first_chunk()?) as usize;
    let (parameters, end) = bytes.get(LENGTH_BYTES..length)?.split_last_chunk::<1>()?;
    let longer = u32::try_from(length + PARAMETER.len()).ok()?;
    Some(([&longer.to_be_bytes(), parameters, PARAMETER, end].concat(), length))
}

impl<S: AsyncRead + Unpin> AsyncRead for Introduced<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_read(context, out)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Introduced<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        loop {
            match &mut this.startup {
                Startup::Sent => return Pin::new(&mut this.inner).poll_write(context, bytes),
                Startup::Awaited => {
                    let Some((message, replaces)) = extended(bytes) else {
                        let what = "the driver's first message is not a whole startup message";
                        return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, what)));
                    };
                    this.startup = Startup::Sending { message, sent: 0, replaces };
                }
                Startup::Sending { message, sent, replaces } => {
                    let written = ready!(Pin::new(&mut this.inner).poll_write(context, &message[*sent..]))?;
                    if written == 0 {
                        return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                    }
                    *sent += written;
                    if *sent == message.len() {
                        let replaced = *replaces;
                        this.startup = Startup::Sent;
                        return Poll::Ready(Ok(replaced));
                    }
                }
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(context)
    }
}

impl<S: TlsStream + Unpin> TlsStream for Introduced<S> {
    fn channel_binding(&self) -> ChannelBinding {
        self.inner.channel_binding()
    }
}

/// TLS whose plain side is introduced.
pub(super) struct IntroducedTls<T> {
    pub(super) tls: T,
    pub(super) purpose: Purpose,
}

impl<S, T> TlsConnect<S> for IntroducedTls<T>
where
    T: TlsConnect<S>,
    T::Stream: Unpin,
    T::Future: Send + 'static,
{
    type Stream = Introduced<T::Stream>;
    type Error = T::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Stream, T::Error>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        let connecting = self.tls.connect(stream);
        Box::pin(async move { Ok(Introduced::new(connecting.await?, self.purpose)) })
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// A startup message of these parameters.
    fn startup(parameters: &str) -> Vec<u8> {
        let text = format!("\0\u{3}\0\0{}\0\0", parameters.replace(' ', "\0"));
        let length = u32::try_from(text.len() + LENGTH_BYTES).unwrap();
        [&length.to_be_bytes(), text.as_bytes()].concat()
    }

    #[tokio::test]
    async fn parameter_is_in_the_first_message_and_in_no_other() {
        // Four bytes at once: the longer message leaves in pieces.
        for (purpose, expected) in
            [(Purpose::Replication, "user me replication database"), (Purpose::Queries, "user me")]
        {
            let (near, mut far) = tokio::io::duplex(4);
            let mut introduced = Introduced::new(near, purpose);
            let writing = tokio::spawn(async move {
                introduced.write_all(&startup("user me")).await.unwrap();
                introduced.write_all(b"Q later").await.unwrap();
            });
            let mut read = Vec::new();
            far.read_to_end(&mut read).await.unwrap();
            writing.await.unwrap();
            assert_eq!(read, [&startup(expected), &b"Q later"[..]].concat());
        }
    }

    #[tokio::test]
    async fn first_message_in_pieces_is_an_error() {
        let message = startup("user me");
        for cut in [0, 3, 4, message.len() - 1] {
            let mut introduced = Introduced::new(tokio::io::sink(), Purpose::Replication);
            assert!(introduced.write_all(&message[..cut]).await.is_err() || cut == 0, "{cut}");
        }
    }
}
