"""What bench/store runs on: databases with something in them, and servers on them. Everything is ended by its process id."""

import hashlib
import http.client
import json
import os
import pwd
import shutil
import signal
import sqlite3
import subprocess
import time
from base64 import b64encode
from collections import namedtuple
from contextlib import contextmanager
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

BESIDE = Path(__file__).resolve().parents[1]
TICK = 1_000_000 / os.sysconf("SC_CLK_TCK")
# Rows that are filled in by SQL stand beyond those that the program makes.
FIRST = 1_000_000


def script(name):
    """Another program of `bench` as a module."""
    loader = SourceFileLoader(name, str(BESIDE / name))
    module = module_from_spec(spec_from_loader(name, loader))
    loader.exec_module(module)
    return module


seed = script("seed")


class Broken(Exception):
    """What did not work, so that there is no figure."""


class Request(namedtuple("Request", "method path headers body", defaults=[{}, ""])):
    """What is sent to a server, by wrk or by `bench load`."""

    def raw(self):
        headers = {"Host": "bench", **self.headers}
        if self.body:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        return f"{self.method} {self.path} HTTP/1.1\n" + "\n".join(f"{k}: {v}" for k, v in headers.items()) + f"\n\n{self.body}"

    def lua(self):
        headers = "".join(f"wrk.headers[{json.dumps(k)}] = {json.dumps(v)}\n" for k, v in self.headers.items())
        if self.body:
            headers += 'wrk.headers["Content-Type"] = "application/x-www-form-urlencoded"\n'
        return (
            f"wrk.method = {json.dumps(self.method)}\nwrk.path = {json.dumps(self.path)}\nwrk.body = {json.dumps(self.body)}\n"
            + headers
            + 'function done(s)\n local e = s.errors\n io.write(("bench %d %d %d %d\\n"):format(s.requests, s.duration, e.status,'
            " e.connect + e.read + e.write + e.timeout))\nend\n"
        )


def get(path, token):
    return Request("GET", path, {"PRIVATE-TOKEN": token})


def basic(client, secret):
    return {"Authorization": "Basic " + b64encode(f"{client}:{secret}".encode()).decode()}


def digest(secret):
    return hashlib.sha256(secret.encode()).digest()


def now():
    return int(time.time() * 1000)


