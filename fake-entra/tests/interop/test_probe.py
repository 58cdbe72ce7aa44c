"""`deploy/entra/probe` against the stand-in: it asks what it says, and the stand-in is as Sallyport expects Entra to be."""

import json
import os
import pathlib
import shlex
import socket
import subprocess
import sys
import unittest

from stand import PATIENCE, SECRET, stand

HERE = pathlib.Path(__file__).resolve().parent
PROBE = HERE.parents[2] / "deploy" / "entra" / "probe"
GRAPH = "00000003-0000-0000-c000-000000000000"
# The built-in app that is gateway and server in one.
SINGLE = "3c9e5f60-28c7-4ea1-a2d9-7f40ab6e8c03"


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


class Probe(unittest.TestCase):
    def setUp(self):
        self.stand = stand()

    def run_probe(self, *more: str, **environment: str) -> subprocess.CompletedProcess:
        command = [sys.executable, str(PROBE), "--authority", self.stand.base, "--tenant", self.stand.tenant_id]
        command += ["--ca-file", str(self.stand.authority_file), *more]
        kept = {"FAKE_ENTRA_CA": str(self.stand.authority_file), **os.environ, **environment}
        return subprocess.run(command, env=kept, capture_output=True, text=True, timeout=3 * PATIENCE)

    def answers(self, *more: str, **environment: str) -> dict:
        """By point: (verdict, observed)."""
        done = self.run_probe(*more, "--json", "-", **environment)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        shown = done.stdout + done.stderr
        for secret in ("eyJ", "1.AX", SECRET):
            self.assertNotIn(secret, shown)
        rows = json.loads(done.stdout)["answers"]
        return {row["point"]: (row["verdict"], row["observed"]) for row in rows}

    def gateway(self) -> list:
        return ["--client-id", self.stand.gateway_client_id, "--scope", self.stand.scope]

    def person(self) -> list:
        click = shlex.join([sys.executable, str(HERE / "pages.py")])
        place = f"http://localhost:{free_port()}/oauth-callback"
        return ["--sign-in", "--browser", click, "--redirect-uri", place, "--patience", str(PATIENCE)]

    def file(self, name: str, content: str) -> str:
        path = self.stand.folder / name
        path.write_text(content)
        return str(path)

    def test_every_point_of_two_registrations(self):
        policy = {"id": "c1", "resources": [GRAPH], "effect": "step-up"}
        self.stand.order("PUT", "/policies", {"conditional_access": [policy]})
        certificate = self.stand.certificate
        answers = self.answers(
            *self.gateway(),
            *self.person(),
            *("--secret-file", self.file("secret", SECRET)),
            *("--certificate", self.file("certificate.pem", certificate.public)),
            *("--key", self.file("key.pem", certificate.private)),
            *("--obo-client-id", self.stand.server_client_id),
            *("--obo-assertion-file", self.file("own", self.stand.identity_token(self.stand.server_identity))),
            *("--identity", self.stand.gateway_identity),
            IDENTITY_ENDPOINT=self.stand.identity_endpoint,
            IDENTITY_HEADER=self.stand.identity_header,
        )
        self.assertEqual(len(answers), 14)
        skipped = {point for point, (verdict, _) in answers.items() if verdict == "skipped"}
        self.assertEqual(skipped, {"2b", "9"}, answers)
        self.assertEqual({verdict for verdict, _ in answers.values()}, {"as expected", "skipped"}, answers)

    def test_one_registration(self):
        own = self.file("own", self.stand.identity_token(self.stand.gateway_identity))
        registration = ["--client-id", SINGLE, "--scope", f"{SINGLE}/.default", "--single-app", "--assertion-file", own]
        answers = self.answers(*registration, *self.person())
        for point in ("2a", "2b", "4", "5", "6", "8"):
            self.assertEqual(answers[point][0], "as expected", answers[point])

    def test_without_a_person_the_rest_is_answered_and_the_table_says_what_is_not(self):
        answers = self.answers(*self.gateway())
        asked = {point for point, (verdict, _) in answers.items() if verdict == "as expected"}
        self.assertEqual(asked, {"1", "3", "10", "11"}, answers)
        for verdict, observed in answers.values():
            if verdict == "skipped":
                self.assertRegex(observed, "^(needs|only for|not provoked) ")
        done = self.run_probe(*self.gateway())
        self.assertIn("4 as expected, 0 different, 10 skipped, 0 failed", done.stdout)
        self.assertIn("needs a person: --sign-in", done.stdout)

    def test_differences_and_throttling_are_seen(self):
        self.stand.order("POST", "/faults", {"match": {"path": "/v2.0/token"}, "status": 429, "retry_after": "7"})
        self.stand.order("PUT", "/policies", {"resource": "legacy"})
        answers = self.answers(*self.gateway())
        self.assertEqual(answers["1"], ("different", "redirect invalid_request AADSTS901002"))
        self.assertEqual(answers["3"][0], "different")
        self.assertEqual(answers["9"], ("as expected", "Retry-After 7"))

    def test_resource_as_a_page(self):
        self.stand.order("PUT", "/policies", {"resource": "enforce-page"})
        self.assertEqual(self.answers(*self.gateway())["1"], ("different", "page AADSTS9010010 400"))

    def test_an_authority_in_clear_is_refused(self):
        done = self.run_probe(*self.gateway(), "--authority", "http://login.example")
        self.assertEqual(done.returncode, 2)
        self.assertIn("must be https", done.stderr)

    def test_what_cannot_be_reached_fails_aloud(self):
        done = self.run_probe(*self.gateway(), "--authority", f"https://127.0.0.1:{free_port()}")
        self.assertEqual(done.returncode, 1)
        self.assertIn("could not be asked", done.stdout)
