//! Finds the server program that is to be killed: the one that is given, or the one that cargo
//! builds from the same sources with the same profile, or the one beside this program.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// See the module. Nothing is built before it is asked for.
#[derive(Debug)]
pub(crate) struct Server {
    given: Option<PathBuf>,
    found: OnceLock<Result<PathBuf, String>>,
}

impl Server {
    pub(crate) fn new(given: Option<PathBuf>) -> Self {
        Server { given, found: OnceLock::new() }
    }

    /// The program's path.
    pub(crate) fn path(&self) -> Result<PathBuf, String> {
        self.found.get_or_init(|| self.find()).clone()
    }

    fn find(&self) -> Result<PathBuf, String> {
        if let Some(path) = &self.given {
            let is_there = path.is_file().then(|| path.clone());
            return is_there.ok_or_else(|| format!("there is no server {}", path.display()));
        }
        let own = std::env::current_exe().map_err(|error| error.to_string())?;
        let directory = own.parent().unwrap_or(Path::new("."));
        if let Some(cargo) = std::env::var_os("CARGO") {
            build(Path::new(&cargo), directory)?;
        }
        let path = directory.join("chronos");
        if path.is_file() {
            return Ok(path);
        }
        Err(format!("{} is missing: build it, or name a server with --server", path.display()))
    }
}

/// Builds the server into `directory`, which is `TARGET/PROFILE`.
fn build(cargo: &Path, directory: &Path) -> Result<(), String> {
    let profile = directory.file_name().and_then(|name| name.to_str()).unwrap_or("release");
    let profile = if profile == "debug" { "dev" } else { profile };
    let target = directory.parent().unwrap_or(directory);
    let features = if cfg!(feature = "planted") { "planted" } else { "campaign" };
    let status = Command::new(cargo)
        .args(["build", "--quiet", "--bin", "chronos", "--features", features])
        .args(["--profile", profile, "--manifest-path"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"))
        .arg("--target-dir")
        .arg(target)
        .stdin(Stdio::null())
        .status()
        .map_err(|error| format!("cannot run cargo: {error}"))?;
    if status.success() { Ok(()) } else { Err("the server does not build".to_owned()) }
}
