//! Certificates of many kinds.
