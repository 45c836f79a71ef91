//! What every request works with: configuration, registry, cache, lock file, runtime.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use datakit_config::environment::{DATAKIT_CACHE, DOCKER_CONFIG, XDG_CACHE_HOME, XDG_DATA_HOME};
use datakit_config::{Config, Layers, Overrides, load};
use datakit_connect::config::ServerLimit;
use datakit_pipeline::{NoticeLevel, Observer, RunEvent};
use datakit_registry::{Cache, Location, LockFile, Registry, RegistryOptions};
use datakit_wasm::{Compilation, Datakit, Runtime, RuntimeConfig};
use tokio_util::sync::CancellationToken;

use crate::connectors::Connectors;
use crate::error::AppError;
use crate::reports::Reports;
use crate::secrets::Vaults;

const LOCK_FILE: &str = "datakits.lock";

/// Where the configuration of a [`Context`] comes from.
#[derive(Clone, Default)]
pub struct Settings {
    /// The warehouse file; none: `default_file`.
    pub file: Option<PathBuf>,
    /// The warehouse file that is read if `file` is none and this file exists.
    pub default_file: Option<PathBuf>,
    /// Replaces the registry of the configuration.
    pub registry: Option<String>,
    /// Reach the registry by plain HTTP.
    pub plain_http: bool,
    /// The environment that the configuration may use. The application reads no variable of the process, except that the Kerberos
    /// library reads its own.
    pub environment: BTreeMap<String, String>,
    /// The program that compiles and checks components with bounds ([`crate::bounded_work`]), usually `/proc/self/exe`; none:
    /// this process compiles and checks them without bounds, which is only for components that are trusted.
    pub bounded_program: Option<PathBuf>,
}

impl fmt::Debug for Settings {
    /// Of the environment the names alone: values are secrets, some of them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.environment.keys().collect();
        f.debug_struct("Settings")
            .field("file", &self.file)
            .field("default_file", &self.default_file)
            .field("registry", &self.registry)
            .field("plain_http", &self.plain_http)
            .field("environment", &names)
            .field("bounded_program", &self.bounded_program)
            .finish()
    }
}

/// What the requests of a process share: where the configuration comes from, who watches, and what ends the work.
pub struct Context {
    pub(crate) settings: Settings,
    pub(crate) stop: CancellationToken,
    pub(crate) vaults: Vaults,
    /// The bounds that connections to one server share, by its address.
    pub(crate) servers: Mutex<BTreeMap<String, ServerLimit>>,
    /// What protects servers from runs, by their addresses.
    pub(crate) protected: crate::protection::Servers,
    pub(crate) connectors: Connectors,
    observer: Arc<dyn Observer>,
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Context {
    /// A context. Nothing is read and nobody is contacted yet.
    ///
    /// `connectors` are those that the warehouse file may name. `observer` is told what happens. When `stop` is cancelled, work in progress ends: a run takes back what is not
    /// committed, everything else fails with [`AppError::Stopped`].
    #[must_use]
    pub fn new(
        settings: Settings,
        connectors: Connectors,
        observer: Arc<dyn Observer>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            settings,
            stop,
            vaults: Vaults::default(),
            servers: Mutex::default(),
            protected: Mutex::default(),
            connectors,
            observer,
        }
    }

    /// What ends the work.
    #[must_use]
    pub fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    pub(crate) fn observer(&self) -> &Arc<dyn Observer> {
        &self.observer
    }

    pub(crate) fn emit(&self, event: RunEvent) {
        self.observer.event(event);
    }

    pub(crate) fn warn(&self, text: &str) {
        self.emit(RunEvent::Notice { level: NoticeLevel::Warning, text: text.to_owned() });
    }

    pub(crate) fn note(&self, text: &str) {
        self.emit(RunEvent::Notice { level: NoticeLevel::Note, text: text.to_owned() });
    }

    /// The work's result, unless it is stopped first. For work that changes nothing half-way.
    pub(crate) fn unless_stopped<T>(
        &self,
        work: impl Future<Output = Result<T, Reports>>,
    ) -> impl Future<Output = Result<T, Reports>> {
        // Boxed: callers hold a small future, whose layout the compiler need not look into.
        let work = Box::pin(work);
        async move { self.stop.run_until_cancelled(work).await.unwrap_or_else(|| Err(AppError::Stopped.into())) }
    }

