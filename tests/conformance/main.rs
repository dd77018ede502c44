//! Lists which test covers which point of CPython's behaviour, as the tests themselves say.
//!
//! A test says what it covers in the comment above it: `// case 12, F22`. Each point of
//! `points.txt` must be named so by a test, or say there why none can; and `docs/conformance.md`,
//! which is written from both, must be as it would be written now:
//! `CONFORMANCE=write cargo test --test conformance`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// A point of Python's behaviour or a case of its test suite.
struct Point {
    id: String,
    mark: String,
    text: String,
    /// Why no test names it.
    excuse: Option<String>,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn points() -> Vec<Point> {
    let text = include_str!("points.txt");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let mut fields = line.split('|').map(|field| field.trim().to_owned());
            let mut field = || fields.next().unwrap_or_else(|| panic!("too short: {line}"));
            let (id, mark, text) = (field(), field(), field());
            Point { id, mark, text, excuse: fields.next() }
        })
        .collect()
}

/// The ids in the text of a comment: `S1`, `F22`, `case 12`.
fn ids(comment: &str) -> Vec<String> {
    let separators = |c: char| !c.is_ascii_alphanumeric() && c != '_';
    let words: Vec<_> = comment.split(separators).filter(|word| !word.is_empty()).collect();
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let mut ids = Vec::new();
    for (index, word) in words.iter().enumerate() {
        let after_case = index > 0 && words[index - 1] == "case";
        if after_case && is_number(word) {
            ids.push(format!("case {word}"));
        } else if word.starts_with(['S', 'F']) && is_number(&word[1..]) {
            ids.push((*word).to_owned());
        }
    }
    ids
}

/// The tests of a source file, with the ids in the comment above each.
///
/// In a file of a harness of its own, any function: one that is not among its `trials` is dead code,
/// and the compiler says so.
fn tests_of(source: &str) -> Vec<(String, Vec<String>)> {
    let own_harness = source.contains("trials![");
    let mut comment = String::new();
    let mut is_test = false;
    let mut tests = Vec::new();
    for line in source.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("//") {
            comment += text;
            comment.push('\n');
        } else if line.starts_with("#[") {
            is_test |= line == "#[test]";
        } else {
            let name = line.strip_prefix("fn ").and_then(|rest| rest.split(['(', '<']).next());
            if let (true, Some(name)) = (is_test || own_harness, name) {
                tests.push((name.to_owned(), ids(&comment)));
            }
            comment.clear();
            is_test = false;
        }
    }
    tests
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder of a test can be read") {
        let path = entry.expect("its entries too").path();
        if path.is_dir() {
            if !path.ends_with("conformance") {
                found.extend(sources(&path));
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// By id, the tests that name it, as `file::test`.
fn covered() -> BTreeMap<String, Vec<String>> {
    let mut covered = BTreeMap::<String, Vec<String>>::new();
    let folder = root().join("tests");
    for path in sources(&folder) {
        let source = fs::read_to_string(&path).expect("a source file is text");
        let file = path.strip_prefix(&folder).expect("it was found there").with_extension("");
        let parts: Vec<_> = file.iter().map(|part| part.to_string_lossy()).collect();
        for (test, ids) in tests_of(&source) {
            for id in ids {
                covered.entry(id).or_default().push(format!("{}::{test}", parts.join("::")));
            }
        }
    }
    covered
}

fn table(points: &[Point], covered: &BTreeMap<String, Vec<String>>) -> String {
    let named = points.iter().filter(|point| covered.contains_key(&point.id)).count();
    let mut page = format!(
        "# Conformance\n\n\
         What CPython does, point by point (S: `sched`, F: `concurrent.futures`), and the cases of \
         its own test suite,\nwith the tests of this crate that name them: {named} of {}; the \
         others say why not.\nMarks: R applies to Rust as it is, A is adapted, P is about Python \
         only.\n\nWritten by `CONFORMANCE=write cargo test --test conformance`.\n\n\
         | | | what | tests |\n| --- | --- | --- | --- |\n",
        points.len()
    );
    for Point { id, mark, text, excuse } in points {
        let text = text.replace('*', "\\*").replace('<', "&lt;");
        let tests = match (covered.get(id), excuse) {
            (Some(tests), _) => {
                let tests: Vec<_> = tests.iter().map(|test| format!("`{test}`")).collect();
                tests.join(", ")
            }
            (None, Some(excuse)) => format!("none: {excuse}"),
            (None, None) => "**none**".to_owned(),
        };
        let _ = writeln!(page, "| {id} | {mark} | {text} | {tests} |");
    }
    page
}

#[test]
fn every_point_is_named_by_a_test_or_says_why_not() {
    let (points, covered) = (points(), covered());
    let is_missing = |p: &&Point| p.excuse.is_none() && !covered.contains_key(&p.id);
    let missing: Vec<_> = points.iter().filter(is_missing).map(|p| p.id.as_str()).collect();
    assert!(missing.is_empty(), "no test names {missing:?}");
    let is_idle = |p: &&Point| p.excuse.is_some() && covered.contains_key(&p.id);
    let idle: Vec<_> = points.iter().filter(is_idle).map(|p| p.id.as_str()).collect();
    assert!(idle.is_empty(), "an excuse although a test names it: {idle:?}");
    let known = |id: &&String| points.iter().any(|point| point.id == **id);
    let unknown: Vec<_> = covered.keys().filter(|id| !known(id)).collect();
    assert!(unknown.is_empty(), "no such point: {unknown:?}");
}

#[test]
fn the_table_in_the_documentation_is_up_to_date() {
    let page = table(&points(), &covered());
    let path = root().join("docs/conformance.md");
    if env::var("CONFORMANCE").is_ok_and(|value| value == "write") {
        fs::create_dir_all(root().join("docs")).expect("the folder can be made");
        fs::write(&path, &page).expect("the page can be written");
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == page, "stale: run `CONFORMANCE=write cargo test --test conformance`");
}

#[test]
fn ids_are_found_in_comments_above_tests_only() {
    let source = "
        // case 12, F22: not F9_9, nor a case without number
        #[test]
        #[cfg(unix)]
        fn one() { // S7
        }
        // F1
        fn helper() {}
        #[test]
        fn two() {}
    ";
    let expected = [("one", vec!["case 12", "F22"]), ("two", vec![])];
    let found = tests_of(source);
    assert_eq!(found.len(), expected.len());
    for ((name, ids), expected) in found.iter().zip(expected) {
        assert_eq!((name.as_str(), ids.iter().map(String::as_str).collect()), expected);
    }
}
