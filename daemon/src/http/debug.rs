//! `/debug/pprof`, by the paths of Go's profiler. What has a meaning here is answered in plain text; what has none
//! says what to use instead. Who may ask is the daemons' business.

use axum::Router;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post, put};

use super::{Args, plain};
use crate::metrics::process;

/// The paths below `/debug/pprof/`, without the index, which each daemon has at another place.
pub fn profiles<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/debug/pprof/cmdline", get(cmdline))
        .route("/debug/pprof/profile", get(profile))
        .route("/debug/pprof/symbol", get(symbol).post(symbol))
        .route("/debug/pprof/heap", get(heap))
        .route("/debug/pprof/goroutine", get(threads))
        .route("/debug/pprof/block", get(block))
        .route("/debug/pprof/threadcreate", get(threads))
}

/// What only nsqd has.
pub fn knobs<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/debug/setblockrate", put(set_block_rate))
        .route("/debug/freememory", post(free_memory))
}

/// What there is.
pub async fn index() -> Response {
    answer(
        "/debug/pprof/\n\n\
         cmdline       the command line, its parts separated by NUL\n\
         goroutine     threads by name, and tasks of the runtime\n\
         heap          memory of the process\n\
         threadcreate  as goroutine\n\
         block         not measured\n\
         profile       not available: use perf\n\
         symbol        not available: use perf\n",
    )
}

async fn cmdline() -> Response {
    let parts: Vec<_> = std::env::args_os().map(|part| part.to_string_lossy().into_owned()).collect();
    plain(StatusCode::OK, parts.join("\0"))
}

async fn profile() -> Response {
    let why = "this daemon has no profiler of its own: run `perf record -g -p PID` where it runs\n";
    plain(StatusCode::NOT_IMPLEMENTED, why.to_owned())
}

/// pprof asks this first; 0 tells it that there are no symbols to be had.
async fn symbol() -> Response {
    answer("num_symbols: 0\n")
}

async fn heap() -> Response {
    let memory = process::memory().unwrap_or_default();
    let (resident, reserved) = (memory.resident, memory.reserved);
    answer(&format!(
        "resident_bytes {resident}\nreserved_bytes {reserved}\n\n\
         Objects are not sampled. What messages take is in /metrics, nsq_memory_queue_bytes.\n"
    ))
}

async fn threads() -> Response {
    let runtime = tokio::runtime::Handle::current();
    let tasks = runtime.metrics().num_alive_tasks();
    let threads = process::threads();
    let count = threads.len();
    answer(&format!(
        "threads {count}\ntasks {tasks} (of the runtime that serves HTTP)\n\n{}\n",
        threads.join("\n")
    ))
}

async fn block() -> Response {
    answer("blocking is not measured; nsq_storage_fsync_seconds in /metrics tells of the disk\n")
}

/// nsqd: does what it is asked and answers 500 all the same. Here there is nothing to set.
async fn set_block_rate(args: Args) -> Response {
    let rate = args.optional("rate").unwrap_or_default();
    match rate.parse::<i64>() {
        Ok(_) => plain(StatusCode::OK, String::new()),
        Err(_) => {
            let why = format!("invalid block rate : strconv.Atoi: parsing {rate:?}: invalid syntax");
            plain(StatusCode::BAD_REQUEST, why)
        }
    }
}

/// nsqd: does it and answers 500 all the same. Here memory goes back when it is let go of.
async fn free_memory() -> Response {
    plain(StatusCode::OK, String::new())
}

fn answer(text: &str) -> Response {
    plain(StatusCode::OK, text.to_owned())
}
