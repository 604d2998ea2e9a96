//! Puts every file of the web client into the binary, as a table sorted by path, and the commit
//! that it is built from.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// Deeper folders are somebody's mistake.
const DEPTH_MAX: usize = 8;

fn main() {
    let manifest_dir = env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it");
    name_commit(Path::new(&manifest_dir));
    let root = Path::new(&manifest_dir).join("web");
    println!("cargo::rerun-if-changed={}", root.display());
    let mut files = Vec::new();
    collect(&root, &mut files, 0);
    files.sort();
    let mut table = String::from("&[\n");
    let mut all = 0;
    for file in &files {
        let name = file.strip_prefix(&root).expect("collected below the root");
        let name = name.to_str().expect("file names of the web client are UTF-8");
        let contents = fs::read(file).expect("a file just listed can be read");
        let hash = fnv1a(&contents);
        all = fnv1a(format!("{all:016x}{name}{hash:016x}").as_bytes());
        writeln!(
            table,
            "    Embedded {{ path: {name:?}, etag: \"\\\"{}-{hash:016x}\\\"\", bytes: include_bytes!({:?}) }},",
            contents.len(),
            file.display().to_string(),
        )
        .expect("writing to a string cannot fail");
    }
    table.push(']');
    let out_dir = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    fs::write(out_dir.join("embedded.rs"), table).expect("cargo's output folder is writable");
    // The address of this very web client: modules of two of them never meet.
    println!("cargo::rustc-env=AULA_WEB_HASH={all:016x}");
}

/// `AULA_COMMIT` wins, for builds without Git; where there is neither, it is not known.
fn name_commit(folder: &Path) {
    let git = |arguments: &[&str]| {
        let done = Command::new("git").arg("-C").arg(folder).args(arguments).output().ok()?;
        let text = String::from_utf8(done.stdout).ok()?.trim().to_owned();
        (done.status.success() && !text.is_empty()).then_some(text)
    };
    println!("cargo::rerun-if-env-changed=AULA_COMMIT");
    // Grows with every commit and checkout. Of another repository around this folder it would say
    // nothing.
    let log = git(&["rev-parse", "--show-prefix"])
        .is_none()
        .then(|| git(&["rev-parse", "--git-path", "logs/HEAD"]))
        .flatten()
        .map(|log| folder.join(log))
        .filter(|log| log.exists());
    let commit = log.and_then(|log| {
        println!("cargo::rerun-if-changed={}", log.display());
        git(&["rev-parse", "--short=12", "HEAD"])
    });
    let told = env::var("AULA_COMMIT")
        .ok()
        .filter(|told| !told.is_empty())
        .or(commit)
        .unwrap_or_else(|| "unknown".to_owned());
    let told: String = told.chars().filter(char::is_ascii_alphanumeric).take(40).collect();
    println!("cargo::rustc-env=AULA_COMMIT={told}");
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>, depth: usize) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        let is_source_only = name.starts_with('.')
            || name == "node_modules"
            || name.starts_with("package")
            || name.ends_with(".md");
        if is_source_only || depth > DEPTH_MAX {
            continue;
        }
        println!("cargo::rerun-if-changed={}", path.display());
        if path.is_dir() {
            collect(&path, files, depth + 1);
        } else {
            files.push(path);
        }
    }
}

/// Only to tell versions of a file apart.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
