//! What a datakit author writes against.
