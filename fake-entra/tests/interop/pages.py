"""A person at the stand-in's pages. As a program: opens a URL as a browser does, to the end at the redirect URI.

The program clicks what PROBE_STEP says (`sign-in` or `cancel`) and trusts the certificate in FAKE_ENTRA_CA.
"""

import functools
import html.parser
import os
import sys
from urllib.parse import urljoin

import requests

ADELE = "adele@contoso.example"
# No wait of a run is longer.
PATIENCE = 20


def session(authority_file: str) -> requests.Session:
    made = requests.Session()
    made.trust_env = False
    made.verify = authority_file
    made.request = functools.partial(made.request, timeout=PATIENCE)
    return made


def walk(browser: requests.Session, url: str, choices: dict) -> str:
    """Clicks through the pages as `choices` say, to the URL that the last one leads to."""
    answer = browser.get(url, allow_redirects=False)
    for _ in range(5):
        if answer.status_code == 302:
            return answer.headers["location"]
        page = Page(answer.text)
        button = next(name for name in page.buttons if name in choices)
        form = {**page.hidden, button: choices[button]}
        answer = browser.post(urljoin(answer.url, page.action), data=form, allow_redirects=False)
    raise AssertionError(f"no end after five pages: {answer.status_code}")


class Page(html.parser.HTMLParser):
    """The form of a page: where it posts to, what it hides, which buttons it has."""

    def __init__(self, text: str):
        super().__init__()
        self.action, self.hidden, self.buttons = None, {}, []
        self.feed(text)
        if self.action is None:
            raise AssertionError(f"no form: {text}")

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "form":
            self.action = attributes["action"]
        elif tag == "input" and attributes.get("type") == "hidden":
            self.hidden[attributes["name"]] = attributes["value"]
        elif tag == "button" and "name" in attributes:
            self.buttons.append(attributes["name"])


if __name__ == "__main__":
    wishes = {"sign-in": {"user": ADELE}, "cancel": {"cancel": "1"}}
    chosen = session(os.environ["FAKE_ENTRA_CA"])
    chosen.get(walk(chosen, sys.argv[1], wishes[os.environ["PROBE_STEP"]]))
