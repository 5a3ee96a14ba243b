#!/usr/bin/env python3
"""What a person's browser does for an application that sends them to sign in.

    browser.py [--land] AUTHORIZE_URL LOGIN

It follows redirects, keeps cookies, signs in with the password on its stdin and consents. Then it prints the address
that the person is sent back to; with --land it goes there too.
"""

import sys
import urllib.error
import urllib.request
from html.parser import HTMLParser
from http.cookiejar import CookieJar
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

PAGES = 12


class Page(HTMLParser):
    """The forms of a page, and where it leads by itself."""

    def __init__(self, text):
        super().__init__()
        self.text, self.forms, self.onward = text, [], None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        has = dict(attributes)
        if tag == "form":
            self.forms.append((has.get("action", ""), {}))
        elif tag == "input" and self.forms and "name" in has:
            self.forms[-1][1][has["name"]] = has.get("value") or ""
        elif tag == "meta" and (has.get("http-equiv") or "").lower() == "refresh":
            self.onward = has["content"].partition("=")[2].strip("'\" ")


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


class Browser:
    def __init__(self, login, password):
        self.login, self.password = login, password
        keeps = urllib.request.HTTPCookieProcessor(CookieJar())
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), keeps, NoRedirect)

    def ask(self, url, form=None):
        headers = {}
        if form is not None:
            at = urlsplit(url)
            headers = {"Origin": f"{at.scheme}://{at.netloc}", "Sec-Fetch-Site": "same-origin"}
        request = urllib.request.Request(url, form and urlencode(form).encode(), headers)
        try:
            return self.opener.open(request, timeout=20)
        except urllib.error.HTTPError as answer:
            return answer

    def walk(self, url):
        """From where an application sends somebody to where they are sent back."""
        back, form = None, None
        for _ in range(PAGES):
            asked = urlsplit(url)
            if back and url.startswith(back) and {"code", "error"} & parse_qs(asked.query).keys():
                return url
            if asked.path.endswith("/oauth/authorize") and form is None:
                back = parse_qs(asked.query)["redirect_uri"][0]
            answer = self.ask(url, form)
            if answer.status in (302, 303):
                url, form = urljoin(url, answer.headers["Location"]), None
                continue
            page = Page(answer.read().decode())
            if page.onward:
                url, form = urljoin(url, page.onward), None
                continue
            url, form = self.fill_in(url, answer.status, page)
        raise SystemExit(f"no end after {PAGES} pages, the last one {url}")

    def fill_in(self, url, status, page):
        for action, fields in page.forms:
            if "user[login]" in fields:
                return urljoin(url, action), fields | {"user[login]": self.login, "user[password]": self.password}
            if urljoin(url, action).endswith("/oauth/authorize") and "_method" not in fields:
                return urljoin(url, action), fields
        raise SystemExit(f"no way on from {url}: {status} {' '.join(page.text.split())[-600:]}")


def walk(url, login, password, land=False):
    browser = Browser(login, password)
    end = browser.walk(url)
    if land:
        browser.ask(end).read()
    return end


if __name__ == "__main__":
    land = "--land" in sys.argv
    url, login = [word for word in sys.argv[1:] if word != "--land"]
    print(walk(url, login, sys.stdin.read(), land))
