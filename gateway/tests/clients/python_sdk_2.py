"""The official Python SDK, line 2. Usage: python_sdk_2.py MCP_URL http|http-legacy|http-refresh|sse

`http` is the SDK's default: it probes for the protocol of 2026-07-28 first.
"""

import sys
import time
from contextlib import asynccontextmanager

import httpx2
from mcp import Client
from mcp.client.auth import OAuthClientProvider
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientMetadata

from checks import TOOL, Memory, Person, Redirect, check, check_tools, check_user, drive, shown


class Sdk:
    """One program with the SDK: a run of it lives on what `memory` has kept of the former."""

    def __init__(self, url, kind, memory, person):
        self.url, self.kind, self.memory, self.person = url, kind, memory, person

    def provider(self):
        async def answered():
            answer = await self.person.answer()
            return AuthorizationCodeResult(code=answer["code"], state=answer.get("state"), iss=answer["iss"])

        metadata = OAuthClientMetadata(client_name="Client test", redirect_uris=[self.person.redirect.uri])
        return OAuthClientProvider(self.url, metadata, self.memory, redirect_handler=self.person.open, callback_handler=answered)

    @asynccontextmanager
    async def connected(self):
        """The client, and its OAuth provider."""
        auth = self.provider()
        if self.kind == "sse":
            async with Client(sse_client(self.url, auth=auth), mode="legacy") as client:
                yield client, auth
            return
        async with httpx2.AsyncClient(auth=auth, timeout=httpx2.Timeout(15, read=60)) as http:
            transport = streamable_http_client(self.url, http_client=http)
            async with Client(transport, mode="legacy" if self.kind == "http-legacy" else "auto") as client:
                yield client, auth


async def use(client):
    check_tools((await client.list_tools()).tools)
    result = await client.call_tool(TOOL, {})
    check_user(result.is_error, result.structured_content, result.content)


async def journey(url, kind):
    memory = Memory()
    person = Person(url, Redirect())
    sdk = Sdk(url, kind, memory, person)
    async with sdk.connected() as (client, auth):
        check(memory.client.client_id.startswith("sp1_cl_"), "the client registered itself", memory.client.client_id)
        check(memory.tokens.access_token.startswith("sp1_at_"), "the code bought an access token of the edge")
        shown("first sign-in")
        version = client.protocol_version
        check((version == "2026-07-28") == (kind in ("http", "http-refresh")), "the expected protocol was agreed on", version)
        await use(client)
        if kind == "http-refresh":
            await refreshed(client, auth, memory)
    registrations = memory.registrations
    async with sdk.connected() as (client, _):
        await use(client)
    check((person.visits, memory.registrations) == (1, registrations), "the second run neither registered nor opened a browser")
    shown("second run by stored token")


async def refreshed(client, auth, memory):
    """This SDK refreshes when its clock says so, not at a 401: the clock is put forward, the token spoilt."""
    spoilt = memory.tokens.model_copy(update={"access_token": "sp1_at_spoilt"})
    before = memory.tokens
    memory.tokens = auth.context.current_tokens = spoilt
    auth.context.token_expiry_time = time.time() - 1
    await use(client)
    check(memory.tokens.access_token.startswith("sp1_at_") and memory.tokens.access_token not in ("sp1_at_spoilt", before.access_token), "it got a new access token")
    check((memory.tokens.refresh_token or "").startswith("sp1_rt_") and memory.tokens.refresh_token != before.refresh_token, "and the next refresh token")
    shown("refresh when the token has run out")


if __name__ == "__main__":
    drive(journey, *sys.argv[1:])
