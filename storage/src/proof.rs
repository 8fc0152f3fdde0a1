//! The proof that nothing is lost: random lives of a log and its journal on a disk that crashes, fails and rots, and
//! a model that knows what must be there. `crashes`: after every call. `failures`: the n-th call fails, for every n.
//! `rot`: damage of every kind. Long runs: `NSQUBE_SEEDS=5000 NSQUBE_SEED_FROM=0 cargo test --release -p storage proof`.

mod crashes;
mod failures;
mod look;
mod model;
mod rot;
mod world;

/// The seeds to run: `gate` of them from 0, unless the environment asks for others.
fn seeds(gate: u64) -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let from = number("NSQUBE_SEED_FROM").unwrap_or(0);
    from..from + number("NSQUBE_SEEDS").unwrap_or(gate)
}

/// Whether this is a long run, which looks at everything; the gate looks at a sample.
fn is_long() -> bool {
    std::env::var_os("NSQUBE_SEEDS").is_some()
}

/// Run `check` for every seed on all cores. The first that fails is told with the command that repeats it.
fn each_seed(seeds: std::ops::Range<u64>, test: &str, check: impl Fn(u64) -> u64 + Sync) -> u64 {
    let (next, total) = (std::sync::Mutex::new(seeds), std::sync::Mutex::new(0));
    let work = || {
        while let Some(seed) = { next.lock().unwrap().next() } {
            match std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(seed))) {
                Ok(count) => *total.lock().unwrap() += count,
                Err(_) => panic!(
                    "seed {seed}; repeat with: NSQUBE_SEEDS=1 NSQUBE_SEED_FROM={seed} cargo test -p storage {test}"
                ),
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(4);
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    total.into_inner().unwrap()
}
