//! The programs beside the daemons. Each is a file in `bin/` over a module here.

pub mod bench;
