"""FastMCP's client with its OAuth helper. Usage: fastmcp_client.py MCP_URL http|sse

Twice, as two programs that share a folder: the second lives on what the first has stored.
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
from checks import TOOL, WITHIN_S, check, check_tools, check_user, drive, origin, shown

LISTENS_WITHIN_S = 10


class PlainBrowser(webbrowser.BaseBrowser):
    """What Python opens instead of the machine's browser."""

    opened = []

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


async def run(url, kind, folder, first):
    browser = PlainBrowser()
    webbrowser.register("plain", None, browser, preferred=True)
    # Its keys are URLs: without a strategy their slashes would be folders.
    store = FileTreeStore(data_directory=folder, key_sanitization_strategy=FileTreeV1KeySanitizationStrategy(Path(folder)))
    auth = OAuth(client_name="Client test", token_storage=store, callback_host="127.0.0.1")
    transport = {"http": StreamableHttpTransport, "sse": SSETransport}[kind](url, auth=auth)
    async with Client(transport) as client:
        check((client.protocol_version == "2026-07-28") == (kind == "http"), "the expected protocol was agreed on", client.protocol_version)
        check_tools(await client.list_tools())
        result = await client.call_tool(TOOL, {})
        check_user(result.is_error, result.structured_content, result.content)
    if first:
        check(len(browser.opened) == 1 and browser.opened[0].startswith(f"{origin(url)}/authorize?"), "it opened the browser once, at the edge's /authorize", browser.opened)
        shown("first sign-in")
    else:
        check(browser.opened == [], "the second run opened no browser", browser.opened)
    stored = await auth.token_storage_adapter.get_client_info()
    check(stored.client_id.startswith("sp1_cl_"), "it is stored as a client of the edge", stored.client_id)
    return stored.client_id


async def journey(url, kind, folder=None):
    if folder:
        print(f"client_id {await run(url, kind, folder, first=False)}", flush=True)
        return
    with tempfile.TemporaryDirectory() as folder:
        client_id = await run(url, kind, folder, first=True)
        again = subprocess.run([sys.executable, __file__, url, kind, folder], capture_output=True, text=True, timeout=WITHIN_S)
    check(again.returncode == 0, "the second program succeeds", again.stdout + again.stderr)
    check(f"client_id {client_id}\n" in again.stdout, "it registered no second time", again.stdout)
    shown("second run by stored token")


if __name__ == "__main__":
    drive(journey, *sys.argv[1:])
