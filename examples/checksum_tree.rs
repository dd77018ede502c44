//! Hashes all files below a directory with SHA-256 on a pool of threads.
//!
//! Without a directory it takes this crate's own folder, but for `target` and `.git`. A file that
//! cannot be read is reported and left out. Symbolic links are not followed.
//!
//! ```text
//! cargo run --release --example checksum_tree
//! cargo run --release --example checksum_tree -- [--compare] [--workers N] [DIRECTORY]
//! ```
//!
//! `--compare` does the same work in one thread as well and prints the ratio.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use concurrent::futures::{ThreadPoolExecutor, as_completed};
use sha2::{Digest, Sha256};

const USAGE: &str = "usage: checksum_tree [--compare] [--workers N] [DIRECTORY]";

struct Hashed {
    bytes: u64,
    digest: [u8; 32],
}

fn hash(path: impl AsRef<Path>) -> io::Result<Hashed> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    let mut bytes = 0;
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(Hashed { bytes, digest: hasher.finalize().into() }),
            read => {
                hasher.update(&buffer[..read]);
                bytes += read as u64;
            }
        }
    }
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let options = match Options::parse(std::env::args_os().skip(1)) {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("checksum_tree: {problem}\n{USAGE}");
            return Ok(ExitCode::from(2));
        }
    };
    let files = files_below(&options.directory, options.skip);
    println!("{} files below {}", files.len(), options.directory.display());
    if options.compare {
        on_pool(&files, options.workers, &mut Progress::silent(0))?; // fills the file cache
    }

    let parallel = on_pool(&files, options.workers, &mut Progress::new(files.len()))?;
    println!("{:>10}: {}", format!("{} workers", options.workers), parallel.summary());
    let digest = parallel.combined_digest(&options.directory);
    println!("{:>10}: {digest}", "digest");

    if options.compare {
        let sequential = in_sequence(&files, &mut Progress::silent(files.len()));
        println!("{:>10}: {}", "1 thread", sequential.summary());
        let ratio = sequential.time.as_secs_f64() / parallel.time.as_secs_f64();
        println!("{:>10}: {ratio:.2} times as fast on the pool", "ratio");
        if sequential.combined_digest(&options.directory) != digest {
            eprintln!("the digests differ: files changed in between");
            return Ok(ExitCode::FAILURE);
        }
        println!("{:>10}: equal", "digests");
    }
    Ok(ExitCode::SUCCESS)
}

/// The work: a call for each file, taken as they are done.
fn on_pool(
    files: &[PathBuf],
    workers: usize,
    progress: &mut Progress,
) -> concurrent::Result<Report> {
    let mut report = Report::begin();
    let pool = ThreadPoolExecutor::new(workers)?;
    let mut path_of = HashMap::new();
    for path in files {
        path_of.insert(pool.submit(hash, path.clone())?, path);
    }
    for future in as_completed(path_of.keys()) {
        let path = path_of[future];
        match future.result()? {
            Ok(Hashed { bytes, digest }) => report.add(path, *bytes, *digest),
            Err(error) => report.fail(path, error, progress),
        }
        progress.step();
    }
    Ok(report.end())
}

/// The same without a pool.
fn in_sequence(files: &[PathBuf], progress: &mut Progress) -> Report {
    let mut report = Report::begin();
    for path in files {
        match hash(path) {
            Ok(Hashed { bytes, digest }) => report.add(path, bytes, digest),
            Err(error) => report.fail(path, &error, progress),
        }
        progress.step();
    }
    report.end()
}

/// Regular files below `root`, or `root` itself. Directories that cannot be read are reported.
fn files_below(root: &Path, skip: &[&str]) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut directories = Vec::new();
    if root.is_dir() {
        directories.push(root.to_owned())
    } else {
        files.push(root.to_owned())
    }
    while let Some(directory) = directories.pop() {
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) => {
                eprintln!("{}: {error}", directory.display());
                continue;
            }
        };
        for entry in entries.flatten() {
            // The type of the entry itself: a link is neither file nor directory, so links make no loops.
            let Ok(kind) = entry.file_type() else { continue };
            if skip.iter().any(|name| entry.file_name() == OsStr::new(name)) {
                continue;
            } else if kind.is_dir() {
                directories.push(entry.path());
            } else if kind.is_file() {
                files.push(entry.path());
            }
        }
    }
    files
}

