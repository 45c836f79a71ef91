//! What an object store or a file system says, as an error of ours.

use std::error::Error;
use std::io;

use datakit_connect::sink::SinkError;

/// An error of the object store.
pub(crate) fn storage_error(action: &'static str, location: &str, error: object_store::Error) -> SinkError {
    classify(action, location, Box::new(error))
}

/// An error of the file system.
pub(crate) fn io_error(action: &'static str, location: &str, error: io::Error) -> SinkError {
    classify(action, location, Box::new(error))
}

/// An error whose causes may hold one of the file system.
pub(crate) fn classify(action: &'static str, location: &str, source: Box<dyn Error + Send + Sync>) -> SinkError {
    if let Some(failure) = datakit_stores::failure_of(source.as_ref()) {
        return failure.clone().into();
    }
    let location = location.to_owned();
    match system_error(source.as_ref()) {
        Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge) => {
            SinkError::Full { location, source }
        }
        Some(io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem) => {
            SinkError::Forbidden { location, source }
        }
        found => {
            let lasts = found.map_or_else(|| is_lasting_in_a_store(source.as_ref()), is_lasting);
            let transient = !lasts;
            SinkError::Storage { action, location, transient, source }
        }
    }
}

/// Whether the system says the same however often it is asked: something is in the way, or the path is no path. A folder that is
/// missing is not among them: another run that gives up may have removed it.
fn is_lasting(found: io::ErrorKind) -> bool {
    use io::ErrorKind as K;
    matches!(
        found,
        K::NotADirectory
            | K::IsADirectory
            | K::AlreadyExists
            | K::InvalidFilename
            | K::InvalidInput
            | K::Unsupported
            | K::NotSeekable
    )
}

/// The same of an object store: no such bucket, no such name, a request that it does not know.
fn is_lasting_in_a_store(error: &(dyn Error + 'static)) -> bool {
    use object_store::Error as E;
    let mut next = Some(error);
    while let Some(error) = next {
        match error.downcast_ref::<E>() {
            Some(
                E::NotFound { .. }
                | E::InvalidPath { .. }
                | E::NotSupported { .. }
                | E::NotImplemented { .. }
                | E::UnknownConfigurationKey { .. },
            ) => return true,
            _ => next = error.source(),
        }
    }
    false
}

/// What the system said, below all that libraries put around it.
pub(crate) fn system_error(error: &(dyn Error + 'static)) -> Option<io::ErrorKind> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<io::Error>()
            && io.raw_os_error().is_some()
        {
            return Some(io.kind());
        }
        let store = error.downcast_ref::<object_store::Error>();
        if matches!(
            store,
            Some(object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. })
        ) {
            return Some(io::ErrorKind::PermissionDenied);
        }
        next = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use datakit_model::{Diagnostic, Failure, Retry};

    use super::*;

    fn error(os_error: i32) -> SinkError {
        let io = io::Error::from_raw_os_error(os_error);
        let error = object_store::Error::Generic { store: "LocalFileSystem", source: Box::new(io) };
        storage_error("write to", "/data", error)
    }

    fn code(os_error: i32) -> String {
        error(os_error).code().into_owned()
    }

    #[test]
    fn what_lasts_is_not_tried_again() {
        let lasting = [13, 17, 20, 21, 28, 30, 36].map(|os_error| error(os_error).retry());
        assert_eq!(lasting, [Retry::Never; 7], "EACCES, EEXIST, ENOTDIR, EISDIR, ENOSPC, EROFS, ENAMETOOLONG");
        let passing = [2, 4, 5, 11, 110].map(|os_error| error(os_error).retry());
        assert_eq!(passing, [Retry::AfterBackoff; 5], "ENOENT, EINTR, EIO, EAGAIN, ETIMEDOUT");
        let source = || Box::from("403");
        let (path, store) = (String::from("t"), "S3");
        let refused = object_store::Error::Unauthenticated { path: path.clone(), source: source() };
        assert_eq!(storage_error("write to", "s3://b", refused).code(), "DK-SNK-013");
        let no_bucket = object_store::Error::NotFound { path, source: source() };
        assert_eq!(storage_error("write to", "s3://b", no_bucket).retry(), Retry::Never);
        let busy = object_store::Error::Generic { store, source: source() };
        assert_eq!(storage_error("write to", "s3://b", busy).retry(), Retry::AfterBackoff);
    }

    #[test]
    fn the_system_s_reason_is_found_below_the_store_s() {
        assert_eq!(code(28), "DK-SNK-012", "ENOSPC");
        assert_eq!(code(122), "DK-SNK-012", "EDQUOT");
        assert_eq!(code(13), "DK-SNK-013", "EACCES");
        assert_eq!(code(30), "DK-SNK-013", "EROFS");
        assert_eq!(code(5), "DK-SNK-014", "EIO");
    }

    #[test]
    fn page_about_retries_says_of_system_errors_what_is_done() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../docs/retry.md");
        let page = std::fs::read_to_string(page).unwrap();
        let (_, section) = page.split_once("## Errors of the file system").unwrap();
        let section = section.split("\n## ").next().unwrap();
        let mut rows = 0;
        for row in section.lines().filter(|line| line.starts_with("| `E")) {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            let (_, number) = cells[1].split_once("` ").unwrap();
            let nature = format!("{:?}", Failure::from(error(number.parse().unwrap())).nature()).to_lowercase();
            assert_eq!(cells[2], nature, "{row}");
            rows += 1;
        }
        assert!(rows >= 10, "{rows} rows");
    }
}
