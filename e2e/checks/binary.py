"""The switches that break the server for its tests are in no binary that people get (threats.md T32)."""

import mmap
import os
from pathlib import Path

from house import BINARY, Skip, check

# What only the code behind the switches says.
SWITCH = b"a fault that a test switched on"


def holds_switches(path):
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(SWITCH) >= 0


with check("binary: no switch for tests in it"):
    if os.environ["E2E_ALLOW_FAULTS"]:
        raise Skip("--allow-faults")
    assert not holds_switches(BINARY), "it is there"

with check("binary: the build for tests does hold them, so looking for them finds them"):
    tested = Path("target/debug/tollhouse")
    if not tested.exists():
        raise Skip("cargo test has not built it")
    assert holds_switches(tested), "they are not where they should be"
