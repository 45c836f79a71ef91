//! `host kerberos`: a ticket cache that is kept fresh, and what is in one.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;
use datakit_config::environment::KRB5CCNAME;
use datakit_kerberos::overlay::KdcOrder;
use datakit_kerberos::renew::{self, RenewSettings, Renewed};
use datakit_kerberos::settings::krb5_config;
use datakit_kerberos::status::Status;
use datakit_kerberos::{KerberosError, KeytabPlace};
use datakit_model::Coded;

use crate::arguments::{Kerberos, KerberosRenew, KerberosStatus, OutputFormat};
use crate::context::Context;
use crate::health::{self, Answer, Health};
use crate::report::Reports;

pub(crate) async fn kerberos(command: Kerberos, context: &Context) -> Result<u8, Reports> {
    match command {
        Kerberos::Renew(arguments) => keep_fresh(arguments, context).await,
        Kerberos::Status(arguments) => status(&arguments, context),
    }
}

/// Exit code 1 when the ticket is over, so that a script can ask.
fn status(arguments: &KerberosStatus, context: &Context) -> Result<u8, Reports> {
    let named = arguments.cache.as_deref().or_else(|| context.variable(KRB5CCNAME));
    let status = Status::of(named)?;
    match arguments.output {
        OutputFormat::Text => context.terminal.print(&status.text())?,
        OutputFormat::Json => context.terminal.print_json(&status)?,
    }
    Ok(u8::from(!status.is_valid))
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

async fn keep_fresh(arguments: KerberosRenew, context: &Context) -> Result<u8, Reports> {
    let settings = Arc::new(RenewSettings {
        keytab: KeytabPlace::File(arguments.keytab),
        principal: arguments.principal,
        cache: arguments.cache,
        group: arguments.group.as_deref().map(renew::group_number).transpose()?,
        interval: arguments.interval,
        kdcs: KdcOrder::new(krb5_config().as_deref()),
    });
    let state = Arc::new(Mutex::new(State::default()));
    let endpoint = match arguments.health {
        Some(address) => Some(health::serve(address, Arc::clone(&state) as Arc<dyn Health>).await?),
        None => None,
    };
    if let Some(endpoint) = &endpoint {
        tracing::info!(target: "datakit", address = %endpoint.address(), "health endpoint");
    }
    settings.clean_up();
    match context.stop.run_until_cancelled(renew_for_ever(&settings, &state, arguments.once)).await {
        Some(result) => result.map(|()| 0).map_err(Reports::from),
        // It was told to stop, and there is nothing half-done.
        None => Ok(0),
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
