#!/usr/bin/env python3
"""FastMCP's OAuth proxy before the stand-in for Entra ID: who else could stand where Sallyport does.

One program starts both, on loopback: `fake-entra` with a secret for its gateway, and FastMCP with a tool that echoes. Everything that
FastMCP leaves to choose is as it comes, but for the store, which is in memory, `forward_resource`, which Entra does not take, and the scopes.
Prints the MCP URL when it serves, and ends with SIGTERM.

    python fastmcp_proxy.py --fake-entra target/release/fake-entra --port 8090
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from fastmcp import FastMCP
from fastmcp.server.auth import OAuthProxy
from fastmcp.server.auth.providers.jwt import JWTVerifier
from key_value.aio.stores.memory import MemoryStore

SECRET = "only-for-the-stand-in"


def start_entra(program: str, folder: Path) -> tuple[subprocess.Popen, dict]:
    """The stand-in, whose first application has a secret: FastMCP knows no federated credential."""
    seed = subprocess.run([program, "--print-seed"], check=True, capture_output=True, text=True).stdout
    (folder / "seed.toml").write_text(seed.replace("secrets = []", f'secrets = ["{SECRET}"]', 1))
    entra = subprocess.Popen(
        [program, "--seed", str(folder / "seed.toml")], stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL
    )
    return entra, json.loads(entra.stdout.readline())


def server(entra: dict, port: int) -> FastMCP:
    tenant = f"{entra['authority']}/{entra['tenant_id']}"
    scopes = ["openid", "profile", "offline_access", entra["scope"]]

    class EntraProxy(OAuthProxy):
        """Entra wants the scopes again with every code and refresh token."""

        def _prepare_scopes_for_token_exchange(self, _scopes: list[str]) -> list[str]:
            return scopes

        def _prepare_scopes_for_upstream_refresh(self, _scopes: list[str]) -> list[str]:
            return scopes

    auth = EntraProxy(
        upstream_authorization_endpoint=f"{tenant}/oauth2/v2.0/authorize",
        upstream_token_endpoint=f"{tenant}/oauth2/v2.0/token",
        upstream_client_id=entra["gateway_client_id"],
        upstream_client_secret=SECRET,
        token_verifier=JWTVerifier(
            jwks_uri=f"{tenant}/discovery/v2.0/keys",
            issuer=f"{tenant}/v2.0",
            audience=entra["server_client_id"],
        ),
        base_url=f"http://localhost:{port}",
        redirect_path="/oauth-callback",
        forward_resource=False,
        extra_authorize_params={"scope": " ".join(scopes)},
        client_storage=MemoryStore(),
    )
    mcp = FastMCP("FastMCP's OAuth proxy", auth=auth)

    @mcp.tool
    def echo(text: str) -> str:
        """Says it again."""
        return text

    return mcp


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fake-entra", required=True, help="the program of the stand-in")
    parser.add_argument("--port", type=int, default=8090)
    parser.add_argument("--guard", action="store_true", help="look at Host and Origin, which is off unless told")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        # Nothing of an earlier run, and nothing left of this one.
        os.environ["FASTMCP_HOME"] = folder
        entra, urls = start_entra(arguments.fake_entra, Path(folder))
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        try:
            print(f"http://localhost:{arguments.port}/mcp", flush=True)
            server(urls, arguments.port).run(
                transport="http",
                host="localhost",
                port=arguments.port,
                host_origin_protection=arguments.guard,
                show_banner=False,
                log_level="warning",
            )
        finally:
            entra.terminate()
            entra.wait(timeout=10)


if __name__ == "__main__":
    main()
