//! Engine, bindings, grants, limits and columnar operations of datakits.
