//! `docs/threats.md`: what it names is there, and no comment speaks of a row that is not.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const FOLDERS: [&str; 10] = [
    "src",
    "signalling",
    "dataplane",
    "recording",
    "stun",
    "loadtest",
    "aulactl",
    "tests",
    "fuzz/fuzz_targets",
    "benches",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Number, and what shows it, of each row.
fn rows() -> Vec<(u32, String)> {
    let text = fs::read_to_string(root().join("docs/threats.md")).expect("the page is there");
    let rows = text.lines().filter_map(|line| {
        let mut cells = line.trim_matches('|').split(" | ");
        let number = cells.next()?.trim().parse().ok()?;
        Some((number, cells.last()?.trim().to_owned()))
    });
    rows.collect()
}

#[test]
fn what_shows_a_row_is_there() {
    let rows = rows();
    let numbers: Vec<u32> = rows.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, (1..=58).collect::<Vec<_>>());
    for (number, shown) in rows {
        if shown == "nothing" {
            continue;
        }
        for place in shown.split(", ") {
            let words: Vec<&str> =
                place.split('`').filter(|word| !word.trim().is_empty()).collect();
            let (file, name) = match words[..] {
                [file] => (file, ""),
                [file, name] => (file, name),
                _ => panic!("row {number}: {place:?} is no file and name"),
            };
            let text = fs::read_to_string(root().join(file));
            let text = text.unwrap_or_else(|error| panic!("row {number}: {file}: {error}"));
            assert!(text.contains(name), "row {number}: {file} has no {name}");
        }
    }
}

/// The numbers after each `row` or `rows` in a text.
fn spoken_of(text: &str) -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    for word in ["Row ", "Rows ", "row ", "rows "] {
        for (at, _) in text.match_indices(word) {
            let rest = &text[at + word.len()..];
            let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            found.extend(rest[..end].parse::<u32>());
        }
    }
    found
}

fn read_all(folder: &Path, found: &mut BTreeSet<u32>) {
    for entry in fs::read_dir(folder).expect("the folder is there").flatten() {
        let path = entry.path();
        if path.is_dir() && !path.ends_with("node_modules") && !path.ends_with("target") {
            read_all(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.extend(spoken_of(&fs::read_to_string(&path).unwrap_or_default()));
        }
    }
}

#[test]
fn every_row_that_comments_speak_of_is_there() {
    let numbers: BTreeSet<u32> = rows().into_iter().map(|(number, _)| number).collect();
    let mut found = BTreeSet::new();
    for folder in FOLDERS {
        read_all(&root().join(folder), &mut found);
    }
    assert!(found.len() > 10, "the search finds nothing: {found:?}");
    assert!(found.is_subset(&numbers), "{:?}", found.difference(&numbers));
}
