"""`kill -9` in the middle of rotations: no acknowledged secret is lost, no dead one lives, nobody is locked out."""

import json
import random
import signal
import threading
import time

from house import BROKEN, Serve, call, check, expect, folder, kept_demo, with_token

ROTATIONS = 1000
KILLS = 5


class Chain:
    """One client that rotates its token again and again, and keeps what it was told."""

    def __init__(self, server, token):
        self.server = server
        self.secrets = [token]
        self.unanswered = False
        self.trouble = None

    def rotate(self):
        path = "/api/v4/personal_access_tokens/self/rotate"
        answer = call(self.server.base_url, path, "POST", with_token(self.secrets[-1]))
        assert answer.status == 200, f"rotation {len(self.secrets)}: {answer.status} {answer.text}"
        self.secrets.append(json.loads(answer.text)["token"])

    def go_on(self, enough):
        """Rotate until there is enough or the server is gone."""
        try:
            while not enough.is_set():
                self.rotate()
        except ConnectionRefusedError:
            pass
        except BROKEN:
            self.unanswered = True
        except Exception as trouble:
            self.trouble = trouble

    def status(self, secret):
        return call(self.server.base_url, "/api/v4/user", headers=with_token(secret)).status

    def verify(self):
        assert not self.trouble, self.trouble
        if self.unanswered:
            # All that a client can do that never got its answer: ask the same again.
            self.rotate()
            self.unanswered = False
        expect(f"status of secret {len(self.secrets)}, the last", self.status(self.secrets[-1]), 200)
        for number, secret in enumerate(self.secrets[:-1]):
            expect(f"status of secret {number + 1} of {len(self.secrets)}", self.status(secret), 401)


def rotated(chains):
    return sum(len(chain.secrets) - 1 for chain in chains)


def rotate_until(count, chains, then=lambda: None):
    enough = threading.Event()
    threads = [threading.Thread(target=chain.go_on, args=[enough], daemon=True) for chain in chains]
    for thread in threads:
        thread.start()
    while rotated(chains) < count and any(thread.is_alive() for thread in threads):
        time.sleep(0.001)
    then()
    enough.set()
    for thread in threads:
        thread.join(30)


with folder() as cwd:
    database, facts = kept_demo(cwd)
    with Serve(cwd, database) as server:
        chains = [Chain(server, facts.user_token), Chain(server, facts.admin_token)]

        def kill():
            time.sleep(random.uniform(0, 0.01))
            server.end(signal.SIGKILL)

        share = ROTATIONS // (KILLS + 1)
        for number in range(KILLS):
            count = number * share + random.randint(share // 2, share)
            with check(f"kill -9: rotations, kill {number + 1} of {KILLS}"):
                rotate_until(count, chains, then=kill)
                server.start()
                for chain in chains:
                    chain.verify()

        with check(f"kill -9: all of {ROTATIONS} rotations hold"):
            rotate_until(ROTATIONS, chains)
            expect("exit code", server.end(), 0)
            server.start()
            for chain in chains:
                chain.verify()
            assert rotated(chains) >= ROTATIONS, f"only {rotated(chains)}"
