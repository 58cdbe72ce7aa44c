"""The official Python SDK, line 1. Usage: python_sdk_1.py MCP_URL http|sse"""

import sys
from contextlib import asynccontextmanager

import httpx
from mcp import ClientSession
from mcp.client.auth import OAuthClientProvider
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientMetadata

from checks import TOOL, Memory, Person, Redirect, check, check_tools, check_user, drive, shown


def provider(url, memory, person):
    async def answered():
        answer = await person.answer()
        return answer["code"], answer.get("state")

    metadata = OAuthClientMetadata(client_name="Client test", redirect_uris=[person.redirect.uri])
    return OAuthClientProvider(url, metadata, memory, redirect_handler=person.open, callback_handler=answered)


@asynccontextmanager
async def connected(url, kind, auth):
    if kind == "sse":
        async with sse_client(url, auth=auth) as (read, write), ClientSession(read, write) as session:
            yield session
        return
    async with httpx.AsyncClient(auth=auth, timeout=httpx.Timeout(15, read=60)) as http:
        async with streamable_http_client(url, http_client=http) as (read, write, session_id), ClientSession(read, write) as session:
            yield session
            check((session_id() or "").startswith("sp1_ms_"), "the MCP session id is sealed by the edge", session_id())


async def use(session):
    await session.initialize()
    check_tools((await session.list_tools()).tools)
    result = await session.call_tool(TOOL, {})
    check_user(result.isError, result.structuredContent, result.content)


async def journey(url, kind):
    memory = Memory()
    person = Person(url, Redirect())
    async with connected(url, kind, provider(url, memory, person)) as session:
        await use(session)
        check(memory.client.client_id.startswith("sp1_cl_"), "the client registered itself", memory.client.client_id)
        check(memory.tokens.access_token.startswith("sp1_at_"), "the code bought an access token of the edge")
        shown("first sign-in")
    registrations = memory.registrations
    async with connected(url, kind, provider(url, memory, person)) as session:
        await use(session)
    check((person.visits, memory.registrations) == (1, registrations), "the second run neither registered nor opened a browser")
    shown("second run by stored token")


if __name__ == "__main__":
    drive(journey, *sys.argv[1:])
