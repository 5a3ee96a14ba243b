"""`.ci/deny` checks the dependencies where cargo-deny is installed, and says in one line where it is not."""

import os
import subprocess
from pathlib import Path

from house import check, expect, folder

DENY = Path(".ci/deny").resolve()

# What stands in the place of cargo and cargo-deny: it writes down what it was asked, and ends as it is told.
STAND_IN = """#!/bin/sh
echo "$(basename "$0") $*"
exit {code}
"""


def run(cwd, programs, code=0):
    path = cwd / "bin"
    path.mkdir()
    for name in ("bash", "dirname", "basename", "sh"):
        (path / name).symlink_to(next(p for d in os.get_exec_path() if (p := Path(d) / name).exists()))
    for name in programs:
        (path / name).write_text(STAND_IN.format(code=code))
        (path / name).chmod(0o755)
    ended = subprocess.run([DENY], env={"PATH": str(path)}, capture_output=True, text=True)
    return ended.returncode, ended.stdout.splitlines()


with folder() as cwd, check("dependencies: without cargo-deny one line says that nothing was checked"):
    code, lines = run(cwd, ["cargo"])
    expect("the exit code", code, 0)
    expect("lines", len(lines), 1)
    assert lines[0].startswith("cargo-deny is not installed"), lines

with folder() as cwd, check("dependencies: with cargo-deny it is asked for licences, bans and sources"):
    code, lines = run(cwd, ["cargo", "cargo-deny"])
    expect("the exit code", code, 0)
    expect("what was asked", lines, ["cargo deny --locked check --hide-inclusion-graph licenses bans sources"])

with folder() as cwd, check("dependencies: what it refuses ends .ci/run"):
    code, _ = run(cwd, ["cargo", "cargo-deny"], code=4)
    expect("the exit code", code, 4)
