"""Starting, refusing to start, and ending."""

import json
import signal
import socket
from urllib.parse import urlsplit

from house import Demo, Serve, call, check, expect, folder, kept_demo, run, with_token


def refused(done, code, word=""):
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    expect(f"exit code ({done.stderr.strip()[:200]})", done.returncode, code)
    expect("lines on stderr", len(lines), 1)
    assert word in lines[0], f"{word!r} is not named in: {lines[0]}"


for how in signal.SIGTERM, signal.SIGINT:
    with check(f"start: demo ends with 0 on {how.name} and leaves nothing behind"), folder() as cwd, folder() as scratch:
        with Demo(cwd, env={"TMPDIR": str(scratch)}) as demo:
            expect("exit code", demo.end(how), 0)
        expect("left in the temporary folder", [p.name for p in scratch.iterdir()], [])
        expect("left where it was started", sorted(p.name for p in cwd.iterdir()), ["stderr", "stdout"])

with folder() as cwd:
    database, facts = kept_demo(cwd)
    serve = "serve", "--database", f"sqlite:{database}", "--listen", "127.0.0.1:0"

    with check("start: serve refuses a demo's database unless told"):
        refused(run(*serve, cwd=cwd), 2, "--demo-data")

    with check("start: demo refuses a database that is not empty"):
        done = run("demo", "--listen", "127.0.0.1:0", "--database", f"sqlite:{database}", cwd=cwd)
        refused(done, 1)

    with check("start: an unknown flag is a mistake in usage"):
        done = run(*serve, "--no-such-flag", cwd=cwd)
        expect("exit code", done.returncode, 2)
        assert "--no-such-flag" in done.stderr, done.stderr

    with Serve(cwd, database) as server:
        with check("start: two servers on one SQLite database are of one mind"), Serve(cwd, database) as second:
            read = with_token(facts.user_token)
            for asked in server, second:
                expect("the token", call(asked.base_url, "/api/v4/user", headers=read).status, 200)
            self_rotate = "/api/v4/personal_access_tokens/self/rotate"
            rotated = call(second.base_url, self_rotate, "POST", headers=read)
            for asked in server, second:
                expect("the old token", call(asked.base_url, "/api/v4/user", headers=read).status, 401)
            facts.user_token = json.loads(rotated.text)["token"]
            for asked in server, second:
                expect("the new token", call(asked.base_url, "/api/v4/user", headers=with_token(facts.user_token)).status, 200)

        with check("start: SIGTERM lets a request under way end, then exits with 0"):
            # Half a body is under way, of which the server has said that it reads it; the other half comes after the signal.
            head = [
                "POST /api/v4/personal_access_tokens/self/rotate HTTP/1.1",
                f"Host: {urlsplit(server.base_url).netloc}",
                f"PRIVATE-TOKEN: {facts.user_token}",
                "Content-Type: application/json",
                "Content-Length: 2",
                "Expect: 100-continue",
                "Connection: close",
            ]
            with socket.create_connection(("127.0.0.1", urlsplit(server.base_url).port), timeout=20) as line:
                line.sendall("\r\n".join([*head, "", ""]).encode())
                expect("what it says of the head", line.recv(25), b"HTTP/1.1 100 Continue\r\n\r\n")
                line.sendall(b"{")
                server.process.send_signal(signal.SIGTERM)
                line.sendall(b"}")
                answer = b"".join(iter(lambda: line.recv(4096), b"")).decode()
            assert answer.startswith("HTTP/1.1 200"), answer[:200]
            fresh = json.loads(answer.partition("\r\n\r\n")[2])["token"]
            expect("exit code", server.process.wait(30), 0)

    with check("start: what was answered while ending holds after the next start"), Serve(cwd, database) as server:
        expect("new token", call(server.base_url, "/api/v4/user", headers=with_token(fresh)).status, 200)
        expect("old token", call(server.base_url, "/api/v4/user", headers=with_token(facts.user_token)).status, 401)
