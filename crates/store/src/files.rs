//! Private files and folders. What root makes belongs to the user whose files it stands beside: a command that root runs must
//! leave nothing that the server, which is another user, cannot open.

use std::fs::{DirBuilder, File, Metadata};
use std::io::{ErrorKind, Result};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

/// Makes a file of mode 0600, and fails if there is one. `like`: the file or folder whose owner it gets, if root makes it.
pub fn create_new(path: &Path, like: &Path) -> Result<File> {
    // Never through a symbolic link: the owner of the folder must not choose which file changes hands.
    let file = File::options().read(true).append(true).create_new(true).mode(0o600).open(path)?;
    if let Some((user, group)) = heir(&std::fs::metadata(like)?) {
        std::os::unix::fs::fchown(&file, Some(user), Some(group))?;
    }
    Ok(file)
}

/// Opens a file, or makes it as [`create_new`] does.
pub fn open_or_create(path: &Path, like: &Path) -> Result<File> {
    match create_new(path, like) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => File::options().append(true).open(path),
        made => made,
    }
}

/// Makes a folder of mode 0700, and those above it that are missing. Each gets the owner of the one above it, if root
/// makes it.
pub fn create_folder(path: &Path) -> Result<()> {
    let above = folder_of(path);
    if !above.exists() {
        create_folder(above)?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => return Ok(()),
        made => made?,
    }
    match heir(&std::fs::metadata(above)?) {
        Some((user, group)) => std::os::unix::fs::lchown(path, Some(user), Some(group)),
        None => Ok(()),
    }
}

/// The folder that a file stands in.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// To whom root gives what it makes; `None`: this is not root, or nobody else is concerned.
fn heir(like: &Metadata) -> Option<(u32, u32)> {
    (rustix::process::geteuid().is_root() && like.uid() != 0).then(|| (like.uid(), like.gid()))
}
