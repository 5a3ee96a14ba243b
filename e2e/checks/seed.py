"""`demo --seed`: the example as a person would try it, a thousand users, and an end in the middle."""

import json
import os
import re
import signal
import subprocess
import time

from house import BINARY, Demo, call, check, expect, folder, with_token

EXAMPLE = "examples/seed.toml"

with folder() as cwd:
    # The checks run at the top of the repository, the server elsewhere.
    example = cwd / "seed.toml"
    with open(EXAMPLE) as text:
        example.write_text(text.read())
    with Demo(cwd, "--seed", "seed.toml") as demo:
        lines = [line.strip() for line in demo.output().splitlines() if line.startswith("  curl ")]
        with check("seed: lines to paste are printed"):
            assert len(lines) >= 3, demo.output()[:300]
        for line in lines:
            with check(f"seed: {re.sub(r'http://127[.0-9]+:[0-9]+', '', line)}"):
                line = line.replace("curl -s", "curl -fsS --max-time 10")
                done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=20)
                expect(f"exit code ({done.stderr})", done.returncode, 0)
        with check("seed: every secret of the first line is what the file says"):
            for token in demo.facts.tokens:
                gone = token["name"] in ("over", "withdrawn", "of a blocked user")
                status = call(demo.base_url, "/api/v4/user", headers=with_token(token["token"])).status
                assert (status != 200) == gone, f"{token['name']}: {status}"

    many = "".join(
        f'[[user]]\nusername = "user{i}"\n[[token]]\nuser = "user{i}"\nname = "ci"\nscopes = ["api"]\n'
        f'token = "token-of-{i:04}"\n'
        for i in range(1000)
    )
    (cwd / "many.toml").write_text(many)

    with check("seed: of 1,000 users with a token each, the last is there as soon as anybody is answered"):
        # How long that takes is measured by bench/seed.
        with Demo(cwd, "--seed", "many.toml") as demo:
            for number in 999, 0, 500:
                answer = call(demo.base_url, "/api/v4/user", headers=with_token(f"token-of-{number:04}"))
                expect(f"status for user{number}", answer.status, 200)
                expect("username", json.loads(answer.text)["username"], f"user{number}")
            # While it was filled, all of it was on one core.
            for thread in os.listdir(f"/proc/{demo.process.pid}/task"):
                expect("cores of a thread", os.sched_getaffinity(int(thread)), os.sched_getaffinity(0))

    with check("seed: a signal while passwords are hashed ends it in order"), folder() as scratch:
        slow = "".join(f'[[user]]\nusername = "user{i}"\npassword = "correct horse"\n' for i in range(5000))
        (cwd / "slow.toml").write_text(slow)
        command = [BINARY, "demo", "--seed", "slow.toml", "--listen", "127.0.0.1:0"]
        server = subprocess.Popen(command, cwd=cwd, env={"TMPDIR": str(scratch)}, stdout=subprocess.DEVNULL)
        time.sleep(0.5)
        server.send_signal(signal.SIGINT)
        expect("exit code", server.wait(10), 0)
        expect("left in the temporary folder", list(scratch.iterdir()), [])
