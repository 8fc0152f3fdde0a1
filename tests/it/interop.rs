//! Every client with every feature: PUB, MPUB, FIN, REQ, told the nsqds' addresses or finding them through nsqlookupd,
//! and with the nsqds killed between publish and consume; plain, over TLS, compressed, compressed inside TLS, and with
//! AUTH. One test per cell; the last one of them to end prints the table. What a client cannot do is said in
//! `interop/matrix.rs` and in the table, never skipped silently. The cells of the long run are built by
//! `cargo xtask interop --all`.

mod cell;
mod matrix;
mod table;

use cell::check;
use matrix::Feature;

macro_rules! cells {
    ($($client:ident: $name:literal,)*) => {$(
        mod $client {
            use super::{Feature, check};

            #[test]
            fn works_plain() {
                check($name, Feature::Plain);
            }

            #[test]
            fn works_over_tls() {
                check($name, Feature::Tls);
            }

            #[test]
            fn works_with_snappy() {
                check($name, Feature::Snappy);
            }

            #[test]
            fn works_with_deflate() {
                check($name, Feature::Deflate);
            }

            #[test]
            fn works_with_snappy_inside_tls() {
                check($name, Feature::TlsSnappy);
            }

            #[test]
            fn works_with_deflate_inside_tls() {
                check($name, Feature::TlsDeflate);
            }

            #[test]
            fn works_with_auth() {
                check($name, Feature::Auth);
            }
        }
    )*};
}

cells! {
    go_nsq: "go-nsq",
    pynsq: "pynsq",
    nsqjs: "nsqjs",
    tokio_nsq: "tokio-nsq",
    nsq_j: "nsq-j",
}

#[cfg(feature = "all-clients")]
cells! {
    brainlag: "brainlag",
    ansq: "ansq",
    gnsq: "gnsq",
    asyncnsq: "asyncnsq",
    nsq_py: "nsq-py",
}

#[test]
fn a_configuration_written_for_stock_nsq_works_unchanged() {
    cell::readme();
}

#[test]
fn the_readme_shows_the_program_that_is_tested() {
    let read = |path: &str| std::fs::read_to_string(harness::root().join(path)).unwrap();
    let program = read("tests/clients/go/readme.go");
    assert!(
        read("README.md").contains(&format!("```go\n{program}```\n")),
        "the README shows another program"
    );
}

#[test]
fn the_table_in_the_documents_names_the_clients_and_versions_that_are_tested() {
    let document = std::fs::read_to_string(harness::root().join("docs/clients.md")).unwrap();
    let wanted = table::expected();
    assert!(document.contains(&wanted), "docs/clients.md does not show this table:\n{wanted}");
}
