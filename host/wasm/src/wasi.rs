//! WASI for the guests of toolchains that cannot do without it: there, and closed off.
//!
//! No files, no network, no environment, no arguments; the wall clock stands still at the start of the run, the monotonic
//! clock at zero; random numbers are the same in every run. What is written to standard output and standard error goes to the
//! guest's log. Waiting for a clock that stands still would be waiting for ever, so it ends the instance.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{DynPollable, OutputStream, Pollable, StreamResult};
use wasmtime_wasi::random::Deterministic;
use wasmtime_wasi::{HostMonotonicClock, HostWallClock, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

use crate::error::WasmError;
use crate::state::{GuestLog, StandardStream, State};

/// The packages that are served.
const PACKAGES: [&str; 6] =
    ["wasi:io/", "wasi:clocks/", "wasi:random/", "wasi:cli/", "wasi:filesystem/", "wasi:sockets/"];

/// The monotonic clock of the WASI version wasmtime-wasi serves.
const MONOTONIC_CLOCK: &str = "wasi:clocks/monotonic-clock@0.2.12";

/// Whether an import is part of the WASI that is served.
pub(crate) fn serves(import: &str) -> bool {
    PACKAGES.iter().any(|package| import.starts_with(package))
}

/// Adds the closed-off WASI.
pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    linker.allow_shadowing(true);
    let mut clock = linker.instance(MONOTONIC_CLOCK)?;
    for import in ["subscribe-instant", "subscribe-duration"] {
        clock.func_wrap(import, move |_, (_when,): (u64,)| -> wasmtime::Result<(Resource<DynPollable>,)> {
            Err(wasmtime::Error::new(WasmError::Wait { import }))
        })?;
    }
    linker.allow_shadowing(false);
    Ok(())
}

/// What WASI offers to one instance of a run that began at `started_at_micros`.
pub(crate) fn context(started_at_micros: i64, log: &GuestLog) -> WasiCtx {
    let now = Duration::from_micros(u64::try_from(started_at_micros).unwrap_or(0));
    WasiCtxBuilder::new()
        .stdout(LogStream { log: log.clone(), stream: StandardStream::Output })
        .stderr(LogStream { log: log.clone(), stream: StandardStream::Error })
        .wall_clock(Fixed(now))
        .monotonic_clock(Fixed(Duration::ZERO))
        .secure_random(Deterministic::new(SEED.to_vec()))
        .insecure_random(Deterministic::new(SEED.to_vec()))
        .insecure_random_seed(0)
        .allow_ip_name_lookup(false)
        .allow_tcp(false)
        .allow_udp(false)
        .build()
}

/// Any bytes will do, as long as they stay: guests use them to seed hash maps.
const SEED: [u8; 16] = [0x9e, 0x37, 0x79, 0xb9, 0x7f, 0x4a, 0x7c, 0x15, 0xbf, 0x58, 0x47, 0x6d, 0x1c, 0xe4, 0xe5, 0xb9];

/// A clock that stands still.
struct Fixed(Duration);

impl HostWallClock for Fixed {
    fn resolution(&self) -> Duration {
        Duration::from_micros(1)
    }

    fn now(&self) -> Duration {
        self.0
    }
}

impl HostMonotonicClock for Fixed {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        0
    }
}

/// How many bytes a guest may write at once.
const MAX_WRITE_BYTES: usize = 64 * 1024;

/// A standard stream of the guest. The log takes each write at once, so that all of it is there when the guest traps.
#[derive(Clone)]
struct LogStream {
    log: GuestLog,
    stream: StandardStream,
}

impl IsTerminal for LogStream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for LogStream {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Pollable for LogStream {
    async fn ready(&mut self) {}
}

impl OutputStream for LogStream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.log.write(self.stream, &bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(MAX_WRITE_BYTES)
    }
}

impl AsyncWrite for LogStream {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.log.write(self.stream, bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let started = self.session.as_ref().map_or(0, |session| session.run.started_at_micros);
        WasiCtxView { ctx: self.wasi.get_or_insert_with(|| context(started, &self.log)), table: &mut self.table }
    }
}

#[cfg(test)]
mod tests {
    use datakit_model::GuestLimits;

    use super::*;
    use crate::engine::engine;

    #[test]
    fn the_clock_whose_waits_end_the_instance_is_the_one_that_is_served() {
        let engine = engine(&GuestLimits::default()).unwrap();
        let mut linker: Linker<State> = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).unwrap();
        let mut clock = linker.instance(MONOTONIC_CLOCK).unwrap();
        let twice = clock.func_wrap("subscribe-instant", |_, (_,): (u64,)| Ok((0_u64,)));
        assert!(twice.is_err(), "{MONOTONIC_CLOCK} is not the version of this wasmtime-wasi");
    }

    #[test]
    fn only_known_packages_are_served() {
        assert!(serves("wasi:io/poll@0.2.0"));
        assert!(!serves("wasi:http/types@0.2.0"));
        assert!(!serves("wasi:iota/x@0.2.0"));
    }
}
