"""FastMCP's client with its OAuth helper. Usage: fastmcp_client.py MCP_URL http|sse [STAGE FOLDER]

Without a stage it runs twice, as two programs that share a folder: the second lives on what the first has stored.
"""

import subprocess
import sys
import tempfile
import threading
import time
import webbrowser
from pathlib import Path
from socket import create_connection
from urllib.parse import parse_qs, urlsplit

from fastmcp import Client
from fastmcp.client.auth import OAuth
from fastmcp.client.transports import SSETransport, StreamableHttpTransport
from key_value.aio.stores.filetree import FileTreeStore, FileTreeV1KeySanitizationStrategy

from browser import Browser
from checks import ANEW, IN_TIME, ROTATED, TOOL, WIPED, WITHIN_S, check, check_tools, check_user, drive, origin, shown

SPOILT = "sp1_at_spoilt"
LISTENS_WITHIN_S = 60


class PlainBrowser(webbrowser.BaseBrowser):
    """What Python opens instead of the machine's browser."""

    def __init__(self):
        super().__init__("plain")
        self.opened = []

    def open(self, url, new=0, autoraise=True):
        self.opened.append(url)
        threading.Thread(target=self._sign_in, args=[url], daemon=True).start()
        return True

    def _sign_in(self, url):
        redirect = urlsplit(parse_qs(urlsplit(url).query)["redirect_uri"][0])
        # FastMCP opens the browser first and its callback's port thereafter; a person is slower than that.
        end = time.monotonic() + LISTENS_WITHIN_S
        while True:
            try:
                create_connection((redirect.hostname, redirect.port), timeout=1).close()
                break
            except ConnectionRefusedError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)
        Browser().sign_in(url)


class Program:
    """One program with FastMCP: each run of it lives on what the folder has kept of the former."""

    def __init__(self, url, kind, folder):
        self.url, self.kind = url, kind
        # Its keys are URLs: without a strategy their slashes would be folders.
        self.store = FileTreeStore(data_directory=folder, key_sanitization_strategy=FileTreeV1KeySanitizationStrategy(Path(folder)))

    async def run(self, sign_ins):
        """Lists and calls, having opened the browser so often. Answers the client that it is."""
        browser = PlainBrowser()
        webbrowser.register("plain", None, browser, preferred=True)
        auth = OAuth(client_name="Client test", token_storage=self.store, callback_host="127.0.0.1")
        transport = {"http": StreamableHttpTransport, "sse": SSETransport}[self.kind](self.url, auth=auth)
        async with Client(transport) as client:
            check((client.protocol_version == "2026-07-28") == (self.kind == "http"), "the expected protocol was agreed on", client.protocol_version)
            check_tools(await client.list_tools())
            result = await client.call_tool(TOOL, {})
            check_user(result.is_error, result.structured_content, result.content)
        at_the_edge = all(url.startswith(f"{origin(self.url)}/authorize?") for url in browser.opened)
        check(len(browser.opened) == sign_ins and at_the_edge, f"it opened the browser {sign_ins} times, at the edge's /authorize", browser.opened)
        stored = await auth.token_storage_adapter.get_client_info()
        check(stored.client_id.startswith("sp1_cl_"), "it is stored as a client of the edge", stored.client_id)
        return stored.client_id

    async def stays(self, sign_ins):
        """A run as the client that is kept."""
        kept = await self.kept().get_client_info()
        check(kept, "it has kept its registration")
        check(await self.run(sign_ins) == kept.client_id, "it is the client it was")

    def kept(self):
        return OAuth(self.url, token_storage=self.store).token_storage_adapter


async def first_sign_in(program):
    await program.run(sign_ins=1)
    shown("first sign-in")


async def second_run(program):
    await program.stays(sign_ins=0)
    shown("second run by stored token")
    await refreshed(program)
    await anew(program)
    shown(ANEW)


async def refreshed(program):
    """This client refreshes when the time it has stored says so, not at a 401: the stored time is past, the token spoilt."""
    kept = program.kept()
    before = await kept.get_tokens()
    await kept.set_tokens(before.model_copy(update={"access_token": SPOILT, "expires_in": -1}))
    await program.stays(sign_ins=0)
    after = await kept.get_tokens()
    check(after.access_token.startswith("sp1_at_") and after.access_token not in (SPOILT, before.access_token), "it got a new access token")
    check((after.refresh_token or "").startswith("sp1_rt_") and after.refresh_token != before.refresh_token, "and the next refresh token")
    shown(IN_TIME)


async def wiped(program):
    """The store has lost every session: the kept tokens are refused, the kept registration is not."""
    check(await program.kept().get_tokens(), "it has kept its tokens")
    await program.stays(sign_ins=1)
    shown(WIPED)


async def rotated(program):
    """What the former key has sealed still opens: the tokens, then the registration alone."""
    await program.stays(sign_ins=0)
    await anew(program)
    shown(ROTATED)


async def anew(program):
    kept = program.kept()
    registration = await kept.get_client_info()
    await kept.clear()
    await kept.set_client_info(registration)
    await program.stays(sign_ins=1)


async def journey(url, kind, stage=None, folder=None):
    if stage:
        stages = {"signed-in": first_sign_in, "second-run": second_run, "wiped": wiped, "rotated": rotated}
        await stages[stage](Program(url, kind, folder))
        return
    with tempfile.TemporaryDirectory() as folder:
        await first_sign_in(Program(url, kind, folder))
        again = subprocess.run([sys.executable, __file__, url, kind, "second-run", folder], capture_output=True, text=True, timeout=WITHIN_S)
    print(again.stdout, end="", flush=True)
    check(again.returncode == 0, "the second program succeeds", again.stderr)


if __name__ == "__main__":
    drive(journey, *sys.argv[1:])
