"""Managed identities by MSAL: IMDS by its override, and App Service."""

import os
import unittest
from unittest import mock

import msal

from stand import EXCHANGE, claims, stand

# What would make MSAL believe in another host.
HOST_VARIABLES = ("IDENTITY_ENDPOINT", "IDENTITY_HEADER", "IDENTITY_SERVER_THUMBPRINT", "MSI_ENDPOINT", "MSI_SECRET", "IMDS_ENDPOINT")


class Identities(unittest.TestCase):
    def setUp(self):
        self.stand = stand()

    def acquire(self, identity, **environment) -> dict:
        kept = {name: value for name, value in os.environ.items() if name not in HOST_VARIABLES}
        with mock.patch.dict(os.environ, {**kept, **environment}, clear=True):
            client = msal.ManagedIdentityClient(identity, http_client=self.stand.http())
            return client.acquire_token_for_client(resource=EXCHANGE)

    def by_imds(self, identity) -> dict:
        return self.acquire(identity, AZURE_POD_IDENTITY_AUTHORITY_HOST=self.stand.imds_url)

    def by_app_service(self, identity, header=None) -> dict:
        return self.acquire(
            identity,
            IDENTITY_ENDPOINT=self.stand.identity_endpoint,
            IDENTITY_HEADER=header or self.stand.identity_header,
        )

    def check(self, answer: dict):
        self.assertIn("access_token", answer, answer)
        token = claims(answer["access_token"])
        self.assertEqual(token["azp"], self.stand.gateway_identity)
        self.assertEqual(token["sub"], token["oid"])
        self.assertGreater(answer["expires_in"], 80_000)

    def test_imds_by_client_id(self):
        self.check(self.by_imds(msal.UserAssignedManagedIdentity(client_id=self.stand.gateway_identity)))

    def test_imds_by_object_and_resource_id(self):
        token = claims(self.stand.identity_token(self.stand.gateway_identity))
        self.check(self.by_imds(msal.UserAssignedManagedIdentity(object_id=token["oid"])))
        self.check(self.by_imds(msal.UserAssignedManagedIdentity(resource_id=token["xms_mirid"])))

    def test_imds_without_a_choice(self):
        answer = self.by_imds(msal.SystemAssignedManagedIdentity())
        self.assertEqual(answer["error"], "invalid_request", answer)

    def test_app_service(self):
        self.check(self.by_app_service(msal.UserAssignedManagedIdentity(client_id=self.stand.gateway_identity)))

    def test_app_service_with_a_wrong_header(self):
        identity = msal.UserAssignedManagedIdentity(client_id=self.stand.gateway_identity)
        answer = self.by_app_service(identity, header="guessed")
        self.assertIn("error", answer)
        self.assertNotIn("access_token", answer)

    def test_its_token_proves_the_gateway(self):
        """The whole chain of MSAL's: managed identity, then federated credential."""
        identity = msal.UserAssignedManagedIdentity(client_id=self.stand.gateway_identity)
        assertion = self.by_imds(identity)["access_token"]
        answer = self.stand.gateway({"client_assertion": assertion}).acquire_token_for_client(
            ["https://redis.azure.com/.default"]
        )
        self.assertIn("access_token", answer, answer)
