//! Counts the words of all text files below a directory, in chunks, on worker processes.
//!
//! `cargo run --release --example word_count [-- directory]`

#![cfg_attr(not(target_os = "linux"), allow(dead_code, unused_imports))]

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use concurrent::Error;
#[cfg(target_os = "linux")]
use concurrent::futures::{MapOptions, ProcessPoolExecutor, process};

/// Whether a file counts as text.
const ENDINGS: [&str; 4] = ["md", "rs", "toml", "txt"];

fn count(path: PathBuf) -> Result<HashMap<String, u64>, String> {
    let text = std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut words = HashMap::new();
    for word in String::from_utf8_lossy(&text).split(|c: char| !c.is_alphabetic()) {
        if word.len() > 3 {
            *words.entry(word.to_lowercase()).or_default() += 1;
        }
    }
    Ok(words)
}

fn text_files(directory: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or("");
        if kind.is_dir() {
            text_files(&path, found)?;
        } else if ENDINGS.contains(&ending) {
            found.push(path);
        }
    }
    Ok(())
}

#[cfg(target_os = "linux")]
fn main() -> concurrent::Result<()> {
    process::init();
    let directory = std::env::args().nth(1).unwrap_or_else(|| "src".into());
    let mut files = Vec::new();
    text_files(directory.as_ref(), &mut files).map_err(Error::raised)?;
    let total = files.len();

    let pool = ProcessPoolExecutor::new(2)?;
    let options = MapOptions::new().chunk_size(8).unordered(true);
    let mut words: HashMap<String, u64> = HashMap::new();
    for counted in pool.map_with(options, count, files)? {
        match counted? {
            Ok(counted) => {
                counted.into_iter().for_each(|(word, n)| *words.entry(word).or_default() += n);
            }
            Err(unreadable) => eprintln!("{unreadable}"),
        }
    }

    let mut ranking: Vec<(String, u64)> = words.into_iter().collect();
    ranking.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    println!("{} different words in {total} files below {directory}", ranking.len());
    ranking.iter().take(10).for_each(|(word, n)| println!("{n:>7}  {word}"));
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("worker processes need Linux");
}
