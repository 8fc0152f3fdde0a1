//! Answers to probes: `OK`, or what is wrong, one line each; with `?verbose` every check as JSON.

use std::borrow::Cow;

use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

use super::{Args, json, plain};

/// Something that must be so.
#[derive(Debug, Clone)]
pub struct Check {
    /// One word.
    pub name: &'static str,
    /// What is wrong, if it is not so.
    pub problem: Option<Cow<'static, str>>,
}

impl Check {
    /// All is well if `problem` is none.
    pub fn new(name: &'static str, problem: Option<impl Into<Cow<'static, str>>>) -> Self {
        Self { name, problem: problem.map(Into::into) }
    }
}

#[derive(Debug, Serialize)]
struct Verbose<'a> {
    status: &'static str,
    checks: Vec<VerboseCheck<'a>>,
}

#[derive(Debug, Serialize)]
struct VerboseCheck<'a> {
    name: &'static str,
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<&'a str>,
}

/// 200 if all checks are passed, else 503. `query` is the request's.
pub fn answer(query: &str, checks: &[Check]) -> Response {
    let problems: Vec<_> = checks.iter().filter_map(|check| check.problem.as_deref()).collect();
    let status = if problems.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let is_verbose = Args::parse(query)
        .is_ok_and(|args| args.optional("verbose").is_some_and(|value| !matches!(value, "false" | "0")));
    if !is_verbose {
        let text = if problems.is_empty() { "OK".to_owned() } else { problems.join("\n") };
        return plain(status, text);
    }
    let mut answer = json(&Verbose {
        status: if problems.is_empty() { "ok" } else { "failed" },
        checks: checks
            .iter()
            .map(|check| VerboseCheck {
                name: check.name,
                ok: check.problem.is_none(),
                problem: check.problem.as_deref(),
            })
            .collect(),
    });
    *answer.status_mut() = status;
    answer
}
