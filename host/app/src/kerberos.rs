//! A ticket cache that is kept fresh, and what is in one.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;
use datakit_config::environment::KRB5CCNAME;
use datakit_kerberos::overlay::KdcOrder;
use datakit_kerberos::renew::{self, RenewSettings, Renewed};
use datakit_kerberos::settings::krb5_config;
use datakit_kerberos::status::Status;
use datakit_kerberos::{KerberosError, KeytabPlace};
use datakit_model::Diagnostic;

use crate::context::Context;
use crate::health::{self, Answer, Health};
use crate::reports::Reports;
use crate::requests::RenewRequest;

/// What is in a ticket cache; none: the one that KRB5CCNAME names, else the library's.
///
/// # Errors
/// The cache cannot be read.
pub fn ticket_status(context: &Context, cache: Option<&str>) -> Result<Status, Reports> {
    Ok(Status::of(cache.or_else(|| context.variable(KRB5CCNAME)))?)
}

/// What the health endpoint answers from.
#[derive(Debug, Default)]
struct State {
    renewed: Option<Renewed>,
    failure: Option<String>,
}

#[async_trait]
impl Health for Mutex<State> {
    fn has_started(&self) -> Result<(), String> {
        let state = self.lock().unwrap_or_else(PoisonError::into_inner);
        match (&state.renewed, &state.failure) {
            (Some(_), _) => Ok(()),
            (None, failure) => Err(failure.clone().unwrap_or_else(|| "the first ticket is on its way".to_owned())),
        }
    }

    async fn is_ready(&self) -> Answer {
        match is_valid(self) {
            // The ticket is good, and whoever looks is told that it may be the last.
            Ok(()) => Answer::ok_but(self.lock().unwrap_or_else(PoisonError::into_inner).failure.clone()),
            Err(reason) => Err(reason).into(),
        }
    }
}

fn is_valid(state: &Mutex<State>) -> Result<(), String> {
    state.has_started()?;
    let state = state.lock().unwrap_or_else(PoisonError::into_inner);
    match &state.renewed {
        Some(renewed) if renewed.expires > SystemTime::now() => Ok(()),
        _ => Err(state.failure.clone().unwrap_or_else(|| "the ticket has expired".to_owned())),
    }
}

/// Keeps a ticket cache fresh until the context is stopped, or writes one ticket.
///
/// # Errors
/// Waiting cannot mend what is wrong: the KDC refuses the keytab, or the cache cannot be written.
pub async fn keep_fresh(context: &Context, request: RenewRequest) -> Result<(), Reports> {
    let settings = Arc::new(RenewSettings {
        keytab: KeytabPlace::File(request.keytab),
        principal: request.principal,
        cache: request.cache,
        group: request.group.as_deref().map(renew::group_number).transpose()?,
        interval: request.interval,
        kdcs: KdcOrder::new(krb5_config().as_deref()),
    });
    let state = Arc::new(Mutex::new(State::default()));
    let endpoint = match request.health {
        Some(address) => Some(health::serve(address, Arc::clone(&state) as Arc<dyn Health>, None).await?),
        None => None,
    };
    if let Some(endpoint) = &endpoint {
        tracing::info!(target: "datakit", address = %endpoint.address(), "health endpoint");
    }
    settings.clean_up();
    match context.stop.run_until_cancelled(renew_for_ever(&settings, &state, request.once)).await {
        Some(result) => Ok(result?),
        // It was stopped, and there is nothing half-done.
        None => Ok(()),
    }
}

/// Ends with an error that no waiting will mend, or after the first ticket where that is all that is asked for.
async fn renew_for_ever(settings: &Arc<RenewSettings>, state: &Mutex<State>, once: bool) -> Result<(), KerberosError> {
    let mut failures = 0;
    for number in 0.. {
        let attempt = Arc::clone(settings);
        let renewed = tokio::task::spawn_blocking(move || attempt.renew(number))
            .await
            .unwrap_or_else(|error| Err(KerberosError::Library { doing: "renewing", reason: error.to_string() }));
        let pause = match renewed {
            Ok(renewed) => {
                failures = 0;
                let pause = settings.pause_after_success(&renewed);
                tracing::info!(
                    target: "datakit",
                    principal = %renewed.principal,
                    cache = %settings.cache.display(),
                    good_for_seconds = renewed.expires.duration_since(SystemTime::now()).unwrap_or_default().as_secs(),
                    next_in_seconds = pause.as_secs(),
                    "renewed"
                );
                let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
                *state = State { renewed: Some(renewed), failure: None };
                if once {
                    return Ok(());
                }
                pause
            }
            Err(error) if once || !RenewSettings::may_mend(&error, has_ticket(state)) => return Err(error),
            Err(error) => {
                failures += 1;
                let pause = settings.pause_after_failure(failures);
                tracing::warn!(target: "datakit", code = %error.code(), %error, next_in_seconds = pause.as_secs_f32(), "not renewed");
                state.lock().unwrap_or_else(PoisonError::into_inner).failure = Some(format!("not renewed: {error}"));
                pause
            }
        };
        tokio::time::sleep(pause).await;
    }
    Ok(())
}

fn has_ticket(state: &Mutex<State>) -> bool {
    state.lock().unwrap_or_else(PoisonError::into_inner).renewed.is_some()
}