/// The result of one pass over the files.
struct Report {
    /// By path, so that the combined digest does not depend on the order of completion.
    digests: BTreeMap<PathBuf, [u8; 32]>,
    bytes: u64,
    failed: usize,
    begun: Instant,
    time: Duration,
}

impl Report {
    fn begin() -> Self {
        let (digests, begun) = (BTreeMap::new(), Instant::now());
        Self { digests, bytes: 0, failed: 0, begun, time: Duration::ZERO }
    }

    fn add(&mut self, path: &Path, bytes: u64, digest: [u8; 32]) {
        self.bytes += bytes;
        self.digests.insert(path.to_owned(), digest);
    }

    fn fail(&mut self, path: &Path, error: &io::Error, progress: &Progress) {
        self.failed += 1;
        progress.print(&format!("{}: {error}", path.display()));
    }

    fn end(mut self) -> Self {
        self.time = self.begun.elapsed();
        self
    }

    fn summary(&self) -> String {
        let (files, megabytes) = (self.digests.len(), self.bytes as f64 / 1e6);
        let seconds = self.time.as_secs_f64();
        let speed = megabytes / seconds;
        let mut line =
            format!("{files} files, {megabytes:.1} MB in {seconds:.3} s, {speed:.0} MB/s");
        if self.failed > 0 {
            line += &format!(", {} unreadable", self.failed);
        }
        line
    }

    /// One digest over the names below `root` and the digests of all files.
    fn combined_digest(&self, root: &Path) -> String {
        let mut hasher = Sha256::new();
        for (path, digest) in &self.digests {
            let name = path.strip_prefix(root).unwrap_or(path).as_os_str().as_encoded_bytes();
            hasher.update((name.len() as u64).to_le_bytes());
            hasher.update(name);
            hasher.update(digest);
        }
        hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Files that failed, and a bar if standard error is a terminal.
struct Progress {
    done: usize,
    total: usize,
    silent: bool,
    bar: bool,
    drawn: Option<Instant>,
}

impl Progress {
    fn new(total: usize) -> Self {
        Self { done: 0, total, silent: false, bar: io::stderr().is_terminal(), drawn: None }
    }

    /// Does not report failed files, since another pass does, and draws no bar for a total of 0.
    fn silent(total: usize) -> Self {
        Self { silent: true, bar: total > 0 && io::stderr().is_terminal(), ..Self::new(total) }
    }

    fn step(&mut self) {
        const WIDTH: usize = 40;
        const PAUSE: Duration = Duration::from_millis(50);

        self.done += 1;
        let last = self.done == self.total;
        if !self.bar || (!last && self.drawn.is_some_and(|drawn| drawn.elapsed() < PAUSE)) {
            return;
        }
        self.drawn = Some(Instant::now());
        let filled = WIDTH * self.done / self.total;
        let (bar, end) = ("#".repeat(filled), if last { "\n" } else { "" });
        eprint!("\r[{bar:.<WIDTH$}] {}/{}{end}", self.done, self.total);
        let _ = io::stderr().flush(); // a bar that cannot be drawn is no reason to stop
    }

    /// Prints a line in place of the bar, which the next step draws again below it.
    fn print(&self, line: &str) {
        if !self.silent {
            eprintln!("{}{line}", if self.bar { "\r\x1b[K" } else { "" });
        }
    }
}

struct Options {
    directory: PathBuf,
    skip: &'static [&'static str],
    workers: usize,
    compare: bool,
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = std::ffi::OsString>) -> Result<Self, String> {
        let mut directory = None;
        let mut workers = std::thread::available_parallelism().map_or(1, usize::from);
        let mut compare = false;
        while let Some(argument) = arguments.next() {
            match argument.to_str() {
                Some("--compare") => compare = true,
                Some("--workers") => {
                    let number = arguments.next().and_then(|text| text.to_str()?.parse().ok());
                    workers = number
                        .filter(|workers| *workers > 0)
                        .ok_or("--workers takes a number greater than 0")?;
                }
                Some(option) if option.starts_with('-') => {
                    return Err(format!("unknown option {option}"));
                }
                _ if directory.is_some() => return Err("more than one directory".into()),
                _ => directory = Some(PathBuf::from(argument)),
            }
        }
        let own = directory.is_none();
        let directory = directory.unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        if let Err(error) = fs::metadata(&directory) {
            return Err(format!("{}: {error}", directory.display()));
        }
        let skip: &[&str] = if own { &["target", ".git"] } else { &[] };
        Ok(Self { directory, skip, workers, compare })
    }
}
