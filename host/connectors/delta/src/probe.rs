//! Whether a table could be written, found out without writing one; and, where asked for, whether two at once are kept apart.
//!
//! On a file system a file without a name, which goes with its handle. In an object store the beginning of a write that is
//! never completed: no object comes to be, and in a bucket with versions no version (docs/decisions/0093).

use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;

use datakit_stores::StoreOptions;
use futures::StreamExt as _;
use object_store::path::Path as StorePath;
use object_store::{ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, UpdateVersion};
use url::Url;
use uuid::Uuid;

use super::config::Root;
use super::stores;
use crate::storage::{io_error, storage_error};
use datakit_connect::sink::SinkError;

/// Enough for a file system to need a block, and so to notice that there is none.
const PROBE_BYTES: usize = 4096;

/// An entity tag that no object has.
const NO_ETAG: &str = "\"0x0000000000000000\"";

/// Whether the place answers and may be looked into. A file system always answers.
pub(crate) async fn reach(root: &Root, options: &StoreOptions) -> Result<(), SinkError> {
    let Root::Store(url, _) = root else { return Ok(()) };
    let (store, prefix) = open(url, options)?;
    let failed = |error| storage_error("list", url.as_str(), error);
    store.list(Some(&prefix)).next().await.transpose().map(drop).map_err(failed)
}

/// Whether it may be written to.
pub(crate) async fn write(root: &Root, options: &StoreOptions) -> Result<(), SinkError> {
    match root {
        Root::Local(path) => {
            let (path, location) = (path.clone(), root.to_string());
            let probing = tokio::task::spawn_blocking(move || write_file(&path));
            let written = probing.await.unwrap_or_else(|error| Err(io::Error::other(error)));
            written.map_err(|error| io_error("write to", &location, error))
        }
        Root::Store(url, _) => {
            let (store, prefix) = open(url, options)?;
            let object = prefix.join(format!(".datakit-probe-{}", Uuid::new_v4()));
            let begun =
                if url.scheme() == "s3" { begin_upload(&store, &object).await } else { replace(&store, &object).await };
            begun.map_err(|error| storage_error("write to", url.as_str(), error))
        }
    }
}

/// Whether the store refuses to write an object that is there, when asked to write it only where there is none.
pub(crate) async fn conditions(root: &Root, options: &StoreOptions) -> Result<(), SinkError> {
    let Root::Store(url, _) = root else { return Ok(()) };
    let (store, prefix) = open(url, options)?;
    let object = prefix.join(format!(".datakit-probe-{}", Uuid::new_v4()));
    let outcome = write_twice(&store, &object).await;
    if let Err(error) = store.delete(&object).await {
        tracing::warn!(location = %root, %object, %error, "cannot delete the object of a probe");
    }
    match outcome {
        Ok(true) => Ok(()),
        Ok(false) => Err(SinkError::Unconditional { location: root.to_string() }),
        Err(error) => Err(storage_error("write to", url.as_str(), error)),
    }
}

/// Whether the second write was refused.
async fn write_twice(store: &Arc<dyn ObjectStore>, object: &StorePath) -> object_store::Result<bool> {
    let create = || store.put_opts(object, "datakit".into(), PutOptions::from(PutMode::Create));
    create().await?;
    match create().await {
        Ok(_) => Ok(false),
        Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => Ok(true),
        Err(error) => Err(error),
    }
}

fn write_file(root: &Path) -> io::Result<()> {
    // What is not there yet is made by a run.
    let is_missing = |path: &Path| matches!(path.metadata(), Err(error) if error.kind() == io::ErrorKind::NotFound);
    let folder = root.ancestors().find(|path| !is_missing(path)).unwrap_or(root);
    if !folder.metadata()?.is_dir() {
        return Err(io::Error::from_raw_os_error(NOT_A_DIRECTORY));
    }
    let mut file = tempfile::tempfile_in(folder)?;
    file.write_all(&[0; PROBE_BYTES])?;
    file.sync_all()
}

/// ENOTDIR, on every Unix this runs on.
const NOT_A_DIRECTORY: i32 = 20;

/// The store with a short timeout, and the path of the root in it.
fn open(url: &Url, options: &StoreOptions) -> Result<(Arc<dyn ObjectStore>, StorePath), SinkError> {
    let refuse = |reason: String| SinkError::Uri { uri: url.to_string(), reason };
    let store = stores::open_with_short_timeout(url, options).map_err(|error| refuse(error.to_string()))?;
    let prefix = StorePath::from_url_path(url.path()).map_err(|error| refuse(error.to_string()))?;
    Ok((store, prefix))
}

/// S3: an upload in parts, given up before its first part.
async fn begin_upload(store: &Arc<dyn ObjectStore>, object: &StorePath) -> object_store::Result<()> {
    store.put_multipart(object).await?.abort().await
}

