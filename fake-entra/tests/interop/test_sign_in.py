"""People: code flow with PKCE, refresh, on-behalf-of, and the errors of each, as MSAL reports them."""

import unittest

import jwt

from pages import Page
from stand import ADELE, ALEX, CALLBACK, GRAPH_SCOPE, claims, stand


class SignIn(unittest.TestCase):
    def setUp(self):
        self.stand = stand()

    def signed_in(self, app, user=ADELE, **more) -> dict:
        answer = self.stand.sign_in(app, user, **more)
        self.assertNotIn("error", answer, answer)
        return answer

    def test_code_flow_with_pkce(self):
        app = self.stand.gateway()
        answer = self.signed_in(app)
        self.assertEqual(answer["id_token_claims"]["preferred_username"], ADELE)
        self.assertEqual(answer["id_token_claims"]["tid"], self.stand.tenant_id)
        token = claims(answer["access_token"])
        self.assertEqual(token["aud"], self.stand.server_client_id)
        self.assertEqual(token["azp"], self.stand.gateway_client_id)
        self.assertEqual(token["scp"], "access_as_user")
        self.assertGreaterEqual(answer["expires_in"], 3600)
        self.assertIn(self.stand.scope, answer["scope"])
        [account] = app.get_accounts()
        self.assertEqual(account["username"], ADELE)
        self.assertEqual(account["home_account_id"], f"{token['oid']}.{self.stand.tenant_id}")

    def test_instance_discovery_knows_this_host_only(self):
        place = f"{self.stand.base}/common/discovery/instance"
        self.assertEqual(self.stand.gateway(instance_discovery=place).authority.tenant, self.stand.tenant_id)
        with self.assertRaisesRegex(ValueError, "invalid_instance"):
            self.stand.authority, known = self.stand.authority.replace("127.0.0.1", "localhost"), self.stand.authority
            try:
                self.stand.gateway(instance_discovery=place)
            finally:
                self.stand.authority = known

    def test_tokens_verify_with_the_published_keys(self):
        answer = self.signed_in(self.stand.gateway())
        document = self.stand.http().get(f"{self.stand.authority}/v2.0/.well-known/openid-configuration").json()
        keys = jwt.PyJWKSet.from_dict(self.stand.http().get(document["jwks_uri"]).json())
        for token, audience in (
            (answer["id_token"], self.stand.gateway_client_id),
            (answer["access_token"], self.stand.server_client_id),
        ):
            key = keys[jwt.get_unverified_header(token)["kid"]]
            jwt.decode(token, key, algorithms=["RS256"], audience=audience, issuer=document["issuer"])

    def test_a_cancelled_sign_in(self):
        app = self.stand.gateway()
        flow = app.initiate_auth_code_flow([self.stand.scope], redirect_uri=CALLBACK)
        parameters = self.stand.walk(flow["auth_uri"], {"cancel": "1"})
        answer = app.acquire_token_by_auth_code_flow(flow, parameters)
        self.assertEqual(answer["error"], "access_denied")
        self.assertTrue(answer["error_description"].startswith("AADSTS65004:"), answer)

    def test_a_code_is_good_once(self):
        app = self.stand.gateway()
        flow = app.initiate_auth_code_flow([self.stand.scope], redirect_uri=CALLBACK)
        parameters = self.stand.walk(flow["auth_uri"], {"user": ADELE})
        self.assertIn("access_token", app.acquire_token_by_auth_code_flow(flow, dict(parameters)))
        again = app.acquire_token_by_auth_code_flow(flow, dict(parameters))
        self.assertEqual((again["error"], again["error_codes"]), ("invalid_grant", [54005]))

    def test_refresh(self):
        app = self.stand.gateway()
        first = self.signed_in(app)["access_token"]
        [account] = app.get_accounts()
        cached = app.acquire_token_silent([self.stand.scope], account)
        self.assertEqual(cached["access_token"], first)
        self.assertEqual(self.stand.order("GET", "/counters")["token"], {"authorization_code": 1})
        renewed = app.acquire_token_silent([self.stand.scope], account, force_refresh=True)
        self.assertNotEqual(renewed["access_token"], first)
        self.assertEqual(claims(renewed["access_token"])["oid"], claims(first)["oid"])
        self.assertEqual(self.stand.order("GET", "/counters")["token"]["refresh_token"], 1)

    def test_a_revoked_session_ends_the_refresh(self):
        app = self.stand.gateway()
        self.signed_in(app)
        self.stand.order("POST", f"/users/{ADELE}/revoke")
        [account] = app.get_accounts()
        answer = app.acquire_token_silent_with_error([self.stand.scope], account, force_refresh=True)
        self.assertEqual((answer["error"], answer["error_codes"]), ("invalid_grant", [50173]))
        self.assertEqual(answer["suberror"], "bad_token")

    def test_an_answer_by_form_post(self):
        app = self.stand.gateway()
        flow = app.initiate_auth_code_flow([self.stand.scope], redirect_uri=CALLBACK, response_mode="form_post")
        self.stand.order("POST", "/next-login", {"upn": ALEX})
        page = self.stand.http().get(flow["auth_uri"]).text
        form = Page(page)
        self.assertEqual(form.action, CALLBACK)
        answer = app.acquire_token_by_auth_code_flow(flow, form.hidden)
        self.assertEqual(answer["id_token_claims"]["preferred_username"], ALEX)

    def test_on_behalf_of_reaches_graph(self):
        token = self.signed_in(self.stand.gateway())["access_token"]
        answer = self.stand.server().acquire_token_on_behalf_of(token, [GRAPH_SCOPE])
        self.assertNotIn("error", answer, answer)
        self.assertEqual(claims(answer["access_token"])["aud"], "https://graph.microsoft.com")
        me = self.stand.http().get(
            f"{self.stand.graph_url}/v1.0/me", headers={"Authorization": f"Bearer {answer['access_token']}"}
        )
        self.assertEqual(me.json()["userPrincipalName"], ADELE)

    def test_on_behalf_of_with_somebody_elses_token(self):
        token = self.signed_in(self.stand.gateway())["access_token"]
        answer = self.stand.gateway().acquire_token_on_behalf_of(token, [GRAPH_SCOPE])
        self.assertEqual((answer["error"], answer["error_codes"]), ("invalid_grant", [500131]))

    def test_a_second_factor_is_a_claims_challenge_that_the_next_sign_in_answers(self):
        token = self.signed_in(self.stand.gateway())["access_token"]
        self.stand.order("POST", f"/users/{ADELE}/require-mfa")
        server = self.stand.server()
        refused = server.acquire_token_on_behalf_of(token, [GRAPH_SCOPE])
        self.assertEqual((refused["error"], refused["error_codes"]), ("invalid_grant", [50076]))
        self.assertEqual(refused["suberror"], "basic_action")
        stepped_up = self.signed_in(self.stand.gateway(), claims_challenge=refused["claims"])
        answer = server.acquire_token_on_behalf_of(stepped_up["access_token"], [GRAPH_SCOPE])
        self.assertIn("access_token", answer, answer)

    def test_capable_clients_get_long_tokens_that_say_so(self):
        answer = self.signed_in(self.stand.gateway(client_capabilities=["cp1"]))
        self.assertEqual(answer["expires_in"], 86_400)
        self.assertEqual(claims(answer["access_token"])["xms_cc"], ["cp1"])
