#!/usr/bin/env python3
"""Sign in with Tollhouse from a program of your own: an authorization code with PKCE, with the standard library only.

    python3 examples/sign_in.py URL CLIENT_ID

http://127.0.0.1:8976/callback must be a redirect URI of the application. The secret of a confidential application is
read from the environment variable CLIENT_SECRET.
"""

import base64
import hashlib
import json
import os
import queue
import secrets
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.error import HTTPError
from urllib.parse import parse_qsl, urlencode, urlsplit
from urllib.request import Request, urlopen

REDIRECT_URI = "http://127.0.0.1:8976/callback"
came_back = queue.Queue()


class Callback(BaseHTTPRequestHandler):
    """Receives the browser when it comes back. It may request other things too, such as an icon."""

    def do_GET(self):
        answer = dict(parse_qsl(urlsplit(self.path).query))
        ours = answer.get("state") == state  # otherwise another site sent the browser here
        self.send_response(200 if ours else 404)
        self.end_headers()
        self.wfile.write(b"Back at the program. This page can be closed.\n" if ours else b"Nothing here.\n")
        if ours:
            came_back.put(answer)

    def log_message(self, *_):
        """Logs nothing, because the query contains the code."""


def ask(url, form=None, token=None):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with urlopen(Request(url, form and urlencode(form).encode(), headers), timeout=60) as answer:
            return json.load(answer)
    except HTTPError as refusal:
        sys.exit(f"{url} says {refusal.code}: {refusal.read().decode()}")


if len(sys.argv) != 3:
    sys.exit(__doc__)
server = ask(f"{sys.argv[1].rstrip('/')}/.well-known/openid-configuration")
client = {"client_id": sys.argv[2], "redirect_uri": REDIRECT_URI}

# New each time: the state ties the answer to this request, the verifier proves that the same program redeems the code.
state, verifier = secrets.token_urlsafe(16), secrets.token_urlsafe(32)
challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
question = {**client, "response_type": "code", "scope": "openid", "state": state}
question |= {"code_challenge": challenge, "code_challenge_method": "S256"}

listener = ThreadingHTTPServer(("127.0.0.1", 8976), Callback)
threading.Thread(target=listener.serve_forever, daemon=True).start()
print(f"Open this in a browser:\n\n  {server['authorization_endpoint']}?{urlencode(question)}\n", flush=True)
answer = came_back.get()
if "code" not in answer:
    sys.exit(answer.get("error_description", "no code came back"))

form = {**client, "grant_type": "authorization_code", "code": answer["code"], "code_verifier": verifier}
if "CLIENT_SECRET" in os.environ:
    form["client_secret"] = os.environ["CLIENT_SECRET"]
tokens = ask(server["token_endpoint"], form)
person = ask(server["userinfo_endpoint"], token=tokens["access_token"])
print(f"Hello, {person['name']}: you are @{person['preferred_username']}, number {person['sub']}.")
