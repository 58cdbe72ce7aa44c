"""One fake-entra over TLS for the whole run, with a directory of its own.

Clients trust it by the certificate it writes: nothing here turns verification off.
"""

import base64
import datetime
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import threading
from urllib.parse import parse_qsl, urlsplit

import msal
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

import pages
from pages import ADELE, PATIENCE

ALEX = "alex@contoso.example"
CALLBACK = "http://localhost:8400/oauth-callback"
EXCHANGE = "api://AzureADTokenExchange"
GRAPH_SCOPE = "https://graph.microsoft.com/User.Read"
SECRET = "s3cret~of.the+tests"
EXPIRED_SECRET = "a-secret-that-expired"
WORKLOAD = "system:serviceaccount:sallyport:sallyport"

_running = None


def program() -> str:
    return os.environ["FAKE_ENTRA_BIN"]


def stand() -> "Stand":
    """The running stand-in, as it was when it started."""
    global _running
    if _running is None:
        _running = Stand()
    _running.order("POST", "/reset")
    return _running


def stop() -> None:
    if _running is not None:
        _running.stop()


class Certificate:
    """A key and a self-signed certificate of it, both in PEM."""

    def __init__(self, name: str):
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.datetime.now(datetime.timezone.utc)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .sign(key, hashes.SHA256())
        )
        self.private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()
        self.public = certificate.public_bytes(serialization.Encoding.PEM).decode()
        self.sha1 = certificate.fingerprint(hashes.SHA1()).hex()


class Stand:
    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="fake-entra-interop-"))
        self.authority_file = self.folder / "ca.pem"
        self.token_file = self.folder / "service-account-token"
        self.certificate = Certificate("sallyport tests")
        seed = self.folder / "seed.toml"
        seed.write_text(self._directory())
        self.process = subprocess.Popen(
            [
                program(),
                *("--seed", seed, "--tls-ca", self.authority_file, "--state-file", self.folder / "state.json"),
                *("--service-account-token", self.token_file, "--service-account", WORKLOAD),
                *("--service-account-renewal", "1"),
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        # A program that never speaks must not hang the run.
        watchdog = threading.Timer(PATIENCE, self.process.kill)
        watchdog.start()
        line = self.process.stdout.readline()
        watchdog.cancel()
        if not line:
            raise RuntimeError("fake-entra did not start")
        self.__dict__.update(json.loads((self.folder / "state.json").read_text()))
        self.base = self.authority
        self.authority = f"{self.base}/{self.tenant_id}"

    def _directory(self) -> str:
        """The built-in directory, whose gateway also has secrets and a certificate."""
        built_in = subprocess.run([program(), "--print-seed"], check=True, capture_output=True, text=True).stdout
        gateway = next(line for line in built_in.splitlines() if line.startswith("gateway = ")).split('"')[1]
        before, head, after = built_in.partition(f'[[apps]]\nclient_id = "{gateway}"\n')
        if not head:
            raise RuntimeError("the printed directory has no app of the gateway")
        after = after.replace("secrets = []\n", "", 1).replace("certificates = []\n", "", 1)
        credentials = (
            f'secrets = ["{SECRET}", {{ value = "{EXPIRED_SECRET}", expires = 1 }}]\n'
            f"certificates = ['''\n{self.certificate.public}''']\n"
        )
        return before + head + credentials + after

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(PATIENCE)
        shutil.rmtree(self.folder)

    def http(self) -> requests.Session:
        """A session that trusts the stand-in and nobody else."""
        return pages.session(str(self.authority_file))

    def order(self, method: str, path: str, body=None):
        headers = {"Authorization": f"Bearer {self.control_token}"}
        url = f"{self.control_url}/_emu{path}"
        answer = requests.request(method, url, json=body, headers=headers, timeout=PATIENCE)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def app(self, client_id: str, credential, **more) -> msal.ConfidentialClientApplication:
        """An app of MSAL's that asks no other host whether it knows this one."""
        return msal.ConfidentialClientApplication(
            client_id,
            client_credential=credential,
            authority=self.authority,
            http_client=self.http(),
            **{"instance_discovery": False, **more},
        )

    def gateway(self, credential=SECRET, **more) -> msal.ConfidentialClientApplication:
        return self.app(self.gateway_client_id, credential, **more)

    def server(self, **more) -> msal.ConfidentialClientApplication:
        """The MCP server, by the token of its managed identity."""
        return self.app(self.server_client_id, {"client_assertion": self.identity_token(self.server_identity)}, **more)

    def identity_token(self, client_id: str) -> str:
        answer = self.http().get(
            f"{self.imds_url}/metadata/identity/oauth2/token",
            params={"api-version": "2018-02-01", "resource": EXCHANGE, "client_id": client_id},
            headers={"Metadata": "true"},
        )
        answer.raise_for_status()
        return answer.json()["access_token"]

    def sign_in(self, app: msal.ConfidentialClientApplication, user: str, **more) -> dict:
        """MSAL's code flow with PKCE; the answer is MSAL's."""
        flow = app.initiate_auth_code_flow([self.scope], redirect_uri=CALLBACK, **more)
        return app.acquire_token_by_auth_code_flow(flow, self.walk(flow["auth_uri"], {"user": user, "mfa": "approve"}))

    def walk(self, url: str, choices: dict) -> dict:
        """Clicks through the pages as `choices` say; the parameters that reach the redirect URI."""
        location = pages.walk(self.http(), url, choices)
        if not location.startswith(CALLBACK):
            raise AssertionError("the browser is sent elsewhere")
        return dict(parse_qsl(urlsplit(location).query))


def claims(token: str) -> dict:
    """The payload of a token, unproven."""
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
