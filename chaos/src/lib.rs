//! Faults against a real nsqd under load, and a checker over everything that happened. [`check`] is pure: a history goes
//! in, a verdict comes out. [`fault::Fault`] is the seam for new kinds of faults; [`run::run`] drives the rounds.

pub mod body;
pub mod chance;
pub mod check;
pub mod cut;
pub mod diary;
pub mod drain;
pub mod fault;
pub mod fill;
pub mod folder;
pub mod history;
pub mod http;
pub mod load;
pub mod made;
pub mod nsqd;
pub mod place;
pub mod probe;
pub mod report;
pub mod rot;
pub mod run;
pub mod seeded;
pub mod stage;
pub mod sync_errors;
pub mod wire;
