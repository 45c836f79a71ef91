//! The bytes of one file, as a reader for the thread that parses them.

use std::io::{self, Read};
use std::sync::Arc;

use bytes::{Buf as _, Bytes};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::csv::OpenQuote;
use super::document::Broken;
use super::error::FilesError;
use super::storage::OpenFile;
use datakit_connect::delivery::Closing;

/// What is asked for at one time. Of a store the next one is under way while one is parsed.
const CHUNK_BYTES: usize = 2 << 20;
const LOCAL_CHUNK_BYTES: usize = 256 << 10;

/// Reads a file from an offset to the end it had when it was opened. Errors are [`FilesError`]s within [`io::Error`]s: [`file_error`] takes them out.
pub(super) struct FileBytes {
    file: Arc<OpenFile>,
    offset: u64,
    chunk: Bytes,
    ahead: Option<JoinHandle<Result<Bytes, FilesError>>>,
    ended: bool,
    runtime: Handle,
    closing: Closing<FilesError>,
}

impl FileBytes {
    pub(super) fn new(file: Arc<OpenFile>, offset: u64, runtime: Handle, closing: Closing<FilesError>) -> Self {
        Self { file, offset, chunk: Bytes::new(), ahead: None, ended: false, runtime, closing }
    }

    /// The next chunk; none at the end.
    fn refill(&mut self) -> Result<(), FilesError> {
        if self.closing.is_closed() {
            return Err(dropped());
        }
        let length = match *self.file {
            OpenFile::Local(_) => LOCAL_CHUNK_BYTES,
            OpenFile::Remote(_) => CHUNK_BYTES,
        };
        self.chunk = match (self.ahead.take(), self.file.as_ref()) {
            (None, OpenFile::Local(_)) => self.runtime.block_on(self.file.read(self.offset, length))?,
            (ahead, _) => self.wait(ahead.unwrap_or_else(|| self.ask(self.offset, length)))?,
        };
        self.offset += self.chunk.len() as u64;
        self.ended = self.chunk.len() < length;
        if !self.ended && matches!(*self.file, OpenFile::Remote(_)) {
            self.ahead = Some(self.ask(self.offset, length));
        }
        Ok(())
    }

    fn ask(&self, offset: u64, length: usize) -> JoinHandle<Result<Bytes, FilesError>> {
        let file = Arc::clone(&self.file);
        self.runtime.spawn(async move { file.read(offset, length).await })
    }

    fn wait(&self, mut chunk: JoinHandle<Result<Bytes, FilesError>>) -> Result<Bytes, FilesError> {
        self.runtime.block_on(async {
            tokio::select! {
                read = &mut chunk => read.map_err(|crash| FilesError::Internal(crash.to_string()))?,
                () = self.closing.closed() => {
                    chunk.abort();
                    Err(dropped())
                }
            }
        })
    }
}

impl Drop for FileBytes {
    fn drop(&mut self) {
        if let Some(ahead) = self.ahead.take() {
            ahead.abort();
        }
    }
}

impl Read for FileBytes {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.chunk.is_empty() && !self.ended {
            self.refill().map_err(io::Error::other)?;
        }
        let count = into.len().min(self.chunk.len());
        self.chunk.copy_to_slice(&mut into[..count]);
        Ok(count)
    }
}

/// Nobody waits for the rows, so nobody reads this.
fn dropped() -> FilesError {
    FilesError::Internal("the reader of the rows is gone".to_owned())
}

/// Our own error, or what a decoder says of a broken file.
pub(super) fn file_error(path: &str, error: io::Error) -> FilesError {
    let path = || path.to_owned();
    let error = match error.downcast::<OpenQuote>() {
        Ok(OpenQuote { line, problem }) => return FilesError::OpenQuote { path: path(), line, problem },
        Err(error) => error,
    };
    let error = match error.downcast::<Broken>() {
        Ok(Broken { line, problem }) => return FilesError::BrokenDocument { path: path(), line, problem },
        Err(error) => error,
    };
    error
        .downcast::<FilesError>()
        .unwrap_or_else(|error| FilesError::Damaged { path: path(), reason: error.to_string() })
}
