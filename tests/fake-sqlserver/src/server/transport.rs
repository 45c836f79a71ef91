//! The three ways a connection's bytes travel: plain, in TLS, and plain again after a login in TLS.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_native_tls::TlsStream;

use crate::tds::packet::{HEADER_BYTES, Header, status};
use crate::tds::packet_type;

/// A connection's bytes.
pub enum Transport {
    /// As they are.
    Plain(TcpStream),
    /// In TLS.
    Tls(Box<TlsStream<HandshakeStream>>),
    /// As they are, under a TLS session that nothing more is sent through.
    PlainAgain(Box<TlsStream<HandshakeStream>>),
}

/// What a transport reads from or writes to just now.
enum Current<'a> {
    Plain(&'a mut TcpStream),
    Tls(&'a mut TlsStream<HandshakeStream>),
}

impl Transport {
    fn current(&mut self) -> Current<'_> {
        match self {
            Self::Plain(stream) => Current::Plain(stream),
            Self::Tls(stream) => Current::Tls(stream),
            Self::PlainAgain(stream) => Current::Plain(&mut stream.get_mut().get_mut().get_mut().tcp),
        }
    }

    /// Leaves TLS after the login, as a client that encrypts its login only does.
    #[must_use]
    pub fn leave_tls(self) -> Self {
        match self {
            Self::Tls(stream) => Self::PlainAgain(stream),
            other => other,
        }
    }
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut().current() {
            Current::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Current::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut().current() {
            Current::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Current::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut().current() {
            Current::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Current::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut().current() {
            Current::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Current::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// The stream under TLS. In TDS 7 the handshake travels in PRELOGIN packets, all that follows does not (MS-TDS 3.2.5.2).
pub struct HandshakeStream {
    tcp: TcpStream,
    wrapping: bool,
    /// Header of the packet being read, and how much of it has come.
    header: [u8; HEADER_BYTES],
    header_read: usize,
    /// Bytes of the packet being read that have not come yet.
    packet_left: usize,
    /// Packets not yet written.
    unwritten: Vec<u8>,
}

impl HandshakeStream {
    /// A stream whose handshake is wrapped in packets (TDS 7).
    pub fn wrapped(tcp: TcpStream) -> Self {
        Self { tcp, wrapping: true, header: [0; HEADER_BYTES], header_read: 0, packet_left: 0, unwritten: Vec::new() }
    }

    /// A stream that is TLS from its first byte (TDS 8).
    pub fn bare(tcp: TcpStream) -> Self {
        Self { wrapping: false, ..Self::wrapped(tcp) }
    }

    /// Ends the wrapping: the handshake is over.
    pub fn end_wrapping(&mut self) {
        self.wrapping = false;
    }

    fn poll_write_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.unwritten.is_empty() {
            let written = ready!(Pin::new(&mut self.tcp).poll_write(cx, &self.unwritten))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unwritten.drain(..written);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_header(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        while self.header_read < HEADER_BYTES {
            let mut buf = ReadBuf::new(&mut self.header[self.header_read..]);
            ready!(Pin::new(&mut self.tcp).poll_read(cx, &mut buf))?;
            let read = buf.filled().len();
            if read == 0 {
                return Poll::Ready(Ok(false));
            }
            self.header_read += read;
        }
        self.header_read = 0;
        let header = Header::parse(self.header).filter(|header| header.packet_type == packet_type::PRELOGIN);
        let header = header.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no TLS handshake packet"))?;
        self.packet_left = usize::from(header.length) - HEADER_BYTES;
        Poll::Ready(Ok(true))
    }
}

impl AsyncRead for HandshakeStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_write_out(cx))?;
        if !this.wrapping {
            return Pin::new(&mut this.tcp).poll_read(cx, buf);
        }
        while this.packet_left == 0 {
            if !ready!(this.poll_header(cx))? {
                return Poll::Ready(Ok(()));
            }
        }
        let mut chunk = [0; 4096];
        let most = this.packet_left.min(buf.remaining()).min(chunk.len());
        let mut part = ReadBuf::new(&mut chunk[..most]);
        ready!(Pin::new(&mut this.tcp).poll_read(cx, &mut part))?;
        let read = part.filled().len();
        buf.put_slice(part.filled());
        this.packet_left -= read;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for HandshakeStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_write_out(cx))?;
        if !this.wrapping {
            return Pin::new(&mut this.tcp).poll_write(cx, buf);
        }
        let part = &buf[..buf.len().min(4096 - HEADER_BYTES)];
        let length = (part.len() + HEADER_BYTES) as u16;
        let header = Header { packet_type: packet_type::PRELOGIN, status: status::END_OF_MESSAGE, length };
        this.unwritten.extend_from_slice(&header.to_bytes(1));
        this.unwritten.extend_from_slice(part);
        match this.poll_write_out(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            // What could not be written yet goes out with the next read, write or flush.
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(part.len())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_write_out(cx))?;
        Pin::new(&mut this.tcp).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_write_out(cx))?;
        Pin::new(&mut this.tcp).poll_shutdown(cx)
    }
}
