//! Options from the environment, for containers: `NSQD_TCP_ADDRESS` is `--tcp-address` of nsqd.

use super::nearest::nearest;
use super::{Kind, Opt};

/// What an environment says.
#[derive(Debug, Default)]
pub(super) struct Environment<'t> {
    /// Option, variable, text.
    pub(super) given: Vec<(&'t Opt, String, String)>,
    /// Variables of this daemon that are no option.
    pub(super) remarks: Vec<String>,
}

/// The variable that sets `opt`.
pub(super) fn variable(binary: &str, opt: &Opt) -> String {
    format!("{binary}_{}", opt.name).to_ascii_uppercase().replace('-', "_")
}

/// Read what of `variables` is for `binary`, in the order of their names.
pub(super) fn read<'t>(binary: &str, table: &'t [Opt], variables: &[(String, String)]) -> Environment<'t> {
    let prefix = format!("{}_", binary.to_ascii_uppercase());
    let mut ours: Vec<_> = variables.iter().filter(|(name, _)| name.starts_with(&prefix)).collect();
    ours.sort();
    let mut environment = Environment::default();
    for (name, text) in ours {
        match table.iter().find(|opt| variable(binary, opt) == *name) {
            Some(opt) => {
                // A variable that is there but empty is how compose files and charts say "not set"; only for texts is
                // empty a value, such as the one of `--http-address` that switches HTTP off.
                if !text.is_empty() || opt.kind == Kind::Text {
                    environment.given.push((opt, name.clone(), text.clone()));
                }
            }
            None if is_service_link(name.strip_prefix(&prefix).unwrap_or_default(), text) => {}
            None => environment.remarks.push(unknown(binary, table, name)),
        }
    }
    environment
}

/// Kubernetes describes a Service called `nsqd` to every pod of its namespace: `NSQD_SERVICE_HOST`,
/// `NSQD_PORT_4150_TCP_ADDR` and the like. They are not meant for us, and not mistakes.
fn is_service_link(rest: &str, text: &str) -> bool {
    let is_port = rest == "PORT" || rest.ends_with("_PORT") || rest.contains("PORT_");
    let has_protocol = ["tcp://", "udp://", "sctp://"].iter().any(|scheme| text.starts_with(scheme));
    let is_detail = ["_TCP_PROTO", "_TCP_PORT", "_TCP_ADDR", "_UDP_PROTO", "_UDP_PORT", "_UDP_ADDR"]
        .iter()
        .any(|end| rest.ends_with(end));
    rest.contains("SERVICE_HOST") || rest.contains("SERVICE_PORT") || is_port && (has_protocol || is_detail)
}

fn unknown(binary: &str, table: &[Opt], name: &str) -> String {
    let near = nearest(name, table.iter().map(|opt| variable(binary, opt)));
    let advice = near.map_or(String::new(), |near| format!("; did you mean {near}?"));
    format!("environment variable {name} is no option of {binary} and is ignored{advice}")
}
