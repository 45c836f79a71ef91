use std::time::Duration;

use datakit_model::{Failure, Retry, RunLimits};

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
