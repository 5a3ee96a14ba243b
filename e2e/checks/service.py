"""The service of docs/deploy.md: its unit is hardened, and its commands and its settings file work as they stand there, as
the unit's user, in its folder and with its environment. All of it happens in namespaces of its own: this machine keeps its
/etc and its ports."""

import ctypes
import fcntl
import os
import pwd
import re
import shlex
import shutil
import signal
import socket
import struct
import subprocess
from pathlib import Path

from house import BINARY, BROKEN, Skip, call, check, expect, folder, until

UNIT = Path("examples/tollhouse.service").resolve()
REPOSITORY = Path.cwd()
SETTINGS = "/etc/tollhouse/tollhouse.toml"
# Where systemd looks for programs, and what a shell of root has.
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
BASE = "http://127.0.0.1:8080"

CLONE_NEWNS, CLONE_NEWNET = 0x20000, 0x40000000
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1


def section(title):
    text = Path("docs/deploy.md").read_text()
    return re.search(rf"^## {title}\n(.*?)^## ", text, re.M | re.S)[1]


def blocks(text, language):
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S)


class Unit:
    """As much of a unit as says how its process is started."""

    def __init__(self, path):
        self.values = {}
        for line in Path(path).read_text().splitlines():
            if line and not line.startswith(("#", "[")):
                name, value = line.split("=", 1)
                self.values.setdefault(name, []).append(value)

    def one(self, name, default=None):
        return self.values.get(name, [default])[-1]

    def start(self):
        user = pwd_entry(self.one("User"))
        environment = {"PATH": PATH, "USER": user.pw_name, "LOGNAME": user.pw_name, "HOME": user.pw_dir, "LANG": "C.UTF-8"}
        for words in self.values.get("Environment", []):
            environment |= dict(word.split("=", 1) for word in shlex.split(words))
        if state := self.one("StateDirectory"):
            state = Path("/var/lib") / state
            state.mkdir(exist_ok=True)
            os.chown(state, user.pw_uid, user.pw_gid)
            state.chmod(int(self.one("StateDirectoryMode", "0755"), 8))
            environment["STATE_DIRECTORY"] = str(state)
        umask = int(self.one("UMask", "0022"), 8)
        return subprocess.Popen(
            shlex.split(self.one("ExecStart")),
            cwd=self.one("WorkingDirectory", "/"),
            env=environment,
            user=user.pw_uid,
            group=user.pw_gid,
            extra_groups=[],
            umask=umask,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=open("/var/lib/log", "ab"),
        )


def pwd_entry(name):
    return next(entry for entry in pwd.getpwall() if entry.pw_name == name)


def mount(*words):
    subprocess.run(["mount", *map(str, words)], check=True, capture_output=True)


def enter_namespaces(place):
    """A copy of /etc, an empty /var/lib and /usr/local/bin, and a network in which nothing listens."""
    if os.getuid() != 0:
        raise Skip("only root can make a namespace")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS | CLONE_NEWNET) != 0:
        raise Skip(f"no namespace: {os.strerror(ctypes.get_errno())}")
    try:
        mount("--make-rprivate", "/")
        subprocess.run(["cp", "-a", "/etc", place / "etc"], check=True, capture_output=True)
        shutil.rmtree(place / "etc/tollhouse", ignore_errors=True)
        (place / "etc/systemd/system").mkdir(parents=True, exist_ok=True)
        for name in "lib", "bin", "backups":
            (place / name).mkdir()
        place.chmod(0o755)
        for inside, real in ("etc", "/etc"), ("lib", "/var/lib"), ("bin", "/usr/local/bin"), ("backups", "/var/backups"):
            mount("--bind", place / inside, real)
    except subprocess.CalledProcessError as error:
        raise Skip(f"no mounts: {error.stderr.decode().strip()}") from None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(s, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(s, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | IFF_UP))


