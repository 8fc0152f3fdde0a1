//! What each client is, and what it cannot do by itself, with the reason. Everything that is not named here must work.

/// A column of the table: what a connection negotiates, or what is asked of its user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Feature {
    /// Neither encrypted nor compressed.
    Plain,
    /// TLS, the server's certificate checked, plain connections refused.
    Tls,
    /// snappy.
    Snappy,
    /// deflate.
    Deflate,
    /// snappy inside TLS.
    TlsSnappy,
    /// deflate inside TLS.
    TlsDeflate,
    /// AUTH with a secret that an auth server knows; others are refused.
    Auth,
}

impl Feature {
    /// All, in the order of the table.
    pub(super) const ALL: [Self; 7] =
        [Self::Plain, Self::Tls, Self::Snappy, Self::Deflate, Self::TlsSnappy, Self::TlsDeflate, Self::Auth];

    /// The head of its column.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Tls => "TLS",
            Self::Snappy => "snappy",
            Self::Deflate => "deflate",
            Self::TlsSnappy => "TLS + snappy",
            Self::TlsDeflate => "TLS + deflate",
            Self::Auth => "AUTH",
        }
    }

    /// Whether connections are encrypted.
    pub(super) fn has_tls(self) -> bool {
        matches!(self, Self::Tls | Self::TlsSnappy | Self::TlsDeflate)
    }

    /// Whether connections are compressed with snappy.
    pub(super) fn has_snappy(self) -> bool {
        matches!(self, Self::Snappy | Self::TlsSnappy)
    }

    /// Whether connections are compressed with deflate.
    pub(super) fn has_deflate(self) -> bool {
        matches!(self, Self::Deflate | Self::TlsDeflate)
    }
}

/// A row of the table.
pub(super) struct Client {
    /// As its project calls it.
    pub(super) name: &'static str,
    /// The one that is tested; its program says so itself.
    pub(super) version: &'static str,
    /// What it is written in.
    pub(super) language: &'static str,
    /// The features it lacks, and why. Where it claims one that fails, it fails against stock nsqd 1.3.0 too.
    pub(super) lacks: &'static [(Feature, &'static str)],
    /// The scenarios it has no call for, and why.
    pub(super) omits: &'static [(&'static str, &'static str)],
}

/// The clients of every run, in the order of the table.
const EVERY_RUN: &[Client] = &[
    Client { name: "go-nsq", version: "1.1.0", language: "Go", lacks: &[], omits: &[] },
    Client { name: "pynsq", version: "0.9.1", language: "Python", lacks: &[], omits: &[] },
    Client { name: "nsqjs", version: "0.13.0", language: "Node", lacks: &[], omits: &[] },
    Client { name: "tokio-nsq", version: "0.14.0", language: "Rust", lacks: &[], omits: &[] },
    Client { name: "nsq-j", version: "1.2", language: "Java", lacks: &[], omits: &[] },
];

/// Those of `cargo xtask interop --all`, below the others in the table.
const LONG_RUN: &[Client] = &[
    Client {
        name: "brainlag",
        version: "1.0.0.RC4",
        language: "Java",
        lacks: &[
            (Feature::Snappy, CUTS_TOO_EARLY),
            (Feature::Deflate, CUTS_TOO_EARLY),
            (Feature::TlsSnappy, CUTS_TOO_EARLY),
            (Feature::TlsDeflate, CUTS_TOO_EARLY),
            (Feature::Auth, "it has no AUTH"),
        ],
        omits: &[],
    },
    Client {
        name: "ansq",
        version: "0.3.0",
        language: "Python",
        lacks: &[
            (Feature::Tls, NOT_YET),
            (Feature::Snappy, NOT_YET),
            (Feature::Deflate, NOT_YET),
            (Feature::TlsSnappy, NOT_YET),
            (Feature::TlsDeflate, NOT_YET),
            (Feature::Auth, "its readers and writers take no secret, only connections do"),
        ],
        omits: &[],
    },
    Client { name: "gnsq", version: "1.0.2", language: "Python", lacks: &[], omits: &[] },
    Client {
        name: "asyncnsq",
        version: "1.2.1",
        language: "Python",
        lacks: &[
            (Feature::Tls, NEEDS_AN_OLDER_PYTHON),
            (Feature::TlsSnappy, NEEDS_AN_OLDER_PYTHON),
            (Feature::TlsDeflate, NEEDS_AN_OLDER_PYTHON),
            (Feature::Auth, "a reader that asks nsqlookupd does not authorize, with stock nsqd 1.3.0 either"),
        ],
        omits: &[],
    },
    Client {
        name: "nsq-py",
        version: "0.1.12",
        language: "Python",
        lacks: &[
            (Feature::Tls, ONLY_TLS_1_0),
            (Feature::Snappy, "it has no snappy"),
            (Feature::Deflate, "it has no deflate"),
            (Feature::TlsSnappy, "it has no snappy"),
            (Feature::TlsDeflate, "it has no deflate"),
        ],
        omits: &[],
    },
];

const NOT_YET: &str = "it says itself that this is not implemented yet";

const NEEDS_AN_OLDER_PYTHON: &str = "it gives asyncio an argument that Python has not taken since 3.10";

const ONLY_TLS_1_0: &str =
    "it speaks TLS 1.0 only, which the OpenSSL of its Python refuses, with stock nsqd 1.3.0 too";

const CUTS_TOO_EARLY: &str = "it fails with stock nsqd 1.3.0 too: it cuts frames before it decompresses";

/// What a cell runs, in this order.
pub(super) const SCENARIOS: [&str; 5] = ["direct", "publish", "multi-publish", "requeue", "restart"];

/// The rows whose cells are built.
pub(super) fn clients() -> Vec<&'static Client> {
    all().into_iter().filter(|client| cfg!(feature = "all-clients") || is_of_every_run(client)).collect()
}

/// The rows of every run.
pub(super) fn every_run() -> Vec<&'static Client> {
    EVERY_RUN.iter().collect()
}

fn all() -> Vec<&'static Client> {
    EVERY_RUN.iter().chain(LONG_RUN).collect()
}

fn is_of_every_run(client: &Client) -> bool {
    EVERY_RUN.iter().any(|other| other.name == client.name)
}

/// The row of this name.
#[track_caller]
pub(super) fn named(name: &str) -> &'static Client {
    let found = all().into_iter().find(|client| client.name == name);
    found.unwrap_or_else(|| panic!("{name} has no row in CLIENTS"))
}

impl Client {
    /// Why it cannot do this, if it cannot.
    pub(super) fn lack(&self, feature: Feature) -> Option<&'static str> {
        self.lacks.iter().find(|(lacked, _)| *lacked == feature).map(|(_, why)| *why)
    }

    /// The scenarios it can run.
    pub(super) fn scenarios(&self) -> Vec<&'static str> {
        let is_omitted = |name: &&str| self.omits.iter().any(|(omitted, _)| omitted == name);
        SCENARIOS.into_iter().filter(|name| !is_omitted(name)).collect()
    }
}
