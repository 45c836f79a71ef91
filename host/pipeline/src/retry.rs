use std::future::Future;
use std::time::Duration;

use datakit_model::{Failure, Retry, RunLimits};

use crate::event::{Observer, PlanningStep, RunEvent};
use crate::summary::TableError;

/// The pause before attempt `attempt + 1`, or none when the failure or the limit says that it ends here.
pub(crate) fn pause(failure: &Failure, attempt: u64, limits: &RunLimits) -> Option<Duration> {
    if failure.retry() != Retry::AfterBackoff || attempt >= limits.max_attempts {
        return None;
    }
    let doublings = u32::try_from(attempt.saturating_sub(1)).unwrap_or(u32::MAX).min(16);
    let full = limits.retry_backoff_ms.saturating_mul(1 << doublings).min(limits.retry_backoff_max_ms);
    // Half fixed, half random: partitions that failed together do not come back together.
    Some(Duration::from_millis(full).mul_f64(0.5 + 0.5 * fastrand::f64()))
}

/// How often a step before the first table is tried: discovery and planning, which only read.
#[derive(Clone, Copy)]
pub(crate) struct PlanningRetries<'a> {
    /// None: each step is tried once.
    limits: Option<&'a RunLimits>,
    observer: &'a dyn Observer,
}

impl<'a> PlanningRetries<'a> {
    /// As often as units of a table.
    pub(crate) fn new(limits: &'a RunLimits, observer: &'a dyn Observer) -> Self {
        Self { limits: Some(limits), observer }
    }

    /// Once.
    pub(crate) fn none(observer: &'a dyn Observer) -> Self {
        Self { limits: None, observer }
    }

    /// No more attempts.
    pub(crate) fn used_up(self) -> Self {
        Self { limits: None, ..self }
    }

    /// The result of the step, after failures that passed.
    ///
    /// # Errors
    /// The failure of the last attempt.
    pub(crate) async fn run<T, F>(&self, step: PlanningStep, attempted: impl Fn() -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let mut attempt = 1;
        loop {
            let failure = match attempted().await {
                Ok(done) => return Ok(done),
                Err(failure) => failure,
            };
            let Some(pause) = self.limits.and_then(|limits| pause(&failure, attempt, limits)) else {
                return Err(failure);
            };
            self.observer.event(RunEvent::RetryingPlan {
                step,
                attempt,
                pause_ms: u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
                error: TableError::from(&failure),
            });
            tokio::time::sleep(pause).await;
            attempt += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use datakit_model::Kind;

    use super::*;

    fn failure(retry: Retry) -> Failure {
        Failure::new("DK-TST-001", Kind::Source, retry, "test")
    }

    #[test]
    fn a_failure_that_cannot_pass_is_not_tried_again() {
        assert_eq!(pause(&failure(Retry::Never), 1, &RunLimits::default()), None);
        assert_eq!(pause(&failure(Retry::NextRun), 1, &RunLimits::default()), None);
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_attempts_end() {
        let limits =
            RunLimits { max_attempts: 20, retry_backoff_ms: 100, retry_backoff_max_ms: 1_000, ..RunLimits::default() };
        let pause = |attempt| pause(&failure(Retry::AfterBackoff), attempt, &limits).map(|pause| pause.as_millis());
        for (attempt, longest) in [(1, 100), (2, 200), (3, 400), (4, 800), (5, 1_000), (19, 1_000)] {
            let found = pause(attempt).unwrap();
            assert!((longest / 2..=longest).contains(&found), "attempt {attempt}: {found} ms");
        }
        assert_eq!(pause(20), None);
    }

    /// Counts how often a step of these failures is tried.
    async fn attempts(retries: PlanningRetries<'_>, failures: &[Retry]) -> (usize, bool) {
        let tried = std::cell::Cell::new(0);
        let step = || {
            let attempt = tried.replace(tried.get() + 1);
            async move { failures.get(attempt).map_or(Ok(()), |retry| Err(failure(*retry))) }
        };
        let done = retries.run(PlanningStep::Discovery, step).await.is_ok();
        (tried.get(), done)
    }

    #[tokio::test]
    async fn step_before_the_tables_is_tried_again_while_its_failure_may_pass() {
        let limits = RunLimits { retry_backoff_ms: 1, retry_backoff_max_ms: 1, ..RunLimits::default() };
        let retries = PlanningRetries::new(&limits, &());
        let passes = Retry::AfterBackoff;
        assert_eq!(attempts(retries, &[passes, passes]).await, (3, true));
        assert_eq!(attempts(retries, &[passes; 9]).await, (3, false));
        assert_eq!(attempts(retries, &[passes, Retry::Never]).await, (2, false));
        assert_eq!(attempts(retries.used_up(), &[passes]).await, (1, false));
        assert_eq!(attempts(PlanningRetries::none(&()), &[passes]).await, (1, false));
    }

    #[test]
    fn default_is_three_attempts_with_pauses_from_four_to_sixty_seconds() {
        let limits = RunLimits::default();
        let pause = |attempt| pause(&failure(Retry::AfterBackoff), attempt, &limits).map(|pause| pause.as_secs_f64());
        assert!((2.0..=4.0).contains(&pause(1).unwrap()));
        assert!((4.0..=8.0).contains(&pause(2).unwrap()));
        assert_eq!(pause(3), None);
        assert_eq!(limits.retry_backoff_max_ms, 60_000);
    }
}
