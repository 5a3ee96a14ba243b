//! A PostgreSQL of our own, on a socket in a temporary folder. `initdb` refuses root, so it runs as another user.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use tempfile::TempDir;
use tollhouse_store::db::{Db, Url};

/// It lives for minutes, and has hundreds of small databases.
const SETTINGS: &[&str] = &[
    "listen_addresses=",
    "max_connections=400",
    "fsync=off",
    "full_page_writes=off",
    "wal_level=minimal",
    "max_wal_senders=0",
    "max_wal_size=4GB",
    "checkpoint_timeout=1h",
    "autovacuum=off",
    "shared_buffers=128MB",
];

pub struct Postgres {
    server: Child,
    bin: PathBuf,
    folder: TempDir,
    /// Settings of this one alone.
    more: Vec<String>,
    count: AtomicU32,
    prepared: OnceLock<String>,
    /// Those that have nothing to do at this moment.
    sessions: Mutex<Vec<Session>>,
}

/// A psql that goes on: to start one takes longer than to make a database.
struct Session {
    psql: Child,
    says: BufReader<ChildStdout>,
}

impl Postgres {
    /// `None`: it is not installed.
    pub fn start() -> Option<Self> {
        Self::start_with(|_| Vec::new())
    }

    /// `prepare`: lays files into its folder, and names further settings.
    pub fn start_with(prepare: impl FnOnce(&Path) -> Vec<String>) -> Option<Self> {
        let bin = bin()?;
        let folder = tempfile::Builder::new().prefix("tollhouse-pg-").tempdir().expect("a temporary folder");
        if let Some((uid, gid)) = other_user(folder.path()) {
            chown(folder.path(), Some(uid), Some(gid)).expect("a folder for the other user");
        }
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).expect("a folder to look into");
        let data = folder.path().join("data");
        let made = as_other(&bin.join("initdb"), folder.path())
            .args(["--auth=trust", "--username=tollhouse", "--encoding=UTF8", "--locale=C", "--no-sync", "-D"])
            .arg(&data)
            .output()
            .expect("initdb runs");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let more = prepare(folder.path());
        let server = Self::run(&bin, folder.path(), &more);
        let (count, prepared, sessions) = Default::default();
        let postgres = Self { server, bin, folder, more, count, prepared, sessions };
        postgres.wait();
        Some(postgres)
    }

    fn run(bin: &Path, folder: &Path, more: &[String]) -> Child {
        let mut command = as_other(&bin.join("postgres"), folder);
        command.arg("-D").arg(folder.join("data")).arg("-k").arg(folder);
        command.args(SETTINGS.iter().flat_map(|setting| ["-c", setting]));
        command.args(more.iter().flat_map(|setting| ["-c", setting]));
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("postgres runs")
    }

    /// SIGKILL, for it and whatever it has started.
    pub fn kill(&mut self) {
        self.forget();
        // Its children see that it is gone, and go too.
        self.server.kill().expect("it dies");
        self.server.wait().expect("it is dead");
    }

    /// SIGINT: it breaks every connection off, and closes its files.
    pub fn end(&mut self) {
        self.forget();
        let _ = Command::new("kill").args(["-INT", &self.server.id().to_string()]).status();
        let _ = self.server.wait();
    }

    /// It must have ended before.
    pub fn start_again(&mut self) {
        self.server = Self::run(&self.bin, self.folder.path(), &self.more);
        self.wait();
    }

    /// A copy of everything it keeps, or that copy back in its place; it must have ended.
    pub fn copy(&self, back: bool) {
        let (data, copy) = (self.folder.path().join("data"), self.folder.path().join("copy"));
        let (from, to) = if back { (copy, data) } else { (data, copy) };
        let _ = std::fs::remove_dir_all(&to);
        let done = Command::new("cp").arg("-a").args([from, to]).status().expect("cp runs");
        assert!(done.success(), "a copy");
    }

    /// A database for one test, in which there is nothing yet.
    pub fn database(&self) -> String {
        self.made_from("template0")
    }

    /// The same with the schema in it, which is made once: hundreds of tests need it, and few are about that.
    pub fn prepared_database(&self) -> String {
        self.prepared.get_or_init(|| {
            let name = self.database();
            let url: Url = self.url(&name).parse().expect("a URL");
            let make = move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
                runtime.block_on(async { Db::open(&url, 0).await.expect("a database").close().await });
            };
            std::thread::spawn(make).join().expect("no panic");
            name
        });
        self.made_from(self.prepared.get().expect("it was made"))
    }

    fn made_from(&self, template: &str) -> String {
        let name = format!("t{}", self.count.fetch_add(1, Ordering::SeqCst));
        self.sql(&format!("CREATE DATABASE {name} TEMPLATE {template}"));
        name
    }

    pub fn url(&self, name: &str) -> String {
        format!(
            "postgres://tollhouse@localhost/{name}?host={}",
            self.folder.path().display().to_string().replace('/', "%2F")
        )
    }

    pub fn drop_database(&self, name: &str) {
        self.sql(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"));
    }

    pub fn stop(mut self) {
        self.end();
    }

    pub fn sql(&self, text: &str) {
        let idle = self.sessions.lock().expect("no panic").pop();
        let mut session = idle.unwrap_or_else(|| Session::begin(self.psql()));
        session.run(text);
        self.sessions.lock().expect("no panic").push(session);
    }

    fn forget(&self) {
        self.sessions.lock().expect("no panic").clear();
    }

    fn psql(&self) -> Command {
        let mut command = Command::new(self.bin.join("psql"));
        command.arg("-h").arg(self.folder.path()).args(["-U", "tollhouse", "-qAt", "postgres"]);
        command
            .args(self.more.iter().filter_map(|setting| setting.strip_prefix("port=")).flat_map(|port| ["-p", port]));
        command
    }

    #[allow(clippy::disallowed_methods)] // a server of another program has to come up
    fn wait(&self) {
        for _ in 0..200 {
            if self.psql().args(["-c", "SELECT 1"]).output().is_ok_and(|done| done.status.success()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("PostgreSQL did not come up");
    }
}

impl Session {
    fn begin(mut psql: Command) -> Self {
        psql.args(["-v", "ON_ERROR_STOP=1"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut psql = psql.spawn().expect("psql runs");
        let says = BufReader::new(psql.stdout.take().expect("a pipe"));
        Self { psql, says }
    }

    /// psql has said on stderr what was wrong, if it ends.
    fn run(&mut self, text: &str) {
        let input = self.psql.stdin.as_mut().expect("a pipe");
        writeln!(input, "{text};\n\\echo done").expect(text);
        let mut said = String::new();
        self.says.read_line(&mut said).expect(text);
        assert_eq!(said, "done\n", "{text}");
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // At the end of what it is told it ends.
        drop(self.psql.stdin.take());
        let _ = self.psql.wait();
    }
}

/// A database beside another one of the same server, with nothing in it.
pub fn empty_beside(url: &str) -> String {
    let (server, rest) = url.rsplit_once('/').expect("a name");
    let (name, host) = rest.split_once('?').expect("a host");
    let empty = format!("{name}_empty");
    let made = Command::new(bin().expect("PostgreSQL").join("psql"))
        .args([url, "-qc", &format!("CREATE DATABASE {empty}")])
        .output()
        .expect("psql runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    format!("{server}/{empty}?{host}")
}

/// It ends with us, however we end.
fn as_other(program: &Path, folder: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "INT"]);
    if let Some((uid, gid)) = other_user(folder) {
        command.args([format!("--reuid={uid}"), format!("--regid={gid}"), "--clear-groups".to_owned()]);
    }
    command.arg(program).current_dir(folder);
    command
}

/// `postgres`, or `nobody`, if we are root.
pub fn other_user(folder: &Path) -> Option<(u32, u32)> {
    let root = std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    if !root {
        return None;
    }
    let owner = std::fs::metadata(folder).expect("a folder");
    if owner.uid() != 0 {
        return Some((owner.uid(), owner.gid()));
    }
    let users = std::fs::read_to_string("/etc/passwd").expect("a list of users");
    ["postgres", "nobody"].iter().find_map(|name| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut columns = line.split(':').skip(2);
        Some((columns.next()?.parse().ok()?, columns.next()?.parse().ok()?))
    })
}

/// Where its programs are: the newest that Debian installs, or wherever `pg_config` says.
fn bin() -> Option<PathBuf> {
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut versions: Vec<PathBuf> = debian.map(|version| version.path().join("bin")).collect();
    versions.sort();
    let told = Command::new("pg_config").arg("--bindir").output().ok();
    let told = told.map(|output| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    versions.into_iter().rev().chain(told).find(|bin| bin.join("initdb").exists())
}
