//! A fake SQL Server with a database, for tests of one source.

use std::sync::Arc;

use datakit_fake_sqlserver::sql::{SqlEngine, SqlEngineOptions};
use datakit_fake_sqlserver::{FakeSqlServer, Options, Running};
use datakit_model::Secret;
use datakit_sqlserver::{Encrypt, ReaderKind, SqlServerConfig, SqlServerSource};

pub struct World {
    pub running: Running,
    pub engine: SqlEngine,
}

impl World {
    /// The default fake SQL Server, with this script run.
    pub fn of(script: &str) -> Self {
        Self::start(Options::default(), SqlEngineOptions::default(), script)
    }

    pub fn start(options: Options, engine: SqlEngineOptions, script: &str) -> Self {
        let engine = SqlEngine::open(engine).unwrap();
        engine.run_script(script).unwrap();
        let running = FakeSqlServer::start(options, Arc::new(engine.clone())).unwrap();
        Self { running, engine }
    }

    /// How to reach it, with its certificate pinned where the driver can pin.
    pub fn config(&self, reader: ReaderKind) -> SqlServerConfig {
        let options = Options::default();
        let password = Secret::new(options.password);
        let mut config = SqlServerConfig::new("localhost", self.engine.database(), options.user, password);
        config.port = self.running.port();
        config.reader = reader;
        match reader {
            ReaderKind::MssqlTds => config.certificate_file = Some(self.running.certificate_pem_path().to_owned()),
            ReaderKind::Tiberius => config.trust_certificate = true,
        }
        config
    }

    pub fn source(&self, reader: ReaderKind) -> SqlServerSource {
        SqlServerSource::new(self.config(reader)).unwrap()
    }

    /// A source with a change to its configuration.
    pub fn source_with(&self, reader: ReaderKind, change: impl FnOnce(&mut SqlServerConfig)) -> SqlServerSource {
        let mut config = self.config(reader);
        change(&mut config);
        SqlServerSource::new(config).unwrap()
    }
}

/// Neither TLS nor a pin.
pub fn in_clear_text(config: &mut SqlServerConfig) {
    config.encrypt = Encrypt::Off;
    config.certificate_file = None;
    config.trust_certificate = false;
}
