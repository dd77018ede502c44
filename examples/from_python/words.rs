//! A text pipeline: reads files, splits them into words, counts these on processes, merges, ranks.

#![cfg_attr(not(target_os = "linux"), allow(dead_code, unused_imports))]

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

#[cfg(target_os = "linux")]
use concurrent::futures::{MapOptions, ProcessPoolExecutor, process};

type Counter = HashMap<String, u64>;

fn count(path: PathBuf) -> Result<Counter, String> {
    let text = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let text = String::from_utf8_lossy(&text).to_lowercase();
    let mut words = Counter::new();
    for word in text.split(|c: char| !c.is_ascii_lowercase()).filter(|word| word.len() > 3) {
        match words.get_mut(word) {
            Some(n) => *n += 1,
            None => drop(words.insert(word.to_owned(), 1)),
        }
    }
    Ok(words)
}

fn text_files(folder: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            text_files(&path, found)?;
        } else if path.extension().is_some_and(|ending| ending == "txt") {
            found.push(path);
        }
    }
    Ok(())
}

#[cfg(target_os = "linux")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    process::init();
    let folder = std::env::args().nth(1).ok_or("the folder of the texts, please")?;
    let mut files = Vec::new();
    text_files(Path::new(&folder), &mut files)?;
    let number = files.len();

    let mut total = Counter::new();
    let pool = ProcessPoolExecutor::builder().build()?;
    for words in pool.map_with(MapOptions::new().chunk_size(4), count, files)? {
        for (word, n) in words?? {
            *total.entry(word).or_default() += n;
        }
    }
    println!("{} words, {} different, in {number} files", total.values().sum::<u64>(), total.len());
    let mut ranking: Vec<(String, u64)> = total.into_iter().collect();
    ranking.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    ranking.iter().take(10).for_each(|(word, n)| println!("{n:>8} {word}"));
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("worker processes need Linux");
}
