//! The host binary: argument parsing, wiring, printing.
