//! Datakits in OCI registries: media types, push, pull, verify, lock file, cache.
