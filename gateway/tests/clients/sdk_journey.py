"""What a program built on an official Python SDK does, the same for both lines; the drivers bring their line's classes.

A driver's `Sdk(url, kind, memory, person)` has `connected()`, an asynchronous context of a fresh connection and its OAuth
provider on what `memory` has kept, and `use(connection)`.
"""

import time
from pathlib import Path

import anyio
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken

from checks import ANEW, IN_TIME, ROTATED, WIPED, Person, Redirect, check, shown

SPOILT = "sp1_at_spoilt"
# Between two runs of a steady client, which is not there to be fast.
PAUSE_S = 0.05


async def journey(new_sdk, url, kind, stage=None, folder=None):
    """All of it, or one stage of a client whose edge has fallen on hard times and that keeps its things in `folder`."""
    sdk = new_sdk(url, kind, Memory(folder), Person(url, Redirect()))
    await {None: whole_life, "signed-in": first_sign_in, "wiped": wiped, "rotated": rotated, "steady": steady}[stage](sdk)


async def whole_life(sdk):
    await first_sign_in(sdk)
    client_id = sdk.memory.client.client_id
    await run(sdk)
    check((sdk.person.visits, sdk.memory.client.client_id) == (1, client_id), "the second run neither registered nor opened a browser")
    shown("second run by stored token")
    await refreshed(sdk)
    await anew(sdk)
    shown(ANEW)


async def first_sign_in(sdk):
    check(sdk.memory.client is None, "nothing is kept yet")
    await run(sdk)
    check(sdk.person.visits == 1 and sdk.memory.client.client_id.startswith("sp1_cl_"), "the client registered itself", sdk.memory.client)
    check(sdk.memory.tokens.access_token.startswith("sp1_at_"), "the code bought an access token of the edge")
    shown("first sign-in")


async def wiped(sdk):
    """The store has lost every session: the kept tokens are refused, the kept registration is not."""
    check(sdk.memory.tokens, "it has kept its tokens")
    await signed_in_as_the_same_client(sdk)
    shown(WIPED)


async def rotated(sdk):
    """What the former key has sealed still opens: the tokens, then the registration alone."""
    await run(sdk)
    check(sdk.person.visits == 0, "it asked for no sign-in")
    await anew(sdk)
    shown(ROTATED)


async def steady(sdk):
    """Run after run, until somebody says that it is enough."""
    await first_sign_in(sdk)
    while not sdk.memory.folder.joinpath("stop").exists():
        await run(sdk)
        await anyio.sleep(PAUSE_S)


async def anew(sdk):
    sdk.memory.tokens = None
    await signed_in_as_the_same_client(sdk)


async def signed_in_as_the_same_client(sdk):
    client_id, visits = sdk.memory.client.client_id, sdk.person.visits
    await run(sdk)
    check(sdk.person.visits == visits + 1, "it asked for a sign-in", sdk.person.visits)
    check(sdk.memory.client.client_id == client_id, "and is the client it was")


async def run(sdk):
    async with sdk.connected() as (connection, _):
        await sdk.use(connection)


async def refreshed(sdk):
    """These SDKs refresh when their clock says so, not at a 401: the clock is put forward, the token spoilt."""
    memory, visits = sdk.memory, sdk.person.visits
    async with sdk.connected() as (connection, auth):
        before = memory.tokens
        memory.tokens = auth.context.current_tokens = before.model_copy(update={"access_token": SPOILT})
        auth.context.token_expiry_time = time.time() - 1
        await sdk.use(connection)
    check(memory.tokens.access_token.startswith("sp1_at_") and memory.tokens.access_token not in (SPOILT, before.access_token), "it got a new access token")
    check((memory.tokens.refresh_token or "").startswith("sp1_rt_") and memory.tokens.refresh_token != before.refresh_token, "and the next refresh token")
    check(sdk.person.visits == visits, "without a sign-in")
    shown(IN_TIME)


class Memory:
    """The SDK's storage: one client, one user. With a folder, the next run of the program finds there what this one was given."""

    def __init__(self, folder):
        self.folder = folder and Path(folder)
        self.tokens = self._read("tokens.json", OAuthToken)
        self.client = self._read("client.json", OAuthClientInformationFull)

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens
        self._write("tokens.json", tokens)

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client_info):
        self.client = client_info
        self._write("client.json", client_info)

    def _read(self, name, kind):
        if self.folder is None or not (self.folder / name).exists():
            return None
        return kind.model_validate_json((self.folder / name).read_text())

    def _write(self, name, value):
        if self.folder is not None:
            (self.folder / name).write_text(value.model_dump_json(exclude_none=True))
