use std::time::Duration;

use datakit_model::{Failure, Retry, RunLimits};

const MAX_PAUSE: Duration = Duration::from_secs(30);

/// The pause before attempt `attempt + 1`, or none when the failure or the limit says that it ends here.
pub(crate) fn pause(failure: &Failure, attempt: u64, limits: &RunLimits) -> Option<Duration> {
    if failure.retry() != Retry::AfterBackoff || attempt >= limits.max_attempts {
        return None;
    }
    let doublings = u32::try_from(attempt.saturating_sub(1)).unwrap_or(u32::MAX).min(16);
    let full = Duration::from_millis(limits.retry_backoff_ms.saturating_mul(1 << doublings)).min(MAX_PAUSE);
    // Half fixed, half random: partitions that failed together do not come back together.
    Some(full.mul_f64(0.5 + 0.5 * fastrand::f64()))
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
    fn pauses_double_up_to_a_bound_and_attempts_end() {
        let limits = RunLimits { max_attempts: 20, retry_backoff_ms: 100, ..RunLimits::default() };
        let pause = |attempt| pause(&failure(Retry::AfterBackoff), attempt, &limits);
        let first = pause(1).unwrap();
        assert!((Duration::from_millis(50)..=Duration::from_millis(100)).contains(&first), "{first:?}");
        let third = pause(3).unwrap();
        assert!((Duration::from_millis(200)..=Duration::from_millis(400)).contains(&third), "{third:?}");
        assert!(pause(19).unwrap() <= MAX_PAUSE);
        assert_eq!(pause(20), None);
    }
}
