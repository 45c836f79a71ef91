//! A store whose settings are in a vault: its client is made when it is first used.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use tokio::sync::OnceCell;
use url::Url;

use crate::{Client, StoreOptions};

/// Clones share the client.
#[derive(Debug, Clone)]
pub(crate) struct LazyStore(Arc<Lazy>);

#[derive(Debug)]
struct Lazy {
    url: Url,
    options: StoreOptions,
    client: Client,
    store: OnceCell<Arc<dyn ObjectStore>>,
}

impl LazyStore {
    pub(crate) fn new(url: &Url, options: &StoreOptions, client: Client) -> Self {
        Self(Arc::new(Lazy { url: url.clone(), options: options.clone(), client, store: OnceCell::new() }))
    }

    /// The client. What could not be fetched is asked for again the next time.
    async fn store(&self) -> Result<&Arc<dyn ObjectStore>> {
        let Lazy { url, options, client, store } = self.0.as_ref();
        store
            .get_or_try_init(|| async {
                let options = options.clone();
                let options = tokio::task::spawn_blocking(move || options.fetched()).await?;
                // The failure keeps its code: `failure_of` finds it.
                let options =
                    options.map_err(|failure| Error::Generic { store: "vault", source: Box::new(failure) })?;
                crate::open_with(url, &options, client.clone())
            })
            .await
    }

    /// A stream of the client's, which is made with the first item.
    fn stream<T: Send + 'static>(
        &self,
        of: impl FnOnce(&Arc<dyn ObjectStore>) -> BoxStream<'static, Result<T>> + Send + 'static,
    ) -> BoxStream<'static, Result<T>> {
        let this = self.clone();
        futures::stream::once(async move { this.store().await.map(of) }).try_flatten().boxed()
    }
}

impl fmt::Display for LazyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.url)
    }
}

#[async_trait]
impl ObjectStore for LazyStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.store().await?.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.store().await?.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.store().await?.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.stream(|store| store.delete_stream(locations))
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let prefix = prefix.cloned();
        self.stream(move |store| store.list(prefix.as_ref()))
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        let (prefix, offset) = (prefix.cloned(), offset.clone());
        self.stream(move |store| store.list_with_offset(prefix.as_ref(), &offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.store().await?.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.store().await?.copy_opts(from, to, options).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use datakit_model::{Credential, Failure, Kind, Retry};
    use object_store::ObjectStoreExt as _;

    use super::*;

    #[tokio::test]
    async fn a_vault_is_asked_when_the_store_is_used_and_its_failure_keeps_its_code() {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let credential = Credential::new(move || {
            count.fetch_add(1, Ordering::SeqCst);
            Err(Failure::new("DK-TST-001", Kind::User, Retry::Never, "no vault"))
        });
        let options = StoreOptions::default().with_credential("AWS_SECRET_ACCESS_KEY", credential);
        let store = crate::open(&Url::parse("s3://bucket/x").unwrap(), &options).unwrap();
        assert_eq!(asked.load(Ordering::SeqCst), 0);
        let listed = store.list(None).next().await.unwrap().unwrap_err();
        let read = store.get(&Path::from("x")).await.unwrap_err();
        for error in [listed, read] {
            assert_eq!(crate::failure_of(&error).unwrap().code(), "DK-TST-001", "{error}");
        }
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }
}