    /// The configuration. Its warnings and notes are emitted.
    pub(crate) fn config(&self, mut flags: Overrides) -> Result<Config, Reports> {
        flags.registry.clone_from(&self.settings.registry);
        flags.plain_http = self.settings.plain_http;
        let default = || self.settings.default_file.clone().filter(|path| path.exists());
        let file = self.settings.file.clone().or_else(default);
        let config =
            load(&Layers { file, environment: self.settings.environment.clone(), flags }, self.connectors.kinds())?;
        config.warnings.iter().for_each(|warning| self.warn(warning));
        config.notes.iter().for_each(|note| self.note(note));
        Ok(config)
    }

    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        self.settings.environment.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// A folder of the user's, by the XDG base directory specification.
    fn user_folder(&self, variable: &'static str, below_home: &str, what: &'static str) -> Result<PathBuf, AppError> {
        let base = match (self.variable(variable), self.variable("HOME")) {
            (Some(base), _) => PathBuf::from(base),
            (None, Some(home)) => Path::new(home).join(below_home),
            (None, None) => return Err(AppError::NoFolder { what, variable }),
        };
        Ok(base.join("datakit"))
    }

    fn cache_folder(&self, config: &Config) -> Result<PathBuf, AppError> {
        match &config.warehouse.cache {
            Some(folder) => Ok(folder.to_path_buf()),
            None => self.user_folder(XDG_CACHE_HOME, ".cache", "pulled datakits").map_err(|error| match error {
                AppError::NoFolder { what, .. } => AppError::NoFolder { what, variable: DATAKIT_CACHE },
                other => other,
            }),
        }
    }

    /// The registry of the configuration; without one, an OCI image layout among the user's data.
    pub(crate) fn registry(&self, config: &Config) -> Result<Registry, Reports> {
        let location: Location = match &config.warehouse.registry {
            Some(location) => location.parse()?,
            None => Location::Layout(
                self.user_folder(XDG_DATA_HOME, ".local/share", "published datakits")?.join("registry"),
            ),
        };
        let docker_config = match (self.variable(DOCKER_CONFIG), self.variable("HOME")) {
            (Some(folder), _) => Some(Path::new(folder).join("config.json")),
            (None, Some(home)) => Some(Path::new(home).join(".docker/config.json")),
            (None, None) => None,
        };
        let options = RegistryOptions {
            plain_http: config.warehouse.plain_http,
            docker_config,
            max_component_bytes: config.limits.guest.max_component_bytes,
            ..RegistryOptions::default()
        };
        Ok(Registry::open(location, &options)?)
    }

    pub(crate) fn cache(&self, config: &Config) -> Result<Cache, Reports> {
        Ok(Cache::new(self.cache_folder(config)?))
    }

    /// The lock file: beside the warehouse file, else in the working directory.
    pub(crate) fn lock_path(&self, config: &Config) -> PathBuf {
        config.file.as_deref().and_then(Path::parent).unwrap_or(Path::new("")).join(LOCK_FILE)
    }

    pub(crate) fn lock(&self, config: &Config) -> Result<Option<LockFile>, Reports> {
        Ok(LockFile::load(&self.lock_path(config))?)
    }

    /// Loads a component. While it is compiled, observers are told so under the `name` that the request has for it.
    pub(crate) async fn load(
        &self,
        config: &Config,
        name: &str,
        component: Vec<u8>,
        digest: &str,
    ) -> Result<Datakit, Reports> {
        let observe = |compilation| {
            let datakit = name.to_owned();
            self.emit(match compilation {
                Compilation::Begun { bytes } => RunEvent::Compiling { datakit, bytes },
                Compilation::Ended { bytes, elapsed } => {
                    let elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
                    RunEvent::Compiled { datakit, bytes, elapsed_ms }
                }
            });
        };
        Ok(self.runtime(config)?.load_observed(component, digest, observe).await?)
    }

    /// The engine that runs datakits.
    pub(crate) fn runtime(&self, config: &Config) -> Result<Runtime, Reports> {
        let code_cache = Some(self.cache_folder(config)?.join("code"));
        let bounded_program = self.settings.bounded_program.clone();
        Ok(Runtime::new(RuntimeConfig { limits: config.limits.guest.clone(), code_cache, bounded_program })?)
    }
}
