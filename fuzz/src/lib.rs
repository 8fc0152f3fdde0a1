//! Fuzzing without a compiler's help: inputs grow by mutation from the wire corpus, and one that makes a target behave
//! as no other did is kept and mutated on. What a target does and what must hold is in `targets`, how inputs change in
//! `mutate`, the loop in `campaign`. It runs on stable Rust, needs no instrumentation, and repeats with its seed.

mod campaign;
mod mutate;
mod random;
mod shape;
pub mod targets;

pub use campaign::garbage;
pub use campaign::{Budget, Campaign, Crash, Report, peak_resident_bytes};
pub use shape::Shape;
pub use targets::Target;
