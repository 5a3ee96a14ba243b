"""A person with a browser whom an application sends to sign in: what they see, and where they end up."""

import base64
import hashlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlencode, urlsplit

from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from house import Demo, call, check, expect, folder
from window import Walk, open_browser

VERIFIER = "a" * 43
# The scheme of an app that is not in the browser.
APP = "tollhouse-check"
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()


class Hop:
    """A server of another origin than the application's. It sends everybody on, query and all."""

    def __init__(self, to):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(302)
                self.send_header("Location", f"{to}?{urlsplit(self.path).query}")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://localhost:{self.server.server_port}/hop"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


class Application:
    """The one that asks. It keeps the addresses at which people come back, and may send them on."""

    def __init__(self, facts, to=None):
        came = self.came = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                came.append(self.path)
                if to:
                    self.send_response(302)
                    self.send_header("Location", f"{to}?{urlsplit(self.path).query}")
                    self.end_headers()
                    return
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.end_headers()
                self.wfile.write(b"<title>Back</title>Back at the application.")

            def log_message(self, *_):
                pass

        registered = urlsplit(facts.oauth_redirect_uri)
        self.server = ThreadingHTTPServer((registered.hostname, 0), Handler)
        # On loopback the port need not be the registered one.
        self.redirect_uri = registered._replace(netloc=f"{registered.hostname}:{self.server.server_port}").geturl()
        self.facts = facts

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def authorize(self, client_id, state, **more):
        asked = {
            "client_id": client_id,
            "redirect_uri": self.redirect_uri,
            "response_type": "code",
            "scope": "openid read_user",
            "state": state,
            **more,
        }
        return f"/oauth/authorize?{urlencode(asked)}"

    def answers(self, state):
        """What came back with this state; a browser may also ask for an icon."""
        queries = [parse_qs(urlsplit(path).query) for path in self.came]
        return [{name: value for name, [value] in query.items()} for query in queries if query.get("state") == [state]]

    def redeem(self, code, client, **more):
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": self.redirect_uri, **client, **more}
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = call(self.facts.base_url, "/oauth/token", "POST", headers, urlencode(form))
        expect(f"status ({answer.text})", answer.status, 200)
        return json.loads(answer.text)


class Person(Walk):
    def button(self, deny=False):
        """Of the two forms of the consent page, the one that denies says so in a hidden field."""
        for form in self.browser.find_elements(By.CSS_SELECTOR, "form[action$='/oauth/authorize']"):
            if bool(form.find_elements(By.CSS_SELECTOR, "input[name=_method][value=delete]")) == deny:
                return form.find_element(By.CSS_SELECTOR, "button, input[type=submit]")
        return None

    def sees_consent(self):
        self.wait_for(lambda: self.button() and self.button(deny=True), "the consent page")

    def comes_back(self, application, state):
        """The one answer that the application got."""
        self.wait_for(lambda: application.answers(state), "the way back")
        [answer] = application.answers(state)
        return answer