/// Azure, where an upload begins with its first part and cannot be given up: the replacement of an object that is not there,
/// which is refused for that alone by a store that would let us write.
async fn replace(store: &Arc<dyn ObjectStore>, object: &StorePath) -> object_store::Result<()> {
    let version = UpdateVersion { e_tag: Some(NO_ETAG.to_owned()), version: None };
    let options = PutOptions::from(PutMode::Update(version));
    match store.put_opts(object, Vec::new().into(), options).await {
        Err(object_store::Error::Precondition { .. }) => Ok(()),
        Err(error) => Err(error),
        // A store that does not heed conditions: what it has made goes again.
        Ok(_) => store.delete(object).await,
    }
}

#[cfg(test)]
mod tests {
    use datakit_model::Diagnostic as _;

    use super::*;

    async fn code(path: &Path) -> Option<String> {
        let root = Root::parse(path.to_str().unwrap(), &StoreOptions::default()).unwrap();
        write(&root, &StoreOptions::default()).await.err().map(|error| error.code().into_owned())
    }

    #[tokio::test]
    async fn a_probe_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(code(folder.path()).await, None);
        assert_eq!(code(&folder.path().join("a/b/c")).await, None);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_file_in_the_way_is_reported() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("bronze");
        std::fs::write(&file, "").unwrap();
        assert_eq!(code(&file).await.as_deref(), Some("DK-SNK-014"));
        assert_eq!(code(&file.join("below")).await.as_deref(), Some("DK-SNK-014"));
        assert_eq!(code(Path::new("/proc/nothing/here")).await.as_deref(), Some("DK-SNK-014"));
    }

    /// What a GET of the store's own address answers; moto asks for no signature.
    fn get(endpoint: &str, path: &str) -> String {
        use std::io::Read as _;
        let address = endpoint.strip_prefix("http://").unwrap();
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// One request and its answer, without the header that makes a write conditional: a store as those were before 2024.
    fn forward_without_condition(mut client: std::net::TcpStream, upstream: &str) -> io::Result<()> {
        use std::io::Read as _;
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            client.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let is = |line: &str, name: &str| line.to_ascii_lowercase().starts_with(&format!("{name}:"));
        let length =
            head.lines().find(|line| is(line, "content-length")).and_then(|line| line[15..].trim().parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        client.read_exact(&mut body)?;
        let kept =
            head.lines().filter(|line| !line.is_empty() && !is(line, "if-none-match") && !is(line, "connection"));
        let kept = kept.collect::<Vec<_>>().join("\r\n");
        let mut server = std::net::TcpStream::connect(upstream)?;
        server.write_all(format!("{kept}\r\nConnection: close\r\n\r\n").as_bytes())?;
        server.write_all(&body)?;
        io::copy(&mut server, &mut client).map(drop)
    }

    /// The address of a proxy that takes the condition out of every request.
    fn unconditional(upstream: String) -> String {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let upstream = upstream.clone();
                std::thread::spawn(move || forward_without_condition(client, &upstream));
            }
        });
        address
    }

    #[tokio::test]
    async fn store_that_ignores_conditions_is_noticed_and_no_object_is_left() {
        use datakit_stores::testing::ObjectStoreServer;
        let server = ObjectStoreServer::s3().unwrap();
        let (_, endpoint) = server.environment().iter().find(|(name, _)| name == "AWS_ENDPOINT_URL").unwrap();
        let proxy = unconditional(endpoint.strip_prefix("http://").unwrap().to_owned());
        let ignoring: StoreOptions = server
            .environment()
            .iter()
            .map(|(name, value)| {
                let value = if name == "AWS_ENDPOINT_URL" { &proxy } else { value };
                (name.clone(), datakit_model::Secret::new(value.clone()))
            })
            .collect();
        for (options, code) in [(server.options(), None), (ignoring, Some("DK-SNK-037"))] {
            let root = Root::parse(server.uri(), &options).unwrap();
            let error = conditions(&root, &options).await.err();
            assert_eq!(error.as_ref().map(|error| error.code().into_owned()).as_deref(), code, "{error:?}");
            let Root::Store(_, store) = &root else { panic!("no store") };
            assert_eq!(store.list(None).count().await, 0);
        }
    }

    #[tokio::test]
    async fn a_probe_of_s3_leaves_no_object_and_no_upload() {
        use datakit_stores::testing::ObjectStoreServer;
        let server = ObjectStoreServer::s3().unwrap();
        let root = Root::parse(server.uri(), &server.options()).unwrap();
        reach(&root, &server.options()).await.unwrap();
        write(&root, &server.options()).await.unwrap();
        let Root::Store(_, store) = &root else { panic!("no store") };
        assert_eq!(store.list(None).count().await, 0);
        let (_, endpoint) = server.environment().iter().find(|(name, _)| name == "AWS_ENDPOINT_URL").unwrap();
        let uploads = get(endpoint, "/lake?uploads");
        assert!(uploads.contains("ListMultipartUploadsResult") && !uploads.contains("<UploadId>"), "{uploads}");
    }
}
