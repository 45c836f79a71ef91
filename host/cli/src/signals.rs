//! Ctrl-C and SIGTERM: the first asks the run to stop cleanly, the second ends the process.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::terminal::Terminal;

/// What a shell reports for a process ended by SIGINT.
const EXIT_CODE: i32 = 130;

/// Starts to watch.
pub(crate) fn watch(stop: CancellationToken, terminal: Terminal) -> io::Result<()> {
    // A bound on file sizes (`ulimit -f`) then fails the write, with an error that says so, instead of ending the process.
    // The handler stays when its stream is dropped.
    drop(signal(SignalKind::from_raw(libc::SIGXFSZ))?);
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        let mut next = async || {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        };
        next().await;
        terminal.say("stopping: what is not committed is taken back; once more to stop at once");
        stop.cancel();
        next().await;
        std::process::exit(EXIT_CODE);
    });
    Ok(())
}
