//! Builds datakits into components.
