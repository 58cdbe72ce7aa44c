"""What the Python drivers share: one line per check, the receiver of a redirect, what the sample tool must answer."""

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import anyio

from browser import Browser

TOOL = "get_graph_user_details"
# For one driver, that which goes on until it is told to stop too.
WITHIN_S = 300

# What several drivers may say they have shown; as in `checks.mjs`.
ANEW = "sign-in anew as the same client"
AT_A_401 = "refresh after a 401"
IN_TIME = "refresh when the token has run out"
WIPED = "sign-in as the same client after the store was wiped"
ROTATED = "no sign-in after a key rotation"


def check(holds, what, seen=None):
    """Prints the check; raises when it does not hold."""
    if not holds:
        raise AssertionError(f"{what}; seen: {seen!r}")
    print(f"ok: {what}", flush=True)


def shown(what):
    """Says, for the compatibility table, what the client has just done."""
    print(f"shown: {what}", flush=True)


def check_tools(tools):
    names = [tool.name for tool in tools]
    check(TOOL in names, f"{TOOL} is listed", names)
    shown("`tools/list`")


def check_user(is_error, details, content):
    """What `tools/call` must have answered, signed in as Adele."""
    check(not is_error, "the tool reports no error", content)
    check(details and details.get("success") is True, "the structured answer says success", details)
    check(details["displayName"] == "Adele Vance", "and has the user's displayName", details)
    text = json.loads(content[0].text)
    check(text["success"] is True and text["id"] == details["id"], "the text block is the same answer as JSON", text)
    shown("`tools/call`")


def origin(url):
    return "{0.scheme}://{0.netloc}".format(urlsplit(url))


class Person:
    """Who sits before the SDK's browser: opens what it is told to, and hands back what the redirect URI received."""

    def __init__(self, url, redirect):
        self.url, self.redirect, self.visits = url, redirect, 0

    async def open(self, authorize_url):
        self.visits += 1
        check(authorize_url.startswith(f"{origin(self.url)}/authorize?"), "it opens the edge's /authorize", authorize_url)
        sent = parse_qs(urlsplit(authorize_url).query)
        check(sent["code_challenge_method"] == ["S256"], "with PKCE S256", sent)
        check(sent["resource"] == [self.url], "for the resource it found in the metadata", sent["resource"])
        page = await anyio.to_thread.run_sync(Browser().sign_in, authorize_url)
        check(page.status == 200 and page.url.startswith(self.redirect.uri), "the browser ends at the client's redirect URI", page.url)

    async def answer(self):
        received = self.redirect.answers
        check(len(received) == 1, "the client's redirect URI was called once", len(received))
        answer = {name: values[0] for name, values in received.pop().items()}
        check(answer.get("code", "").startswith("sp1_ac_"), "with a code of the edge", sorted(answer))
        check(answer.get("iss") == origin(self.url), "and the issuer (RFC 9207)", answer.get("iss"))
        return answer


class Redirect(ThreadingHTTPServer):
    """A client's redirect URI on a free loopback port."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Receiver)
        self.uri = f"http://127.0.0.1:{self.server_port}/callback"
        self.answers = []
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Receiver(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.answers.append(parse_qs(urlsplit(self.path).query))
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><p>The client has its answer.")

    def log_message(self, format, *args):
        """Stays quiet: the query holds a code."""


def drive(journey, *arguments):
    """Runs a driver within bounds; a deviation is one clear line and exit code 1."""

    async def bounded():
        with anyio.fail_after(WITHIN_S):
            await journey(*arguments)

    try:
        anyio.run(bounded)
    except Exception as error:
        for reason in _reasons(error):
            print(f"FAILED: {type(reason).__name__}: {reason}", file=sys.stderr)
        sys.exit(1)


def _reasons(error):
    """The leaves of nested exception groups: the first is what went wrong."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _reasons(inner)]
    return [error]