def shell(line, cwd, environment):
    done = subprocess.run(["sh", "-ec", line], cwd=cwd, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"`{line}` ended with {done.returncode}: {done.stderr}"
    return done.stdout


class Service:
    """systemd, for the few words that the document says to it."""

    process = unit = None

    def say(self, line):
        match shlex.split(line)[1:]:
            case ["daemon-reload"]:
                self.unit = Unit("/etc/systemd/system/tollhouse.service")
            case ["enable", "--now", "tollhouse"] | ["start", "tollhouse"]:
                self.start()
            case ["stop", "tollhouse"]:
                expect("its end", self.end(), 0)
            case _:
                raise AssertionError(f"this check does not know `{line}`")

    def start(self):
        self.process = self.unit.start()
        until(self.ready, f"the server to be ready: {Path('/var/lib/log').read_text()[-500:]}")

    def ready(self):
        code = self.process.poll()
        assert code is None, f"the server ended with {code}: {Path('/var/lib/log').read_text()[-500:]}"
        try:
            return call(BASE, "/-/readiness").status == 200
        except BROKEN:
            return False

    def end(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            return self.process.wait(30)


def belongs_to(user, top):
    for path in [top, *top.rglob("*")]:
        known = path.lstat()
        expect(f"owner of {path}", known.st_uid, user.pw_uid)
        expect(f"rights of others on {path}", known.st_mode & 0o077, 0)


def hold():
    with check("the unit's exposure is at most 3.0 of 10"):
        if not shutil.which("systemd-analyze"):
            raise Skip("there is no systemd-analyze")
        judged = subprocess.run(
            ["systemd-analyze", "security", "--offline=true", "--threshold=30", UNIT], capture_output=True, text=True
        )
        assert judged.returncode == 0, judged.stdout[-300:] + judged.stderr

    with folder() as place, check("the commands and the settings file of docs/deploy.md, up to `tollhouse user list`, and a restored copy"):
        text = section("As a service")
        install, systemd, ask = blocks(text, "sh")
        [settings] = blocks(text, "toml")
        enter_namespaces(place)
        service = Service()
        # What `cargo build --release` leaves, wherever it is really.
        (place / "repository/target/release").mkdir(parents=True)
        shutil.copy(BINARY, place / "repository/target/release/tollhouse")
        shutil.copytree(REPOSITORY / "examples", place / "repository/examples")
        root = {"PATH": PATH, "HOME": "/root", "USER": "root", "LANG": "C.UTF-8"}
        try:
            for line in install.splitlines():
                shell(line, place / "repository", root)
            Path(SETTINGS).write_text(settings)
            for line in systemd.splitlines():
                service.say(line)
            user = pwd_entry(service.unit.one("User"))
            state = Path("/var/lib/tollhouse")
            for cwd in "/", "/root", "/tmp":
                for line in ask.splitlines():
                    said = shell(line, cwd, root)
                    wanted = r"^1 +root " if "user list" in line else r"^\S{16,}$"
                    assert re.search(wanted, said, re.M), f"`{line}` in {cwd} says {said!r}"
                    belongs_to(user, state)
            # Root changes something, and the server, which is somebody else, goes on and starts again.
            shell("tollhouse user create ada --email ada@example.test", "/", root)
            belongs_to(user, state)
            expect("its end", service.end(), 0)
            shell("tollhouse user create grace --email grace@example.test", "/", root)
            belongs_to(user, state)
            service.start()
            assert re.search(r"^3 +grace ", shell("tollhouse user list", "/", root), re.M)
            copy, restore = blocks(section("Back-ups"), "sh")[::2]
            shell(copy, "/root", root)
            shell("tollhouse user create linus", "/", root)
            cwd = "/"
            for line in restore.splitlines():
                if line.startswith("systemctl "):
                    service.say(line)
                elif line.startswith("cd "):
                    cwd = line.split()[1]
                elif "# if " not in line:
                    said = shell(line, cwd, root)
            belongs_to(user, state)
            rows = [row.split() for row in said.splitlines()[1:]]
            expect("servers that run after the restore", sum(row[-1] == "running" for row in rows), 1)
            said = shell("tollhouse user list", "/", root)
            assert re.search(r"^3 +grace ", said, re.M) and "linus" not in said, said
            expect("its end", service.end(), 0)
            expect("what it wrote elsewhere", sorted(p.name for p in Path("/var/lib").iterdir()), ["log", "tollhouse"])
        finally:
            service.end()


hold()
