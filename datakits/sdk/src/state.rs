//! The state of partitions as JSON.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bindings::datakit::kit::types::Error;
use crate::errors::codes;
use crate::plans::Partition;

/// The state that a plan gives to a partition.
///
/// # Errors
/// A state without a JSON form.
pub fn write(state: &impl Serialize) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(state)
        .map_err(|error| Error::datakit(codes::STATE, format!("the partition's state has no JSON form: {error}")))
}

/// The state of a partition that is to be read.
///
/// # Errors
/// A state that another version of the datakit wrote.
pub fn read<S: DeserializeOwned>(partition: &Partition) -> Result<S, Error> {
    serde_json::from_slice(&partition.state).map_err(|error| {
        let message = format!("the partition's state is not of this version of the datakit: {error}");
        Error::datakit(codes::STATE, message).with_hint("plan the table again")
    })
}
