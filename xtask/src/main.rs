//! All automation of the project, as `cargo xtask TASK`. Nothing here is part of the product: every task only calls
//! the tools a developer would call by hand, in the one order that counts.

mod bench;
mod cache;
mod chaos;
mod ci;
mod crds;
mod docs;
mod figures;
mod fuzz;
mod images;
mod kube;
mod manifests;
mod setup;
mod step;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask TASK

  ci             everything CI runs: fmt, clippy, docs, generated files, all tests
  setup          prepare what the client tests need (clients in five languages), in a cache outside the checkout
  setup --all    likewise, and the clients of the long run that are not among them
  interop        every client of every run with every feature, and the table of them
  interop --all  likewise, and the clients of the long run
  chaos FAULT    strike a real nsqd under load again and again, and check all that happened (chaos --help)
  bench          measure nsqd of this checkout against the last release's, in turn: --against COMMIT, then flags of
                 nsq_bench
  figures FILE   write what nsq_bench --json=FILE measured into docs/performance.md; one file for each run
  images         build the container images without a container engine, into target/images
  kube ...       a real Kubernetes of one to three nodes on this machine: with NODES -- COMMAND, up NODES, down,
                 kubectl, load (see docs/kubernetes-tests.md); `kube test` runs the tests that need nodes
  fuzz TARGET    mutate input for a target, or `all`: --seconds 30 --seed 1, or --replay FILE
  crds           rewrite manifests/crds, and the chart's copy, from the operator's types, then `manifests`
  manifests      rewrite manifests/install*.yaml from the operator's chart
  docs           rewrite docs/reference/nsqd.md and nsqlookupd.md from the daemons' option tables
  docs --check   fail if they are not what the tables give
  crds --check   fail if manifests/crds is not what the operator's types give
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["chaos", rest @ ..] => return chaos::run(rest),
        ["bench", rest @ ..] => bench::run(rest),
        ["kube", rest @ ..] => return kube::run(rest),
        ["ci"] => ci::run(),
        ["images", names @ ..] => images::run(names),
        ["figures", files @ ..] => figures::write(files),
        ["fuzz", rest @ ..] => fuzz::run(rest),
        ["setup"] => setup::run(false),
        ["setup", "--all"] => setup::run(true),
        ["interop"] => interop(&[]),
        ["interop", "--all"] => interop(&["--features", "all-clients"]),
        // The install files hold them too: one forgotten is only noticed late, by the tests of the charts.
        ["crds"] => crds::write().and_then(|()| manifests::write()),
        ["manifests"] => manifests::write(),
        ["crds", "--check"] => crds::check(None),
        ["docs"] => docs::write(),
        ["docs", "--check"] => docs::check(None),
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The cells are tests like any other; `--nocapture` is not needed, as the table goes around the capture.
fn interop(features: &[&str]) -> anyhow::Result<()> {
    let args = [&["test", "--package", "tests", "--test", "it"], features, &["--", "interop::"]].concat();
    step::run("interop", &args, &[])
}
