//! Logs in object stores.
//!
//! A commit is one conditional write of the log's next file (`If-None-Match: *`), which S3 and Azure decide atomically:
//! no lock table beside the store is needed, and of two writers at once one wins (docs/decisions/0064).

use std::sync::{Arc, OnceLock};

use datakit_stores::{SCHEMES, StoreOptions};
use deltalake::DeltaResult;
use deltalake::logstore::{
    LogStore, LogStoreFactory, ObjectStoreRef, StorageConfig, default_logstore, logstore_factories,
};
use url::Url;

/// A client of the bucket or container that the URL names. Contacts nothing.
pub(crate) fn open(url: &Url, options: &StoreOptions) -> object_store::Result<ObjectStoreRef> {
    register();
    datakit_stores::open(url, options)
}

/// The same, to find out whether it answers: without minutes of attempts.
pub(crate) fn open_with_short_timeout(url: &Url, options: &StoreOptions) -> object_store::Result<ObjectStoreRef> {
    register();
    datakit_stores::open_with_short_timeout(url, options)
}

/// Tells the Delta library that logs under these schemes are written by conditional writes.
fn register() {
    static REGISTERED: OnceLock<()> = OnceLock::new();
    REGISTERED.get_or_init(|| {
        for scheme in SCHEMES {
            if let Ok(url) = Url::parse(&format!("{scheme}://")) {
                logstore_factories().insert(url, Arc::new(ConditionalWrites));
            }
        }
    });
}

struct ConditionalWrites;

impl LogStoreFactory for ConditionalWrites {
    fn with_options(
        &self,
        prefixed_store: ObjectStoreRef,
        root_store: ObjectStoreRef,
        location: &Url,
        options: &StorageConfig,
    ) -> DeltaResult<Arc<dyn LogStore>> {
        Ok(default_logstore(prefixed_store, root_store, location, options))
    }
}
