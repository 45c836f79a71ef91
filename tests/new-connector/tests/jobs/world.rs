//! A folder with a registry, a warehouse file and a Delta sink, a logbook server, and the application with one connector more.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::util::display::array_value_to_string;
use datakit_app::{Connectors, Context, Settings, publish};
use datakit_new_connector::Logbook;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::server::{LogbookServer, PASSWORD};

/// Every connector of the product, and the new one.
pub fn connectors() -> Connectors {
    let mut all = datakit_connectors::all();
    all.push(Arc::new(Logbook));
    Connectors::new(all)
}

/// The application with these connectors.
pub fn context(file: Option<PathBuf>, environment: BTreeMap<String, String>) -> Context {
    let settings = Settings { file, environment, ..Settings::default() };
    Context::new(settings, connectors(), Arc::new(()), CancellationToken::new())
}

/// Everything one test needs; gone when dropped.
pub struct World {
    folder: TempDir,
    /// The server behind the connection `bridge`.
    pub server: LogbookServer,
}

impl World {
    /// A world whose warehouse file reads every book into Delta at `./bronze`.
    pub async fn new() -> Self {
        let world = Self { folder: tempfile::tempdir().unwrap(), server: LogbookServer::start().await };
        let port = world.server.port();
        let text = format!(
            "[warehouse]\nname = \"test\"\nregistry = \"oci:registry\"\n\n\
             [connections.bridge]\nkind = \"logbook\"\nsource_system = \"BRIDGE\"\nhost = \"127.0.0.1\"\nport = {port}\n\
             password = {{ env = \"LOGBOOK_PASSWORD\" }}\n\n\
             [sinks.bronze]\nkind = \"delta\"\nuri = \"./bronze\"\n\n\
             [[ingest]]\ndatakit = \"logbook-bronze@0.1.0\"\nroles = {{ source = \"bridge\" }}\nsink = \"bronze\"\n\
             mode = \"append\"\ntables = [\"logbook.*\"]\n"
        );
        std::fs::write(world.file(), text).unwrap();
        world
    }

    /// The same, with the datakit published.
    pub async fn with_datakit() -> Self {
        let world = Self::new().await;
        let component = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/datakits/logbook-bronze.wasm");
        assert!(component.exists(), "{} is not built: run `cargo xtask build-datakits`", component.display());
        let published = publish(&world.context(), &component).await.unwrap();
        assert_eq!((published.name.as_str(), published.version.as_str()), ("logbook-bronze", "0.1.0"));
        world
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("warehouse.toml")
    }

    /// Changes the warehouse file, and gives the line of the change, from 1.
    pub fn edit(&self, from: &str, to: &str) -> usize {
        let text = std::fs::read_to_string(self.file()).unwrap();
        let (before, _) = text.split_once(from).unwrap_or_else(|| panic!("no `{from}` in\n{text}"));
        std::fs::write(self.file(), text.replacen(from, to, 1)).unwrap();
        before.lines().count() + 1
    }

    /// The application in this world.
    pub fn context(&self) -> Context {
        self.context_with_password(PASSWORD)
    }

    /// The same with another password in the variable that the warehouse file names.
    pub fn context_with_password(&self, password: &str) -> Context {
        let home = self.folder.path().display().to_string();
        let environment = [("HOME", home.as_str()), ("LOGBOOK_PASSWORD", password)];
        context(Some(self.file()), environment.map(|(name, value)| (name.to_owned(), value.to_owned())).into())
    }

    /// Whether nothing was ever written to the sink but records of runs.
    pub fn nothing_written(&self) -> bool {
        let entries = std::fs::read_dir(self.folder.path().join("bronze")).into_iter().flatten();
        entries.map(|entry| entry.unwrap().file_name()).all(|name| name == "_datakit" || name == "datakit")
    }

    /// The rows of a book in the sink, as text, sorted by their first column. Only these columns.
    pub fn rows(&self, book: &str, columns: &[&str]) -> Vec<Vec<String>> {
        let folder = self.folder.path().join("bronze/BRIDGE/logbook").join(book);
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let files = files.filter(|path| path.extension().is_some_and(|extension| extension == "parquet"));
        let mut rows: Vec<Vec<String>> =
            files.flat_map(|file| batches(&file)).flat_map(|b| texts(&b, columns)).collect();
        rows.sort();
        rows
    }
}

fn batches(file: &Path) -> Vec<RecordBatch> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(file).unwrap()).unwrap();
    reader.build().unwrap().map(|batch| batch.unwrap()).collect()
}

/// Each row as text; null is empty.
pub fn texts(batch: &RecordBatch, columns: &[&str]) -> Vec<Vec<String>> {
    let text = |name: &&str, row| array_value_to_string(batch.column_by_name(name).unwrap(), row).unwrap();
    (0..batch.num_rows()).map(|row| columns.iter().map(|name| text(name, row)).collect()).collect()
}
