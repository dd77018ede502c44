//! The long run: mixed load with faults on pools of threads and processes and on schedulers, while
//! memory, descriptors and threads are watched; then races, very often. See `--help`.

#[path = "../common/mod.rs"]
mod common;

#[cfg(target_os = "linux")]
mod events;
#[cfg(target_os = "linux")]
mod load;
#[cfg(target_os = "linux")]
mod picture;
#[cfg(target_os = "linux")]
mod races;
#[cfg(target_os = "linux")]
mod sample;

#[cfg(target_os = "linux")]
mod options {
    use std::time::Duration;

    const HELP: &str = "\
cargo test --release --test soak -- [OPTIONS]
  --minutes N   mixed load with faults for so long (0.1)
  --races N     pairs of a cancel and a completion (100000)
  --events N    events entered and cancelled by 8 threads (100000)
  --seed N      what the load's random numbers begin with
  --csv FILE    where the samples of the load go
  --svg FILE    a picture of them";

    pub(crate) struct Options {
        pub(crate) load: Duration,
        pub(crate) races: u64,
        pub(crate) events: u64,
        pub(crate) seed: u64,
        pub(crate) csv: Option<String>,
        pub(crate) svg: Option<String>,
    }

    impl Options {
        /// From the command line; `None` if it asks for something else, as a list of tests.
        pub(crate) fn read() -> Option<Self> {
            let mut options = Self {
                load: Duration::from_secs(6),
                races: 100_000,
                events: 100_000,
                seed: std::time::UNIX_EPOCH.elapsed().unwrap().as_secs(),
                csv: None,
                svg: None,
            };
            let mut arguments = std::env::args().skip(1);
            while let Some(name) = arguments.next() {
                let mut value = || arguments.next().unwrap_or_else(|| fail(&name));
                match name.as_str() {
                    "--minutes" => {
                        let minutes: f64 = number(&name, &value());
                        options.load = Duration::from_secs_f64(minutes * 60.0);
                    }
                    "--races" => options.races = number(&name, &value()),
                    "--events" => options.events = number(&name, &value()),
                    "--seed" => options.seed = number(&name, &value()),
                    "--csv" => options.csv = Some(value()),
                    "--svg" => options.svg = Some(value()),
                    "--list" => return None,
                    "--help" => {
                        println!("{HELP}");
                        return None;
                    }
                    // A filter or an option that `cargo test` gives to every target.
                    _ => return None,
                }
            }
            Some(options)
        }
    }

    fn number<T: std::str::FromStr>(name: &str, value: &str) -> T {
        value.parse().unwrap_or_else(|_| fail(name))
    }

    fn fail(name: &str) -> ! {
        eprintln!("{name}: needs a value\n{HELP}");
        std::process::exit(2)
    }
}

#[cfg(target_os = "linux")]
fn main() {
    common::expected_panics::silence(); // in workers, too
    concurrent::futures::process::init();
    let Some(options) = options::Options::read() else { return };
    println!("soak: {:.1} min of load, seed {}", options.load.as_secs_f64() / 60.0, options.seed);
    let samples = load::run(options.load, options.seed);
    if let Some(path) = &options.csv {
        std::fs::write(path, sample::csv(&samples)).unwrap();
    }
    if let Some(path) = &options.svg {
        std::fs::write(path, picture::draw(&samples)).unwrap();
    }
    sample::assert_flat(&samples);
    races::run(options.races);
    events::run(options.events, options.seed);
    println!("soak: ok");
}

#[cfg(not(target_os = "linux"))]
fn main() {}
