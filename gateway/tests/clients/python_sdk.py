"""The official Python SDK, line 2. Usage: python_sdk.py MCP_URL http|http-legacy|sse

`http` is the SDK's default: it probes for the protocol of 2026-07-28 first.
"""

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import anyio
import httpx2
from mcp import Client
from mcp.client.auth import OAuthClientProvider
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientMetadata

from browser import Browser

TOOL = "get_graph_user_details"
WITHIN_S = 45


def check(holds, what, seen=None):
    if not holds:
        raise AssertionError(f"{what}; seen: {seen!r}")
    print(f"ok: {what}", flush=True)


class Memory:
    """Where the SDK keeps its registration and tokens."""

    def __init__(self):
        self.tokens = self.client = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client_info):
        self.client = client_info


class Receiver(BaseHTTPRequestHandler):
    """The client's redirect URI."""

    def do_GET(self):
        self.server.answers.append(parse_qs(urlsplit(self.path).query))
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><p>The client has its answer.")

    def log_message(self, format, *args):
        """Stays quiet: the query holds a code."""


def provider(url, memory, receiver):
    """The SDK's OAuth client, with our plain browser where it would open a real one."""
    redirect_uri = f"http://127.0.0.1:{receiver.server_port}/callback"

    async def opened(authorize_url):
        check(authorize_url.startswith(f"{origin(url)}/authorize?"), "it opens the edge's /authorize", authorize_url)
        sent = parse_qs(urlsplit(authorize_url).query)
        check(sent["code_challenge_method"] == ["S256"], "with PKCE S256", sent)
        check(sent["resource"] == [url], "for the resource it found in the metadata", sent["resource"])
        page = await anyio.to_thread.run_sync(Browser().sign_in, authorize_url)
        check(page.status == 200 and page.url.startswith(redirect_uri), "the browser ends at the client's redirect URI", page.url)

    async def answered():
        check(len(receiver.answers) == 1, "the client's redirect URI was called once", len(receiver.answers))
        answer = {name: values[0] for name, values in receiver.answers[0].items()}
        check(answer.get("code", "").startswith("sp1_ac_"), "with a code of the edge", sorted(answer))
        check(answer.get("iss") == origin(url), "and the issuer (RFC 9207)", answer.get("iss"))
        return AuthorizationCodeResult(code=answer["code"], state=answer.get("state"), iss=answer["iss"])

    metadata = OAuthClientMetadata(client_name="Client test", redirect_uris=[redirect_uri])
    return OAuthClientProvider(url, metadata, memory, redirect_handler=opened, callback_handler=answered)


async def journey(url, kind, receiver):
    memory = Memory()
    auth = provider(url, memory, receiver)
    if kind == "sse":
        await use(Client(sse_client(url, auth=auth), mode="legacy"), memory, kind)
        return
    async with httpx2.AsyncClient(auth=auth, timeout=httpx2.Timeout(15, read=60)) as http:
        transport = streamable_http_client(url, http_client=http)
        await use(Client(transport, mode="auto" if kind == "http" else "legacy"), memory, kind)


async def use(client, memory, kind):
    async with client:
        check(memory.client.client_id.startswith("sp1_cl_"), "the client registered itself", memory.client.client_id)
        check(memory.tokens.access_token.startswith("sp1_at_"), "the code bought an access token of the edge")
        version = client.protocol_version
        check((version == "2026-07-28") == (kind == "http"), "the expected protocol was agreed on", version)
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        check(TOOL in tools, f"{TOOL} is listed", list(tools))
        check_user(await client.call_tool(TOOL, {}))


def check_user(result):
    check(not result.is_error, "the tool reports no error", result)
    details = result.structured_content
    check(details and details.get("success") is True, "the structured answer says success", details)
    check(details["displayName"] == "Adele Vance", "and has the user's displayName", details)
    text = json.loads(result.content[0].text)
    check(text["success"] is True and text["id"] == details["id"], "the text block is the same answer as JSON", text)


def origin(url):
    return "{0.scheme}://{0.netloc}".format(urlsplit(url))


async def bounded(url, kind, receiver):
    with anyio.fail_after(WITHIN_S):
        await journey(url, kind, receiver)


def reasons(error):
    """The leaves of nested exception groups: the first is what went wrong."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in reasons(inner)]
    return [error]


def main():
    url, kind = sys.argv[1:]
    receiver = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    receiver.answers = []
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    try:
        anyio.run(bounded, url, kind, receiver)
    except Exception as error:
        for reason in reasons(error):
            print(f"FAILED: {type(reason).__name__}: {reason}", file=sys.stderr)
        sys.exit(1)
    finally:
        receiver.shutdown()


if __name__ == "__main__":
    main()
