"""The switches that break the server for its tests are in no binary that people get."""

import mmap
import os

from house import BINARY, Skip, check

for switch in b"TOLLHOUSE_GARBLE", b"/-/faults":
    with check(f"binary: no {switch.decode()} in it"), open(BINARY, "rb") as file:
        if os.environ["E2E_ALLOW_FAULTS"]:
            raise Skip("--allow-faults")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            assert content.find(switch) < 0, "it is there"
