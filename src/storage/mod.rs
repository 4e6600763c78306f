//! The storage edge: lists, reads and writes blob containers, and reports what it saw.