with folder() as cwd, folder() as profile, Demo(cwd) as demo, Application(demo.facts) as application:
    facts = demo.facts
    confidential = {"client_id": facts.oauth_client_id, "client_secret": facts.oauth_client_secret}
    public = {"client_id": facts.oauth_public_client_id}
    browser = open_browser(profile)
    person = Person(browser, facts)
    try:
        with check("oauth, chromium: somebody who is not signed in signs in, and sees the consent page"):
            asked = application.authorize(facts.oauth_client_id, "first")
            person.open(asked)
            expect("path", person.path(), "/users/sign_in")
            person.fill_in(facts.user_password)
            person.sees_consent()
            expect("path and query", person.path(), asked)

        with check("oauth, chromium: the consent page says who asks whom, for what, and where one is sent"):
            person.picture("consent")
            text = person.text()
            for word in facts.user_login, "openid", "read_user", urlsplit(application.redirect_uri).netloc:
                assert word in text, f"{word!r} is not in: {text}"

        with check("oauth, chromium: Deny leads back with access_denied"):
            person.button(deny=True).click()
            answer = person.comes_back(application, "first")
            expect("error", answer.get("error"), "access_denied")
            assert "code" not in answer, answer

        with check("oauth, chromium: Authorize leads back with a code, which is good for a token"):
            # A state may be a JSON text (clients.md).
            state = '{"to": "/a?b=c&d", "é": "<\'>"}'
            person.open(application.authorize(facts.oauth_client_id, state))
            person.sees_consent()
            person.button().click()
            answer = person.comes_back(application, state)
            expect("parameters", answer.keys(), {"code", "state", "iss"})
            expect("iss", answer["iss"], facts.base_url)
            token = application.redeem(answer["code"], confidential)
            bearer = {"Authorization": f"Bearer {token['access_token']}"}
            user = json.loads(call(facts.base_url, "/api/v4/user", headers=bearer).text)
            expect("username", user["username"], facts.user_login)

        with check("oauth, chromium: who consented to the same before is sent on without a click"):
            person.open(application.authorize(facts.oauth_client_id, "again"))
            answer = person.comes_back(application, "again")
            application.redeem(answer["code"], confidential)

        with check("oauth, chromium: for more than that there is the consent page again"):
            person.open(application.authorize(facts.oauth_client_id, "more", scope="openid read_user read_api"))
            person.sees_consent()

        challenged = {"code_challenge": CHALLENGE, "code_challenge_method": "S256"}
        for state in "public", "public again":
            with check(f"oauth, chromium: a public application always asks ({state})"):
                person.open(application.authorize(facts.oauth_public_client_id, state, **challenged))
                person.sees_consent()
                person.button().click()
                answer = person.comes_back(application, state)
                application.redeem(answer["code"], public, code_verifier=VERIFIER)

        def again(state, **more):
            return application.authorize(facts.oauth_client_id, state, **more)

        def auth_time(state):
            token = application.redeem(person.comes_back(application, state)["code"], confidential)
            claims = token["id_token"].split(".")[1]
            return json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["auth_time"]

        with check("oauth, chromium: prompt=none comes back without a page"):
            person.open(again("silent", prompt="none"))
            first = auth_time("silent")

        with check("oauth, chromium: prompt=login asks for the password of the account, and then goes on"):
            time.sleep(1.1)
            person.open(again("login", prompt="login"))
            person.wait_for(lambda: facts.user_login in person.text(), "the page for the password")
            person.picture("reauthenticate")
            for password in "wrong", facts.user_password:
                assert not application.answers("login"), "it went on"
                browser.find_element(By.NAME, "user[password]").send_keys(password, Keys.ENTER)
                if password == "wrong":
                    person.wait_for(lambda: "Invalid password." in person.text(), "the refusal")
                    person.picture("reauthenticate-wrong")
            assert auth_time("login") > first, "auth_time is that of the earlier sign-in"

        with check("oauth, chromium: prompt=select_account offers the account, and another one"):
            person.open(again("select", prompt="select_account"))
            person.wait_for(lambda: browser.find_elements(By.CSS_SELECTOR, "a.button"), "the page with the accounts")
            person.picture("select-account")
            browser.find_element(By.CSS_SELECTOR, "a.button").click()
            auth_time("select")
            person.open(again("another", prompt="select_account"))
            browser.find_element(By.CSS_SELECTOR, "form[action='/users/sign_out'] button").click()
            person.wait_for(lambda: person.path() == "/users/sign_in", "the page for signing in")
            person.fill_in(facts.user_password)
            auth_time("another")

        with check("oauth, chromium: another account than the application expects is told to the person"):
            person.open(again("hint", id_token_hint="of somebody else"))
            person.wait_for(lambda: "expects a different account" in person.text(), "the page with the accounts")
            person.picture("select-account-expected")

        with check("oauth, chromium: a redirect address that is not registered leads nowhere"):
            person.open(application.authorize(facts.oauth_client_id, "astray", redirect_uri="http://127.0.0.2:9/x"))
            person.wait_for(lambda: "The redirect URI included is not valid." in person.text(), "the error page")
            assert not person.button(), "it can be authorized"
            person.picture("oauth-error")
            expect("answers", application.answers("astray"), [])

        with check("oauth, chromium: the console has nothing to complain of"):
            expect("complaints", person.complaints(), [])
    finally:
        browser.quit()

    # Chromium holds each of these redirects against `form-action` of the page with the form, if one leads there. What it
    # then asks of the person about the app stands before every page, so each needs a browser of its own.
    for deny, wanted in (False, "code"), (True, "error"):
        name = "Deny" if deny else "Authorize"
        with check(f"oauth, chromium: {name} leads through a callback that redirects twice, to an app at last"):
            with folder() as profile, Hop(f"{APP}://back") as hop, Application(facts, hop.url) as leading_on:
                browser = open_browser(profile, ("browser", "performance"))
                try:
                    person = Person(browser, facts)
                    person.open(leading_on.authorize(facts.oauth_public_client_id, name, **challenged))
                    person.fill_in(facts.user_password)
                    person.sees_consent()
                    person.button(deny).click()
                    reached = []
                    person.wait_for(lambda: reached.extend(person.sent_to(APP)) or reached, "the app")
                    expect("addresses", len(reached), 1)
                    answer = parse_qs(urlsplit(reached[0]).query)
                    expect("state", answer.get("state"), [name])
                    expect("parameters", answer.keys() - {"error_description"}, {wanted, "state", "iss"})
                    expect("complaints", person.complaints(), [])
                    person.picture("onward")
                finally:
                    browser.quit()