class Postgres:
    """A PostgreSQL of our own behind a Unix socket."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
        if not found:
            raise SystemExit("bench/store needs PostgreSQL: apt-get install postgresql")
        self.bin, who = found[-1], {}
        if os.geteuid() == 0:
            # initdb refuses root.
            account = pwd.getpwnam("postgres")
            os.chown(folder, account.pw_uid, account.pw_gid)
            folder.parent.chmod(0o711)
            who = {"user": "postgres", "group": account.pw_gid, "extra_groups": []}
        quiet = {"stdout": subprocess.DEVNULL, "cwd": folder, **who}
        initdb = ["initdb", "--auth=trust", "--username=tollhouse", "--encoding=UTF8", "--locale=C", "-D", folder / "data"]
        subprocess.run([self.bin / initdb[0], *initdb[1:]], check=True, **quiet)
        command = [self.bin / "postgres", "-D", folder / "data", "-k", folder, "-c", "listen_addresses=", "-c", "max_connections=300"]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL, **quiet)
        for _ in range(100):
            if subprocess.run([self.bin / "pg_isready", "-q", "-h", folder]).returncode == 0:
                return
            time.sleep(0.1)
        raise SystemExit("PostgreSQL does not start")

    def psql(self, database, sql, given=None):
        command = [self.bin / "psql", "-qAtX", "-v", "ON_ERROR_STOP=1", "-h", self.folder, "-U", "tollhouse", "-d", database, "-c", sql]
        return subprocess.run(command, input=given, check=True, capture_output=True, text=True).stdout.strip()

    def pgbench(self, database, text, clients, seconds):
        """Transactions a second."""
        file = self.folder / "script.sql"
        file.write_text(text)
        command = [self.bin / "pgbench", "-n", "-M", "prepared", "-c", clients, "-j", min(clients, 2), "-T", max(1, round(seconds))]
        command += ["-f", file, "-h", self.folder, "-U", "tollhouse", database]
        told = subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True).stdout
        return float(told.split("tps = ")[1].split()[0])

    def end(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait(60)


class Site:
    """A database that the program made and filled, by `demo`, with the facts it told."""

    def __init__(self, bench, name, engine, binary, plan=None):
        self.folder, self.engine, self.binary, self.postgres = bench.folder / f"{name}-{engine}", engine, binary, None
        self.folder.mkdir()
        if engine == "PostgreSQL":
            self.postgres, self.name = bench.postgres(), name.replace("-", "_")
            self.postgres.psql("postgres", f"CREATE DATABASE {self.name}")
            socket_folder = str(self.postgres.folder).replace("/", "%2F")
            self.url = f"postgres://tollhouse@localhost/{self.name}?host={socket_folder}"
        else:
            self.file = self.folder / "tollhouse.db"
            self.url = f"sqlite:{self.file}"
        command = [binary, "demo", "--json", "--listen", "127.0.0.1:0", "--database", self.url]
        if plan:
            (self.folder / "seed.toml").write_text(plan)
            command += ["--seed", "seed.toml"]
        with (
            open(self.folder / "log", "w") as log,
            subprocess.Popen(command, cwd=self.folder, stdout=subprocess.PIPE, stderr=log, text=True) as demo,
        ):
            told = demo.stdout.readline()
            if not told:
                raise Broken("demo does not start: " + (self.folder / "log").read_text()[-300:].strip())
            self.facts = json.loads(told)
            demo.send_signal(signal.SIGINT)
            demo.stdout.read()

    def query(self, sql):
        """One value."""
        if self.postgres:
            return self.postgres.psql(self.name, sql)
        connection = sqlite3.connect(self.file)
        (value,) = connection.execute(sql).fetchone()
        connection.close()
        return value

    def insert(self, tables):
        """Fills tables, in one transaction each: `(name, columns, rows)`."""
        for table, columns, rows in tables:
            names = columns.split()
            if self.postgres:
                self._copy(table, names, rows)
                continue
            connection = sqlite3.connect(self.file)
            # A log of gigabytes is slow to read back, and so is an index that is filled in another order than its own.
            connection.executescript("PRAGMA journal_mode = DELETE; PRAGMA journal_mode = OFF; PRAGMA cache_size = -2000000")
            with connection:
                places = ", ".join("?" * len(names))
                indexes = connection.execute(
                    "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = ? AND sql IS NOT NULL", (table,)
                ).fetchall()
                for name, _ in indexes:
                    connection.execute(f"DROP INDEX {name}")
                connection.executemany(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({places})", rows)
                for _, sql in indexes:
                    connection.execute(sql)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.close()

    def _copy(self, table, names, rows):
        def text(value):
            if isinstance(value, bytes):
                return f"\\\\x{value.hex()}"
            return "\\N" if value is None else str(value)

        psql = self.postgres.psql
        unique = psql(
            self.name,
            "SELECT conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint"
            f" WHERE conrelid = '{table}'::regclass AND contype = 'u'",
        ).splitlines()
        indexes = psql(
            self.name,
            f"SELECT indexname || ' ' || indexdef FROM pg_indexes WHERE tablename = '{table}' AND NOT EXISTS"
            f" (SELECT 1 FROM pg_constraint WHERE conrelid = '{table}'::regclass AND conname = indexname)",
        ).splitlines()
        steps = ["SET session_replication_role = replica", "SET maintenance_work_mem = '1GB'"]
        steps += [f"ALTER TABLE {table} DROP CONSTRAINT {line.split()[0]}" for line in unique]
        steps += [f"DROP INDEX {line.split()[0]}" for line in indexes]
        steps += [f"COPY {table} ({', '.join(names)}) FROM STDIN"]
        steps += [f"ALTER TABLE {table} ADD CONSTRAINT {line}" for line in unique]
        steps += [line.split(" ", 1)[1] for line in indexes]
        steps += [f"VACUUM ANALYZE {table}"]
        command = [self.postgres.bin / "psql", "-qX", "-v", "ON_ERROR_STOP=1", "-h", self.postgres.folder, "-U", "tollhouse", "-d", self.name]
        command += [word for step in steps for word in ("-c", step)]
        psql = subprocess.Popen(command, stdin=subprocess.PIPE, text=True)
        for row in rows:
            psql.stdin.write("\t".join(map(text, row)) + "\n")
        psql.stdin.close()
        if psql.wait() != 0:
            raise Broken(f"COPY {table} failed")

    @contextmanager
    def serve(self, env=None, url=None, binary=None):
        """A server on it; `url` instead of its own, to come another way."""
        port = seed.free_port()
        command = [binary or self.binary, "serve", "--demo-data", "--listen", f"127.0.0.1:{port}", "--database", url or self.url]
        env = os.environ | {"TOLLHOUSE_KEYS_AT_REST": "open" if self.postgres else "sealed"} | (env or {})
        with open(self.folder / "log", "a") as log:
            process = subprocess.Popen(command, cwd=self.folder, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        began = time.monotonic()
        try:
            while True:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
                try:
                    connection.request("GET", "/api/v4/user")
                    connection.getresponse()
                    break
                except OSError:
                    if process.poll() is not None or time.monotonic() > began + 60:
                        raise Broken("a server does not start: " + (self.folder / "log").read_text()[-300:].strip())
                    time.sleep(0.002)
                finally:
                    connection.close()
            yield Server(process.pid, f"127.0.0.1:{port}", self.folder, time.monotonic() - began)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)

    def remove(self):
        shutil.rmtree(self.folder)
        if self.postgres:
            self.postgres.psql("postgres", f"DROP DATABASE {self.name}")


class Server(namedtuple("Server", "pid address folder started")):
    """A process that answers; `started`: seconds until it answered."""

    def cpu(self):
        """Microseconds of user and system time so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) * TICK

    def memory(self):
        """Resident, in MB."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1000

    def read_bytes(self):
        """How much it has read so far, from disk or the kernel's memory."""
        return int(Path(f"/proc/{self.pid}/io").read_text().split("rchar:")[1].split()[0])
