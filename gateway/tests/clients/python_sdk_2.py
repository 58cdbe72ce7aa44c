"""The official Python SDK, line 2. Usage: python_sdk_2.py MCP_URL http|http-legacy|sse [STAGE FOLDER]

`http` is the SDK's default: it probes for the protocol of 2026-07-28 first.
"""

import sys
from contextlib import asynccontextmanager

import httpx2
from mcp import Client
from mcp.client.auth import OAuthClientProvider
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientMetadata

from checks import TOOL, check, check_tools, check_user, drive
from sdk_journey import journey


class Sdk:
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
        auth = self.provider()
        if self.kind == "sse":
            async with Client(sse_client(self.url, auth=auth), mode="legacy") as client:
                yield client, auth
            return
        async with httpx2.AsyncClient(auth=auth, timeout=httpx2.Timeout(60)) as http:
            transport = streamable_http_client(self.url, http_client=http)
            async with Client(transport, mode="legacy" if self.kind == "http-legacy" else "auto") as client:
                yield client, auth

    async def use(self, client):
        version = client.protocol_version
        check((version == "2026-07-28") == (self.kind == "http"), "the expected protocol was agreed on", version)
        check_tools((await client.list_tools()).tools)
        result = await client.call_tool(TOOL, {})
        check_user(result.is_error, result.structured_content, result.content)


if __name__ == "__main__":
    drive(journey, Sdk, *sys.argv[1:])
