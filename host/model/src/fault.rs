//! The errors that rooms shared by all sources have to make.

/// An error enum of a source.
pub trait Fault: Send + Sized + Into<crate::Failure> + 'static {
    /// The query ran into its timeout and was cancelled.
    fn query_timeout(seconds: f64) -> Self;
    /// No connection of the pool became free in time.
    fn pool_timeout(address: String, seconds: f64, connections: usize) -> Self;
    /// Something that cannot happen.
    fn internal(what: String) -> Self;
}
