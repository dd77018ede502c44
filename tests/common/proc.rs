//! Counts the children and descriptors of a process, from `/proc`.

use std::fs;

/// How many entries a folder has.
pub(crate) fn count(path: &str) -> usize {
    fs::read_dir(path).unwrap().count()
}

/// The children of a process, zombies too.
pub(crate) fn children(pid: u32) -> Vec<u32> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let lists = tasks.flatten().map(|task| fs::read_to_string(task.path().join("children")));
    lists.flatten().flat_map(|list| numbers(&list)).collect()
}

fn numbers(list: &str) -> Vec<u32> {
    list.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}
