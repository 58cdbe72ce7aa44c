"""FastMCP behind its own OAuth proxy, with sessions that it keeps in memory: what MCP servers in Python do themselves.

Each session is one that the proxy issued a token for in exchange for a code of its own. The code is put into its store where
its callback would have left it, with a JWT in the place of the identity provider's answer.
"""

import argparse
import asyncio
import os
import secrets
import time

from fastmcp import FastMCP
from fastmcp.server.auth import OAuthProxy
from fastmcp.server.auth.oauth_proxy.models import ClientCode
from fastmcp.server.auth.providers.jwt import JWTVerifier, RSAKeyPair
from key_value.aio.stores.memory import MemoryStore
from mcp.server.auth.provider import AuthorizationCode
from mcp.shared.auth import OAuthClientInformationFull

ISSUER, AUDIENCE, SCOPE = "https://issuer.example", "bench", "access"
REDIRECT = "http://127.0.0.1:33418/callback"
LIFETIME = 3600


async def session(proxy, keys, number):
    """A token as a client would get it."""
    client = OAuthClientInformationFull(client_id=f"client-{number}", redirect_uris=[REDIRECT], token_endpoint_auth_method="none")
    code, expires = secrets.token_urlsafe(32), time.time() + 300
    # About as much as an Entra token says.
    claims = {"name": "Adele Vance", "ver": "2.0", "pad": "p" * 600}
    token = keys.create_token(
        subject=f"user-{number}", issuer=ISSUER, audience=AUDIENCE, scopes=[SCOPE], expires_in_seconds=LIFETIME, additional_claims=claims
    )
    answer = {"access_token": token, "token_type": "Bearer", "expires_in": LIFETIME, "scope": SCOPE}
    known = {"code": code, "client_id": client.client_id, "redirect_uri": REDIRECT, "scopes": [SCOPE], "code_challenge": "c", "expires_at": expires}
    kept = ClientCode(**known, code_challenge_method="S256", idp_tokens=answer, created_at=time.time())
    await proxy._code_store.put(key=code, value=kept, ttl=300)
    issued = await proxy.exchange_authorization_code(client, AuthorizationCode(**known, redirect_uri_provided_explicitly=True))
    return issued.access_token


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--sessions", type=int, required=True)
    parser.add_argument("--tokens", required=True, help="a new file, one token a line")
    arguments = parser.parse_args()
    keys = RSAKeyPair.generate()
    base = f"http://127.0.0.1:{arguments.port}"
    proxy = OAuthProxy(
        upstream_authorization_endpoint=f"{ISSUER}/authorize",
        upstream_token_endpoint=f"{ISSUER}/token",
        upstream_client_id="bench",
        upstream_client_secret=secrets.token_urlsafe(32),
        token_verifier=JWTVerifier(public_key=keys.public_key, issuer=ISSUER, audience=AUDIENCE, required_scopes=[SCOPE]),
        base_url=base,
        client_storage=MemoryStore(),
    )
    server = FastMCP("bench", auth=proxy)

    @server.tool
    def echo(text: str) -> str:
        """Says it again."""
        return text

    proxy.set_mcp_path("/mcp")
    tokens = [await session(proxy, keys, number) for number in range(arguments.sessions)]
    with open(os.open(arguments.tokens, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write("\n".join(tokens))
    await server.run_async(
        "http", host="127.0.0.1", port=arguments.port, path="/mcp", stateless_http=True, json_response=True,
        show_banner=False, uvicorn_config={"log_level": "error", "access_log": False},
    )


asyncio.run(main())
