//! Asynchronous work on a thread that may block.

/// Runs to its end on this thread, whatever runs elsewhere. `internal` is the error of a system that gives no runtime.
pub(crate) fn blocking<T, E>(work: impl Future<Output = Result<T, E>>, internal: fn(String) -> E) -> Result<T, E> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| internal(error.to_string()))?;
    let done = runtime.block_on(work);
    // The system's resolver has no timeout of ours: its thread is left behind rather than waited for.
    runtime.shutdown_background();
    done
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    /// As a name that the resolver does not find out about.
    #[test]
    fn a_thread_that_hangs_is_not_waited_for() {
        let (release, is_released) = mpsc::channel::<()>();
        let (ended, has_ended) = mpsc::channel();
        let work = async {
            tokio::task::spawn_blocking(move || {
                let _ = is_released.recv_timeout(Duration::from_secs(30));
                let _ = ended.send(());
            });
            Ok(7)
        };
        assert_eq!(blocking(work, |error| error).unwrap(), 7);
        assert!(has_ended.try_recv().is_err(), "the answer came after the thread's end");
        drop(release);
    }
}
