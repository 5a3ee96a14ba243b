//! Who may have access to a file that holds secrets (T31): a database, the secret of the keys, a password.
//!
//! Every other user of the machine is kept out. A group is allowed, because its members are chosen by an administrator of
//! the machine.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use tollhouse_store::files::folder_of;

/// Refuses a file that other users of the machine can read, write or replace, or that belongs to one of them. A file that
/// is not there yet may be made: then only its folder is looked at. The error is one line that says what to do.
pub fn check_file(path: &Path) -> Result<(), String> {
    if let Ok(file) = fs::metadata(path).map(Facts::from)
        && let Some(fault) = fault_of_file(file, own_user())
    {
        return Err(fault.told(path, file.owner));
    }
    check_folder(folder_of(path))?;
    // Where the path is a symbolic link, its target can be replaced too.
    fs::canonicalize(path).map_or(Ok(()), |real| check_folder(folder_of(&real)))
}

/// Refuses a folder in which other users of the machine can replace files.
pub fn check_folder(folder: &Path) -> Result<(), String> {
    match fs::metadata(folder).map(Facts::from) {
        Ok(known) if is_open_folder(known) => {
            let folder = folder.display();
            Err(format!("other users of this machine can replace files in {folder}: chmod o-w {folder}"))
        }
        _ => Ok(()),
    }
}

/// What decides, as `stat` tells it.
#[derive(Clone, Copy, Debug)]
struct Facts {
    mode: u32,
    owner: u32,
}

impl From<Metadata> for Facts {
    fn from(known: Metadata) -> Self {
        Self { mode: known.mode(), owner: known.uid() }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// Every user of the machine may read or write it.
    Open,
    /// It belongs to another user, who may change it and its mode.
    Foreign,
}

impl Fault {
    fn told(self, path: &Path, owner: u32) -> String {
        let path = path.display();
        match self {
            Self::Open => format!("{path} is open to other users of this machine: chmod o-rwx {path}"),
            Self::Foreign => format!(
                "{path} belongs to the user {owner}, who is neither the user of this process nor root: chown {} {path}",
                own_user()
            ),
        }
    }
}

fn fault_of_file(file: Facts, own_user: u32) -> Option<Fault> {
    if file.mode & OTHERS_READ_OR_WRITE != 0 {
        return Some(Fault::Open);
    }
    // Root works on the files of the server's user.
    (own_user != ROOT && file.owner != own_user && file.owner != ROOT).then_some(Fault::Foreign)
}

/// In a folder with the sticky bit, as `/tmp`, a file is replaced by its owner alone.
fn is_open_folder(folder: Facts) -> bool {
    folder.mode & OTHERS_WRITE != 0 && folder.mode & STICKY == 0
}

fn own_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

const OTHERS_READ_OR_WRITE: u32 = 0o006;
const OTHERS_WRITE: u32 = 0o002;
const STICKY: u32 = 0o1000;
const ROOT: u32 = 0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t31_a_file_is_for_its_user_and_a_group() {
        let cases = [
            (0o600, 7, 7, None),
            (0o400, 7, 7, None),
            (0o660, 7, 7, None),
            (0o671, 7, 7, None),
            (0o640, ROOT, 7, None),
            (0o604, 7, 7, Some(Fault::Open)),
            (0o602, 7, 7, Some(Fault::Open)),
            (0o644, ROOT, ROOT, Some(Fault::Open)),
            (0o600, 8, 7, Some(Fault::Foreign)),
            (0o644, 8, 7, Some(Fault::Open)),
            (0o600, 8, ROOT, None),
        ];
        for (mode, owner, own_user, fault) in cases {
            let found = fault_of_file(Facts { mode: 0o100_000 | mode, owner }, own_user);
            assert_eq!(found, fault, "{mode:o} of {owner}, asked by {own_user}");
        }
    }

    #[test]
    fn t31_a_folder_is_not_for_everybody() {
        for (mode, fault) in
            [(0o700, false), (0o755, false), (0o770, false), (0o1777, false), (0o777, true), (0o702, true)]
        {
            assert_eq!(is_open_folder(Facts { mode: 0o040_000 | mode, owner: 7 }), fault, "{mode:o}");
        }
    }
}
