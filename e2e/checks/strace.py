"""The disk has a change before the client is told of it, as the system calls show."""

import json
import re
import subprocess

from house import Serve, Skip, call, check, expect, folder, kept_demo, until, with_token

ROTATE = "/api/v4/personal_access_tokens/self/rotate"
ROTATIONS = 5
CALLS = "fsync,fdatasync,read,recvfrom,recvmsg,write,writev,sendto,sendmsg"


def refuse_if_untraceable(cwd):
    probe = ["strace", "-o", str(cwd / "probe"), "true"]
    tried = subprocess.run(probe, capture_output=True, text=True, timeout=20)
    if tried.returncode:
        raise Skip(tried.stderr.strip() or "tracing is not permitted")


def synced_before_answer(trace):
    """For each rotation: did a sync end between the arrival of the request and the start of its answer?"""
    verdicts, asked, synced = [], False, False
    for line in trace.splitlines():
        if f'"POST {ROTATE}' in line:
            asked, synced = True, False
        elif re.search(r"\b(fsync|fdatasync)\b.*= 0$", line):
            synced = True
        elif asked and '"HTTP/1.1 200' in line:
            verdicts.append(synced)
            asked = False
    return verdicts


with folder() as cwd, check("strace: the sync comes before the answer"):
    refuse_if_untraceable(cwd)
    database, facts = kept_demo(cwd)
    trace = cwd / "trace"
    # -D makes the server our child, and the tracer its grandchild: signals then go to the server.
    strace = ["strace", "-D", "-f", "-e", f"trace={CALLS}", "-s", "64", "-o", str(trace)]
    with Serve(cwd, database, under=strace) as server:
        token = facts.user_token
        for _ in range(ROTATIONS):
            answer = call(server.base_url, ROTATE, "POST", with_token(token))
            expect("status", answer.status, 200)
            token = json.loads(answer.text)["token"]
        pid = server.process.pid
        expect("exit code", server.end(), 0)
    until(lambda: f"{pid} +++ exited" in " ".join(trace.read_text(errors="replace").split()), "the end of the trace")
    expect("synced before answering", synced_before_answer(trace.read_text(errors="replace")), [True] * ROTATIONS)
