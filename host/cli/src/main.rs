//! The `host` binary.

mod trust;

use std::process::ExitCode;

use datakit_kerberos::overlay::Overlay;

fn main() -> ExitCode {
    give_memory_back();
    // Started by ourselves, to compile a stranger's component or to check a stranger's schema: nothing else is needed for that.
    match datakit_app::bounded_work() {
        None => {}
        Some(Ok(())) => return ExitCode::SUCCESS,
        Some(Err(_)) => return ExitCode::FAILURE,
    }
    trust::look_authorities_up();
    // Lives as long as the process: the library reads it whenever it is asked for a ticket.
    let _overlay = overlay_krb5_conf();
    // The one place that reads settings of ours from the environment. A value that is not UTF-8 cannot be one.
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    ExitCode::from(datakit_cli::execute(std::env::args_os().collect(), environment))
}

/// Lays our settings over the operator's krb5.conf. Where that is not to be had, Kerberos works with the operator's alone.
#[expect(unsafe_code, reason = "the library takes the names of its settings' files from the environment only")]
fn overlay_krb5_conf() -> Option<Overlay> {
    const KRB5_CONFIG: &str = "KRB5_CONFIG";
    let overlay = Overlay::new(std::env::var_os(KRB5_CONFIG).as_deref()).ok()?;
    // SAFETY: called first in main, while there is one thread.
    unsafe { std::env::set_var(KRB5_CONFIG, overlay.value()) };
    Some(overlay)
}

/// Makes glibc give freed blocks of batches back at once. By itself it keeps an arena for every thread and raises its
/// thresholds with every large block, so that a run's memory grows with its partitions: docs/decisions/0008 has figures.
#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "mallopt has no safe form")]
fn give_memory_back() {
    const KEPT_BYTES: libc::c_int = 4 * 1024 * 1024;
    for (parameter, value) in
        [(libc::M_ARENA_MAX, 1), (libc::M_MMAP_THRESHOLD, KEPT_BYTES), (libc::M_TRIM_THRESHOLD, KEPT_BYTES)]
    {
        // SAFETY: called first in main, while there is one thread; it only sets numbers, and an unknown one is ignored.
        unsafe { libc::mallopt(parameter, value) };
    }
}

#[cfg(not(target_env = "gnu"))]
fn give_memory_back() {}
