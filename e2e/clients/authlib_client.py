"""Authlib, as released, the way its parts for web frameworks use it; the framework itself is left out."""

import os

os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"

from authlib.integrations.base_client import BaseApp, OAuth2Mixin, OpenIDMixin
from authlib.integrations.requests_client import OAuth2Session
from authlib.oidc.discovery import OpenIDProviderMetadata, get_well_known_url
from joserfc.errors import BadSignatureError, InvalidClaimError

from steps import SCOPES, expect, facts, refused, sign_in, step

API = f"{facts.base_url}/api/v4/user"


class App(OAuth2Mixin, OpenIDMixin, BaseApp):
    client_cls = OAuth2Session


def app(client_id, client_secret=None, **more):
    return App(
        framework=None,
        client_id=client_id,
        client_secret=client_secret,
        server_metadata_url=get_well_known_url(facts.base_url, external=True),
        client_kwargs={"scope": SCOPES, "default_timeout": 20, **more},
    )


def authorized(app):
    """What the application remembers of a person, and where they came back."""
    asked = app.create_authorization_url(facts.oauth_redirect_uri)
    return asked, sign_in(asked["url"])


def redeemed(app, asked, came_back):
    return app.fetch_access_token(
        facts.oauth_redirect_uri,
        authorization_response=came_back,
        state=asked["state"],
        code_verifier=asked.get("code_verifier"),
    )


def who(token):
    answer = confidential.get(API, token=token)
    answer.raise_for_status()
    return answer.json()


confidential = app(facts.oauth_client_id, facts.oauth_client_secret)

with step("discovery", needed=True):
    metadata = OpenIDProviderMetadata(confidential.load_server_metadata())
    metadata.validate()
    expect("issuer", metadata["issuer"], facts.base_url)

with step("PKCE"):
    public = app(facts.oauth_public_client_id, code_challenge_method="S256")
    asked, came_back = authorized(public)
    assert "code_challenge=" in asked["url"], "no challenge was sent"
    token = redeemed(public, asked, came_back)
    expect("username", who(token)["username"], facts.user_login)
    public.parse_id_token(token, asked["nonce"])

with step("authorize", needed=True):
    asked, came_back = authorized(confidential)

with step("token", needed=True):
    token = redeemed(confidential, asked, came_back)
    expect("scope", set(token["scope"].split()), set(SCOPES.split()))

with step("id_token"):
    claims = confidential.parse_id_token(token, asked["nonce"])
    expect("sub", claims["sub"], str(who(token)["id"]))
    refused(InvalidClaimError, lambda: confidential.parse_id_token(token, "another nonce"))
    head, body, seal = token["id_token"].split(".")
    forged = token | {"id_token": f"{head}.{body}.{seal[:9]}{'B' if seal[9] == 'A' else 'A'}{seal[10:]}"}
    refused(BadSignatureError, lambda: confidential.parse_id_token(forged, asked["nonce"]))

with step("userinfo"):
    person = confidential.userinfo(token=token)
    expect("sub", person["sub"], str(who(token)["id"]))
    expect("preferred_username", person["preferred_username"], facts.user_login)

with step("API call"):
    expect("username", who(token)["username"], facts.user_login)

session = OAuth2Session(
    facts.oauth_client_id, facts.oauth_client_secret, scope=SCOPES, token=token, default_timeout=20
)

with step("refresh"):
    fresh = session.refresh_token(metadata["token_endpoint"])
    assert fresh["access_token"] != token["access_token"], "the same access token again"
    expect("username", who(fresh)["username"], facts.user_login)
    # Without a nonce: nobody was asked anew (oauth.md 6.3).
    confidential.parse_id_token(fresh, None)


def introspected():
    answer = session.introspect_token(metadata["introspection_endpoint"], session.token["access_token"])
    expect("status", answer.status_code, 200)
    return answer.json()


with step("introspect"):
    known = introspected()
    expect("active and client_id", (known["active"], known["client_id"]), (True, facts.oauth_client_id))

with step("revoke"):
    answer = session.revoke_token(metadata["revocation_endpoint"])
    expect("status", answer.status_code, 200)
    expect("status of the API afterwards", confidential.get(API, token=session.token).status_code, 401)
    expect("introspected afterwards", introspected(), {"active": False})
