"""Programs: secrets, certificates and workload tokens by MSAL."""

import unittest

from stand import EXPIRED_SECRET, Certificate, claims, stand

REDIS = "https://redis.azure.com/.default"


class Clients(unittest.TestCase):
    def setUp(self):
        self.stand = stand()

    def granted(self, credential, proof: str):
        answer = self.stand.gateway(credential).acquire_token_for_client([REDIS])
        self.assertIn("access_token", answer, answer)
        token = claims(answer["access_token"])
        self.assertEqual((token["azp"], token["idtyp"], token["azpacr"]), (self.stand.gateway_client_id, "app", proof))

    def refused(self, credential, number: int):
        answer = self.stand.gateway(credential).acquire_token_for_client([REDIS])
        self.assertEqual((answer.get("error"), answer.get("error_codes")), ("invalid_client", [number]), answer)

    def test_secret(self):
        app = self.stand.gateway()
        first = app.acquire_token_for_client([REDIS])
        self.assertEqual(first["token_source"], "identity_provider")
        second = app.acquire_token_for_client([REDIS])
        self.assertEqual((second["token_source"], second["access_token"]), ("cache", first["access_token"]))

    def test_secrets_that_will_not_do(self):
        self.refused("another", 7000215)
        self.refused(EXPIRED_SECRET, 7000222)

    def test_certificate_by_its_sha256(self):
        certificate = self.stand.certificate
        self.granted({"private_key": certificate.private, "public_certificate": certificate.public}, "2")

    def test_certificate_by_its_sha1(self):
        certificate = self.stand.certificate
        self.granted({"private_key": certificate.private, "thumbprint": certificate.sha1}, "2")

    def test_certificates_that_will_not_do(self):
        stranger, own = Certificate("a stranger"), self.stand.certificate
        self.refused({"private_key": stranger.private, "public_certificate": stranger.public}, 700027)
        # The right certificate, signed for by another key.
        self.refused({"private_key": stranger.private, "public_certificate": own.public}, 700027)

    def test_certificate_outside_its_time(self):
        certificate = self.stand.certificate
        self.stand.order("POST", "/clock", {"offset_s": 3600})
        self.refused({"private_key": certificate.private, "public_certificate": certificate.public}, 700024)
        self.stand.order("POST", "/clock", {"offset_s": 48 * 3600})
        self.refused({"private_key": certificate.private, "public_certificate": certificate.public}, 700027)

    def test_workload_token_read_at_every_use(self):
        self.granted({"client_assertion": self.stand.token_file.read_text}, "2")

    def test_workload_token_of_somebody_else(self):
        answer = self.stand.order(
            "POST", "/service-account-token", {"subject": "system:serviceaccount:default:default"}
        )
        self.refused({"client_assertion": answer["token"]}, 700213)
