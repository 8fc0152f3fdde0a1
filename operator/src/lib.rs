//! NsqCluster, NsqTopic and NsqChannel: the resources, their validation, the plan of what must run, and the rules by
//! which one of several operators leads. Values in, values out: nothing here opens a socket or a file.

pub mod change;
pub mod children;
pub mod claims;
pub mod conditions;
mod crds;
mod declaration;
pub mod drain;
pub mod lease;
mod nearest;
pub mod plan;
pub mod pods;
mod problem;
mod relations;
pub mod resources;
pub mod rollout;
pub mod status;
pub mod topology;
pub mod validate;

pub use change::{Change, changes};
pub use crds::crds;
pub use declaration::Declaration;
pub use plan::{Plan, plan};
pub use problem::Problem;
