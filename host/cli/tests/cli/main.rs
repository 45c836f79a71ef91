//! The binary as shells and scripts see it; one test program, so that it is linked once.

mod bad_input;
mod conduct;
mod docs;
mod support;
