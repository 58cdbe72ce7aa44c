"""The official Python SDK, line 1. Usage: python_sdk_1.py MCP_URL http|sse [STAGE FOLDER]"""

import sys
from contextlib import asynccontextmanager

import httpx
from mcp import ClientSession
from mcp.client.auth import OAuthClientProvider
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientMetadata

from checks import TOOL, check, check_tools, check_user, drive
from sdk_journey import journey


class Sdk:
    def __init__(self, url, kind, memory, person):
        self.url, self.kind, self.memory, self.person = url, kind, memory, person

    def provider(self):
        async def answered():
            answer = await self.person.answer()
            return answer["code"], answer.get("state")

        metadata = OAuthClientMetadata(client_name="Client test", redirect_uris=[self.person.redirect.uri])
        return OAuthClientProvider(self.url, metadata, self.memory, redirect_handler=self.person.open, callback_handler=answered)

    @asynccontextmanager
    async def connected(self):
        auth = self.provider()
        if self.kind == "sse":
            async with sse_client(self.url, auth=auth) as (read, write), ClientSession(read, write) as session:
                await session.initialize()
                yield session, auth
            return
        async with httpx.AsyncClient(auth=auth, timeout=httpx.Timeout(60)) as http:
            async with streamable_http_client(self.url, http_client=http) as (read, write, session_id), ClientSession(read, write) as session:
                await session.initialize()
                check((session_id() or "").startswith("sp1_ms_"), "the MCP session id is sealed by the edge", session_id())
                yield session, auth

    async def use(self, session):
        check_tools((await session.list_tools()).tools)
        result = await session.call_tool(TOOL, {})
        check_user(result.isError, result.structuredContent, result.content)


if __name__ == "__main__":
    drive(journey, Sdk, *sys.argv[1:])
