//! `tollhouse backup`: a verified copy of a SQLite database while servers run on it, with the secret of its keys if that is
//! asked for. Nothing is overwritten, and what fails leaves nothing behind.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use data_encoding::HEXLOWER;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use tokio_util::sync::CancellationToken;
use tollhouse_domain::secret::random;
use tollhouse_store::backup;
use tollhouse_store::db::{Db, Url};
use tollhouse_store::files::{create_new, folder_of};
use zeroize::Zeroizing;

use super::{ENDING, Failure, open};
use crate::config::Settings;
use crate::file_access::check_folder;
use crate::keys::Seal;

pub(super) async fn run(flags: super::Backup) -> Result<(), Failure> {
    // From here on a signal ends it in order.
    let stop = super::stop_signal(ENDING)?;
    let (settings, url) = open::prepared(&flags.at)?;
    let Url::Sqlite(database) = &url else { return Err(Failure::Unusable(USE_PG_DUMP.into())) };
    if Db::is_empty(&url).await.with_context(|| format!("{url}"))? {
        return Err(anyhow!("{url}: the database is empty, so there is nothing to back up").into());
    }
    let done = copy(database, &flags.file, &settings, flags.with_key, &stop).await;
    match done {
        Err(_) if stop.is_cancelled() => Err(anyhow!("interrupted; no copy was made").into()),
        done => done,
    }
}

async fn copy(
    database: &Path,
    file: &Path,
    settings: &Settings,
    with_key: bool,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    let key_file = file.with_added_extension("key");
    refuse_existing(file)?;
    if with_key {
        refuse_existing(&key_file)?;
    }
    check_folder(folder_of(file)).map_err(Failure::Unusable)?;
    let secret = Seal::secret_file(settings, database);
    let key = match &secret {
        _ if !with_key => None,
        Some(path) => Some((Seal::read(path)?, Zeroizing::new(fs::read(path)?))),
        None => return Err(Failure::Unusable("there is no secret to copy: keys.at_rest is \"open\"".into())),
    };

    let draft = Draft::beside(file)?;
    let named = || format!("the copy of {}", database.display());
    let stop = stop.clone();
    backup::copy_sqlite(database, &draft.path, move || stop.is_cancelled()).await.with_context(named)?;
    let key_draft = match &key {
        None => None,
        Some((seal, bytes)) => {
            seal.opens(&backup::keys_in(&draft.path).await.with_context(named)?)?;
            let draft = Draft::beside(&key_file)?;
            File::options().write(true).open(&draft.path).and_then(|mut file| file.write_all(bytes))?;
            Some(draft)
        }
    };
    let size = fs::metadata(&draft.path)?.len();
    // The secret first, so that no copy is there without it.
    let key_placed = key_draft.map(|draft| draft.place(&key_file)).transpose()?;
    draft.place(file)?.keep();
    if let Some(placed) = key_placed {
        placed.keep();
    }
    println!("copied {} to {} and verified it ({size} bytes)", database.display(), file.display());
    match (with_key, secret) {
        (true, _) => println!("the secret of its keys is in {}", key_file.display()),
        (false, Some(secret)) => println!("the secret of its keys is not in the copy: keep {} too", secret.display()),
        (false, None) => {}
    }
    Ok(())
}

fn refuse_existing(path: &Path) -> Result<(), Failure> {
    match fs::symlink_metadata(path) {
        Ok(_) => Err(taken(path)),
        Err(_) => Ok(()),
    }
}

fn taken(path: &Path) -> Failure {
    anyhow!("{} already exists, and is not overwritten", path.display()).into()
}

/// A file for its owner alone that goes unless it is kept.
struct Draft {
    path: PathBuf,
    kept: bool,
}

impl Draft {
    /// With a name of its own until it is whole.
    fn beside(file: &Path) -> Result<Self, Failure> {
        if file.file_name().is_none() {
            return Err(Failure::Unusable(format!("{} is not the name of a file", file.display())));
        }
        let path = file.with_added_extension(format!("{}.part", HEXLOWER.encode(&random::<6>())));
        let made = create_new(&path, folder_of(file));
        made.with_context(|| format!("{}", path.display()))?;
        Ok(Self { path, kept: false })
    }

    /// Takes its name, once it is on the disk.
    fn place(mut self, to: &Path) -> Result<Self, Failure> {
        let context = || format!("{}", to.display());
        File::open(&self.path).and_then(|file| file.sync_all()).with_context(context)?;
        match rename_to_new(&self.path, to) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => return Err(taken(to)),
            placed => placed.with_context(context)?,
        }
        self.path = to.to_owned();
        File::open(folder_of(to)).and_then(|folder| folder.sync_all()).with_context(context)?;
        Ok(self)
    }

    fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.kept {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Renames a file, unless there is one of the new name.
fn rename_to_new(from: &Path, to: &Path) -> std::io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Some file systems, as those over a network, know links alone.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            fs::hard_link(from, to)?;
            fs::remove_file(from)
        }
        renamed => Ok(renamed?),
    }
}

const USE_PG_DUMP: &str = "backup copies a SQLite database; for PostgreSQL use pg_dump --format=custom --file=FILE";
