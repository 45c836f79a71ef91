//! The calls of what a datakit exports. Each gives back what the guest filled in, unchecked.

use std::sync::Arc;

use datakit_columnar::WireField;
use datakit_model::datakit::Partition;
use datakit_model::{TableId, TrackedBatch};
use wasmtime::component::{InstancePre, Resource, ResourceAny};
use wasmtime::{Engine, Store};

use super::bindings::{SourceDatakit, SourceDatakitPre};
use super::convert;
use crate::filled;
use crate::guest_error::ErrorRecord;
use crate::state::{DiscoveryHandle, Filled, PartitionHandle, State};

/// What a call of the guest gave: its answer, or its own error.
type Answer<T> = wasmtime::Result<Result<T, ErrorRecord>>;

/// A component that is linked and can be made an instance of.
#[derive(Clone)]
pub(crate) struct ExportsPre(SourceDatakitPre<State>);

impl ExportsPre {
    /// Finds the exports of a linked component.
    pub(crate) fn new(linked: InstancePre<State>) -> wasmtime::Result<Self> {
        SourceDatakitPre::new(linked).map(Self)
    }

    pub(crate) fn engine(&self) -> &Engine {
        self.0.engine()
    }

    /// A fresh instance.
    pub(crate) async fn instantiate(&self, store: &mut Store<State>) -> wasmtime::Result<Exports> {
        self.0.instantiate_async(store).await.map(Exports)
    }
}

/// The exports of one instance.
pub(crate) struct Exports(SourceDatakit);

impl Exports {
    pub(crate) async fn describe(&self, store: &mut Store<State>) -> wasmtime::Result<filled::Description> {
        let description = self.0.datakit_kit_extractor().call_describe(&mut *store).await?;
        store.data_mut().take_filled(description)
    }

    pub(crate) async fn discover(
        &self,
        store: &mut Store<State>,
        request: DiscoveryHandle,
    ) -> Answer<Vec<filled::TableDescription>> {
        let request = store.data_mut().table.push(request)?;
        let lent = Resource::new_borrow(request.rep());
        let discovered = self.0.datakit_kit_extractor().call_discover(&mut *store, lent).await?;
        let state = store.data_mut();
        state.table.delete(request)?;
        taken(state, discovered)
    }

    pub(crate) async fn plan(&self, store: &mut Store<State>, tables: &[TableId]) -> Answer<Vec<filled::TablePlan>> {
        let asked: Vec<_> = tables.iter().map(convert::table_to_wire).collect();
        let planned = self.0.datakit_kit_extractor().call_plan(&mut *store, &asked).await?;
        taken(store.data_mut(), planned)
    }

    pub(crate) async fn open(&self, store: &mut Store<State>, partition: &Arc<Partition>) -> Answer<ResourceAny> {
        let partition = store.data_mut().table.push(PartitionHandle(Arc::clone(partition)))?;
        let lent = Resource::new_borrow(partition.rep());
        let opened = self.0.datakit_kit_extractor().extraction().call_open(&mut *store, lent).await?;
        store.data_mut().table.delete(partition)?;
        Ok(opened.map_err(ErrorRecord::from))
    }

    pub(crate) async fn output(
        &self,
        store: &mut Store<State>,
        extraction: ResourceAny,
    ) -> wasmtime::Result<Vec<WireField>> {
        let output = self.0.datakit_kit_extractor().extraction().call_output(store, extraction).await?;
        Ok(convert::fields_from_wire(output))
    }

    /// The rows are out of the guest's hands.
    pub(crate) async fn next(&self, store: &mut Store<State>, extraction: ResourceAny) -> Answer<Option<TrackedBatch>> {
        let next = self.0.datakit_kit_extractor().extraction().call_next(&mut *store, extraction).await?;
        Ok(match next {
            Ok(Some(batch)) => Ok(Some(store.data_mut().take_batch(batch)?)),
            Ok(None) => Ok(None),
            Err(error) => Err(error.into()),
        })
    }

    pub(crate) async fn watermark(
        &self,
        store: &mut Store<State>,
        extraction: ResourceAny,
    ) -> wasmtime::Result<Option<String>> {
        self.0.datakit_kit_extractor().extraction().call_watermark(store, extraction).await
    }
}

/// What the guest filled in, out of its hands.
fn taken<T: 'static>(
    state: &mut State,
    answer: Result<Vec<Resource<Filled<T>>>, super::bindings::types::Error>,
) -> Answer<Vec<T>> {
    Ok(match answer {
        Ok(handles) => {
            Ok(handles.into_iter().map(|handle| state.take_filled(handle)).collect::<wasmtime::Result<_>>()?)
        }
        Err(error) => Err(error.into()),
    })
}
