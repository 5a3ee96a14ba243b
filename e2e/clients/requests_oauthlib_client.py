"""requests-oauthlib, as released. It knows OAuth alone: the addresses are told to it."""

import os

os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"

import requests
from oauthlib.oauth2 import WebApplicationClient
from requests_oauthlib import OAuth2Session

from steps import SCOPES, expect, facts, lacks, sign_in, step

URL = facts.base_url
SECRET = facts.oauth_client_secret
BASIC = facts.oauth_client_id, SECRET

lacks("discovery", "id_token", "introspect")


def session(client_id, **more):
    return OAuth2Session(
        client=WebApplicationClient(client_id), scope=SCOPES.split(), redirect_uri=facts.oauth_redirect_uri, **more
    )


def authorized(session):
    url, _ = session.authorization_url(f"{URL}/oauth/authorize")
    return sign_in(url)


def user(session):
    answer = session.get(f"{URL}/api/v4/user", timeout=20)
    answer.raise_for_status()
    expect("username", answer.json()["username"], facts.user_login)
    return answer.json()


with step("PKCE"):
    public = session(facts.oauth_public_client_id, pkce="S256")
    came_back = authorized(public)
    public.fetch_token(f"{URL}/oauth/token", authorization_response=came_back, include_client_id=True, timeout=20)
    user(public)

confidential = session(facts.oauth_client_id)

with step("authorize", needed=True):
    came_back = authorized(confidential)

with step("token", needed=True):
    token = confidential.fetch_token(
        f"{URL}/oauth/token", authorization_response=came_back, client_secret=SECRET, timeout=20
    )

with step("userinfo"):
    answer = confidential.get(f"{URL}/oauth/userinfo", timeout=20)
    answer.raise_for_status()
    expect("sub", answer.json()["sub"], str(user(confidential)["id"]))

with step("API call"):
    user(confidential)

with step("refresh"):
    fresh = confidential.refresh_token(f"{URL}/oauth/token", auth=BASIC, timeout=20)
    assert fresh["access_token"] != token["access_token"], "the same access token again"
    user(confidential)

with step("revoke"):
    client = WebApplicationClient(facts.oauth_client_id)
    url, headers, body = client.prepare_token_revocation_request(f"{URL}/oauth/revoke", confidential.access_token)
    answer = requests.post(url, body, headers=headers, auth=BASIC, timeout=20)
    expect("status", answer.status_code, 200)
    expect("status of the API afterwards", confidential.get(f"{URL}/api/v4/user", timeout=20).status_code, 401)
