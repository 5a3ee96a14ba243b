"""A server that nobody asks anything writes nothing."""

import time

from house import Serve, check, expect, folder, kept_demo


def files(database):
    paths = sorted(database.parent.glob(database.name + "*"))
    return {path.name: (path.stat().st_size, path.stat().st_mtime_ns) for path in paths}


with folder() as cwd:
    database, _ = kept_demo(cwd)
    with Serve(cwd, database), check("idle: the database files stay as they are for 12 s"):
        time.sleep(3)
        before = files(database)
        time.sleep(12)
        expect("sizes and times", files(database), before)
