"""`kill -9` in the middle of signing in and out: what was answered before it holds after it."""

import copy
import random
import signal
import threading

from house import BROKEN, Browser, Serve, call, check, expect, folder, kept_demo

SIGN_INS = 40
KILLS = 10


def status(browser):
    cookie = {"Cookie": f"_gitlab_session={browser.cookies['_gitlab_session']}"}
    return call(browser.base_url, "/api/v4/user", headers=cookie).status


class People:
    """Browsers that signed in, by what the server told them: still in, out, or asked to be out without an answer."""

    def __init__(self, server, facts):
        self.server, self.facts = server, facts
        self.inside, self.outside, self.unsure = [], [], []

    def sign_in(self):
        browser = Browser(self.server.base_url)
        answer = browser.sign_in(self.facts.user_login, self.facts.user_password)
        expect("status of signing in", answer.status, 302)
        self.inside.append(browser)

    def sign_out(self):
        leaving = self.inside.pop(random.randrange(len(self.inside)))
        # The answer takes the cookie away; a copy shows later whether it still opens anything.
        kept = copy.deepcopy(leaving)
        try:
            expect("status of signing out", leaving.sign_out().status, 302)
            self.outside.append(kept)
        except BROKEN:
            self.unsure.append(kept)
            raise

    def verify(self):
        for browser in self.unsure:
            if status(browser) == 200:
                expect("status of signing out again", copy.deepcopy(browser).sign_out().status, 302)
        self.outside += self.unsure
        self.unsure = []
        for browser in self.inside:
            expect("status of a session", status(browser), 200)
        for browser in self.outside:
            expect("status of a session that was signed out", status(browser), 401)


def interrupted(server, step):
    """Do a step with a knife at the server's throat; tells whether the step got its answer."""
    # Signing in hashes a password, signing out only writes: both are struck somewhere in the middle.
    knife = threading.Timer(random.uniform(0, 0.02), lambda: server.end(signal.SIGKILL))
    knife.start()
    try:
        step()
        return True
    except BROKEN:
        return False
    finally:
        knife.join()
        server.start()


with folder() as cwd:
    database, facts = kept_demo(cwd)
    with Serve(cwd, database) as server, check(f"kill -9: {SIGN_INS} sign-ins and sign-outs, {KILLS} kills"):
        people = People(server, facts)
        into, out_of = people.sign_in, people.sign_out
        steps = [into] * 5 + [into, out_of] * (SIGN_INS - 5) + [out_of] * 5
        struck = set(random.sample(range(len(steps)), KILLS))
        for number, step in enumerate(steps):
            if number not in struck:
                step()
                continue
            answered = interrupted(server, step)
            people.verify()
            if step == into and not answered:
                step()
        people.verify()
        expect("signed out", len(people.outside), SIGN_INS)
