//! What an object store or a file system says, as an error of ours.

use std::error::Error;
use std::io;

use crate::error::SinkError;

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
        _ => SinkError::Storage { action, location, source },
    }
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
        if matches!(error.downcast_ref::<object_store::Error>(), Some(object_store::Error::PermissionDenied { .. })) {
            return Some(io::ErrorKind::PermissionDenied);
        }
        next = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use datakit_model::Coded;

    use super::*;

    fn code(os_error: i32) -> String {
        let io = io::Error::from_raw_os_error(os_error);
        let error = object_store::Error::Generic { store: "LocalFileSystem", source: Box::new(io) };
        storage_error("write to", "/data", error).code().into_owned()
    }

    #[test]
    fn the_system_s_reason_is_found_below_the_store_s() {
        assert_eq!(code(28), "DK-SNK-012", "ENOSPC");
        assert_eq!(code(122), "DK-SNK-012", "EDQUOT");
        assert_eq!(code(13), "DK-SNK-013", "EACCES");
        assert_eq!(code(30), "DK-SNK-013", "EROFS");
        assert_eq!(code(5), "DK-SNK-014", "EIO");
    }
}
