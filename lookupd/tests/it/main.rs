//! nsqlookupd as a whole, in this process and over real sockets: one binary, one file per concern.

// The attribute tells clippy that what is in these files is test code, helpers included.
#[cfg(test)]
mod common;
#[cfg(test)]
mod garbage;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod service;
