//! A datakit that attacks its host, one switch per attack.
