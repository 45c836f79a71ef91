//! From a component's bytes to a datakit.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use datakit_model::GuestLimits;
use sha2::{Digest as _, Sha256};
use wasmtime::Engine;
use wasmtime::component::{Component, Linker};

use crate::bounded::Place;
use crate::cache::CodeCache;
use crate::datakit::Datakit;
use crate::engine::{Ticker, engine};
use crate::error::{Limit, WasmError};
use crate::state::State;
use crate::text::Text;
use crate::v0_2::{self, ExportsPre};
use crate::{Call, bounded, cache, inspect, wasi};

/// How to run datakits.
#[derive(Debug, Clone, Default)]
pub struct RuntimeConfig {
    /// What a datakit's instance may use.
    pub limits: GuestLimits,
    /// Where compiled code is kept; none: compiled anew every time. The directory must be the user's own: code in it is
    /// executed.
    pub code_cache: Option<PathBuf>,
    /// The program that compiles and checks schemas in a process of its own, started with [`crate::bounded::ARGUMENT`]; none:
    /// this process does, without bounds.
    pub bounded_program: Option<PathBuf>,
}

/// What happens while a component is compiled, which takes half a minute for one of 20 MB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compilation {
    /// It begins.
    Begun {
        /// The component's size.
        bytes: u64,
    },
    /// The component is compiled.
    Ended {
        /// The component's size.
        bytes: u64,
        /// How long it took.
        elapsed: Duration,
    },
}

/// Compiles and runs datakits. Cheap to clone.
#[derive(Clone)]
pub struct Runtime(Arc<Inner>);

struct Inner {
    engine: Engine,
    ticker: Arc<Ticker>,
    limits: Arc<GuestLimits>,
    cache: Option<CodeCache>,
    place: Place,
    linker: Linker<State>,
    linker_with_wasi: Linker<State>,
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime").field("limits", &self.0.limits).finish_non_exhaustive()
    }
}

impl Runtime {
    /// An engine under these limits.
    ///
    /// # Errors
    /// [`WasmError::Engine`] when this machine cannot run it, or a limit cannot be met.
    pub fn new(config: RuntimeConfig) -> Result<Self, WasmError> {
        let engine = engine(&config.limits)?;
        let failed = |error: wasmtime::Error| WasmError::Engine { reason: format!("{error:#}") };
        let mut linker = Linker::new(&engine);
        v0_2::add_to_linker(&mut linker).map_err(failed)?;
        let mut linker_with_wasi = linker.clone();
        wasi::add_to_linker(&mut linker_with_wasi).map_err(failed)?;
        Ok(Self(Arc::new(Inner {
            ticker: Arc::new(Ticker::start(&engine)?),
            cache: config.code_cache.map(|directory| CodeCache::new(directory, &engine)),
            place: config.bounded_program.map_or(Place::Here, Place::Process),
            engine,
            limits: Arc::new(config.limits),
            linker,
            linker_with_wasi,
        })))
    }

    /// [`Self::load_observed`], observed by nobody.
    ///
    /// # Errors
    /// As there.
    pub async fn load(&self, component: impl Into<Vec<u8>>, digest: &str) -> Result<Datakit, WasmError> {
        self.load_observed(component, digest, |_| ()).await
    }

    /// Compiles a component, or takes its code from the cache, and checks that it is a datakit. `digest` is that of
    /// these bytes, `sha256:` and 64 hexadecimal digits; it is verified. `observe` is told when a compilation begins and
    /// ends; of code from the cache it is told nothing.
    ///
    /// # Errors
    /// Bytes that are no datakit of a version this host serves, or not those of the digest.
    pub async fn load_observed(
        &self,
        component: impl Into<Vec<u8>>,
        digest: &str,
        observe: impl Fn(Compilation) + Send,
    ) -> Result<Datakit, WasmError> {
        let (runtime, component, digest) = (Arc::clone(&self.0), component.into(), digest.to_owned());
        // Hashing and reading files takes some milliseconds for a large component.
        let (component, digest, found) = off_thread(&self.0, move |inner| {
            inner.check(&component, &digest)?;
            let found = inner.cache.as_ref().and_then(|cache| cache.find(&inner.engine, &digest));
            Ok((component, digest, found))
        })
        .await?;
        if let Some(found) = found {
            return off_thread(&self.0, move |inner| inner.link(&found, digest)).await;
        }
        let (bytes, begin) = (component.len() as u64, Instant::now());
        observe(Compilation::Begun { bytes });
        let code = bounded::compile(&runtime.place, &runtime.limits, component).await?;
        observe(Compilation::Ended { bytes, elapsed: begin.elapsed() });
        off_thread(&self.0, move |inner| {
            let component = cache::deserialize_own(&inner.engine, &code)
                .map_err(|error| WasmError::Engine { reason: format!("compiled code does not load: {error:#}") })?;
            if let Some(cache) = &inner.cache {
                cache.keep(&digest, &code);
            }
            inner.link(&component, digest)
        })
        .await
    }

    /// Whether a component is valid WebAssembly, found out where its bytes can use little. [`Self::load`] finds the same out by compiling.
    ///
    /// # Errors
    /// Bytes that are no valid component; a component that takes too much to validate.
    pub async fn validate(&self, component: impl Into<Vec<u8>>) -> Result<(), WasmError> {
        bounded::validate(&self.0.place, &self.0.limits, component.into()).await
    }
}

/// Runs what blocks.
async fn off_thread<T: Send + 'static>(
    inner: &Arc<Inner>,
    work: impl FnOnce(&Arc<Inner>) -> Result<T, WasmError> + Send + 'static,
) -> Result<T, WasmError> {
    let inner = Arc::clone(inner);
    tokio::task::spawn_blocking(move || work(&inner))
        .await
        .map_err(|error| WasmError::Engine { reason: format!("loading was cut off: {error}") })?
}

impl Inner {
    /// What can be known of the bytes without compiling them.
    fn check(&self, bytes: &[u8], digest: &str) -> Result<(), WasmError> {
        let (size, max) = (bytes.len() as u64, self.limits.max_component_bytes);
        if size > max {
            let what = format!("the component has {size} bytes");
            return Err(WasmError::over(Limit::ComponentBytes, max, what, Call::Instantiate));
        }
        let found = format!("sha256:{}", hex::encode(Sha256::digest(bytes)));
        if found != digest {
            return Err(WasmError::Digest { expected: digest.to_owned(), found });
        }
        inspect::header(bytes)
    }

    /// Checks that a component is a datakit, and links it.
    fn link(&self, component: &Component, digest: String) -> Result<Datakit, WasmError> {
        let needs = inspect::names(&self.engine, component)?;
        let linker = if needs.wasi { &self.linker_with_wasi } else { &self.linker };
        let misfit = |error: wasmtime::Error| WasmError::Misfit { reason: reported(&error) };
        let linked = linker.instantiate_pre(component).map_err(misfit)?;
        let linked = ExportsPre::new(linked).map_err(misfit)?;
        Ok(Datakit::new(linked, Arc::clone(&self.ticker), Arc::clone(&self.limits), self.place.clone(), digest))
    }
}

/// What wasmtime says of a component may hold names of the component.
fn reported(error: &wasmtime::Error) -> String {
    Text::message(&format!("{error:#}")).into_inner()
}
