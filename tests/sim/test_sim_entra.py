"""The simulated Entra ID, seen by an HTTP client and by MSAL."""

from __future__ import annotations

import asyncio
import base64
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import jwt
import msal
import pytest
import requests

from monitor.sim.contoso import BILLING_ID, BILLING_SECRET, HR_ID, TENANT_ID
from monitor.sim.scopes import RESOURCES
from tests.sim.sim_peer import SCOPE, Answer, Peer

if TYPE_CHECKING:
    from monitor.sim import ClientCertificate, Microsoft365

OTHER_ID = "99999999-0000-4000-8000-000000000009"
AT_THE_END = r" Trace ID: [0-9a-f-]{36} Correlation ID: [0-9a-f-]{36} Timestamp: \d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ"


def refused(answer: Answer, status: int, error: str, description: str) -> None:
    """Assert that an answer is this refusal, in the shape of Entra's error bodies."""
    body = answer.json
    assert (status, error) == (answer.status, body["error"])
    assert re.fullmatch(re.escape(description) + AT_THE_END, body["error_description"])
    code = int(description.split(":", maxsplit=1)[0].removeprefix("AADSTS"))
    assert [code] == body["error_codes"]
    assert f"https://login.microsoftonline.com/error?code={code}" == body["error_uri"]
    assert f"Trace ID: {body['trace_id']} Correlation ID: {body['correlation_id']}" in body["error_description"]
    assert body["error_description"].endswith(f"Timestamp: {body['timestamp']}")
    assert answer.headers["x-ms-request-id"] == body["trace_id"]


@pytest.mark.parametrize("tenant", [TENANT_ID, "contoso.example"])
async def test_discovery_names_the_token_endpoint(office: Microsoft365, peer: Peer, tenant: str) -> None:
    """A tenant is found by its id and by its domain."""
    answer = await asyncio.to_thread(peer.ask, "GET", f"/{tenant}/v2.0/.well-known/openid-configuration")
    assert answer.status == 200
    assert f"{office.authority_url}/{tenant}/oauth2/v2.0/token" == answer.json["token_endpoint"]
    assert f"{office.authority_url}/{TENANT_ID}/v2.0" == answer.json["issuer"]


async def test_discovery_of_an_unknown_tenant_is_refused(peer: Peer) -> None:
    """An unknown tenant gets 400 and AADSTS90002."""
    answer = await asyncio.to_thread(peer.ask, "GET", "/fabrikam.example/v2.0/.well-known/openid-configuration")
    refused(
        answer,
        400,
        "invalid_request",
        "AADSTS90002: Tenant 'fabrikam.example' not found. Check to make sure you have the correct tenant ID and are "
        "signing into the correct cloud. Check with your subscription administrator, this may happen if there are no "
        "active subscriptions for the tenant.",
    )


async def test_instance_discovery_lists_this_host_as_an_alias(office: Microsoft365, peer: Peer) -> None:
    """Instance discovery has the two things that MSAL reads."""
    host = office.authority_url.removeprefix("https://")
    query = f"api-version=1.1&authorization_endpoint={office.authority_url}/{TENANT_ID}/oauth2/v2.0/authorize"
    body = (await asyncio.to_thread(peer.ask, "GET", f"/common/discovery/instance?{query}")).json
    assert f"https://{host}/{TENANT_ID}/v2.0/.well-known/openid-configuration" == body["tenant_discovery_endpoint"]
    assert [[host]] == [one["aliases"] for one in body["metadata"]]


async def test_a_secret_gets_a_token_with_the_claims_of_the_real_ones(peer: Peer, signing_key: Any) -> None:
    """A token is an RS256 JWT in the shape of Entra's v1.0 app-only tokens."""
    answer = await asyncio.to_thread(peer.post_token, peer.secret_form())
    body = answer.json
    assert (answer.status, body["token_type"], answer.headers["Cache-Control"]) == (200, "Bearer", "no-store, no-cache")
    claims = jwt.decode(
        body["access_token"], signing_key.public_key(), ["RS256"], audience="https://outlook.office365.com"
    )
    expected = {
        "aud": "https://outlook.office365.com",
        "iss": f"https://sts.windows.net/{TENANT_ID}/",
        "tid": TENANT_ID,
        "appid": BILLING_ID,
        "appidacr": "1",
        "idtyp": "app",
        "roles": ["SMTP.SendAsApp"],
        "ver": "1.0",
    }
    assert expected == {name: claims[name] for name in expected}
    assert {"oid", "uti", "sub", "nbf"} < claims.keys()
    assert claims["iat"] + 300 + body["expires_in"] == claims["exp"]


async def test_lifetimes_are_random_between_60_and_90_minutes(peer: Peer) -> None:
    """No two lifetimes need to be equal, and none is out of range."""

    def lifetimes() -> list[int]:
        return [peer.post_token(peer.secret_form()).json["expires_in"] for _ in range(20)]

    seen = await asyncio.to_thread(lifetimes)
    assert all(3599 <= one <= 5399 for one in seen)
    assert len(set(seen)) > 1


async def test_a_secret_may_come_in_a_basic_header(peer: Peer) -> None:
    """Client id and secret are taken from the Authorization header as well."""
    basic = base64.b64encode(f"{BILLING_ID}:{BILLING_SECRET}".encode()).decode()
    form = peer.secret_form(client_id="", client_secret="")
    answer = await asyncio.to_thread(peer.post_token, form, TENANT_ID, {"Authorization": f"Basic {basic}"})
    assert answer.status == 200


async def test_a_signed_assertion_gets_a_token_that_says_so(peer: Peer) -> None:
    """A token got by certificate carries appidacr 2."""
    answer = await asyncio.to_thread(peer.post_token, peer.certificate_form())
    claims = jwt.decode(answer.json["access_token"], options={"verify_signature": False})
    assert (claims["appid"], claims["appidacr"]) == (HR_ID, "2")


def msal_client(office: Microsoft365, session: requests.Session, client_id: str, credential: object) -> Any:
    """MSAL as a monitor uses it, deaf to the proxies and CA bundles of the environment."""
    session.trust_env = False
    session.verify = str(office.ca_file)
    return msal.ConfidentialClientApplication(
        client_id,
        client_credential=credential,
        authority=f"{office.authority_url}/{TENANT_ID}",
        instance_discovery=False,
        http_client=session,
    )


async def test_msal_gets_a_token_by_secret_and_by_certificate(
    office: Microsoft365, hr_certificate: ClientCertificate
) -> None:
    """Microsoft's own library is content with both kinds of credentials."""
    pem = {"private_key": hr_certificate.key.decode(), "public_certificate": hr_certificate.certificate.decode()}

    def acquire(client_id: str, credential: object) -> dict[str, Any]:
        with requests.Session() as session:
            found = msal_client(office, session, client_id, credential).acquire_token_for_client([SCOPE])
            return dict(found)

    for client_id, credential in ((BILLING_ID, BILLING_SECRET), (HR_ID, pem)):
        result = await asyncio.to_thread(acquire, client_id, credential)
        assert (result["token_type"], result["token_source"]) == ("Bearer", "identity_provider")


async def test_msal_shows_the_refusal_of_a_wrong_secret(office: Microsoft365) -> None:
    """After an error MSAL asks for instance discovery; the error itself survives that."""

    def acquire() -> dict[str, Any]:
        with requests.Session() as session:
            return dict(msal_client(office, session, BILLING_ID, "wrong").acquire_token_for_client([SCOPE]))

    result = await asyncio.to_thread(acquire)
    assert (result["error"], result["error_codes"]) == ("invalid_client", [7000215])


INSTALLED = (
    "This can happen if the application has not been installed by the administrator of the tenant or consented to by "
    "any user in the tenant."
)
REQUESTS = [
    pytest.param(
        {"client_id": OTHER_ID},
        400,
        "unauthorized_client",
        f"AADSTS700016: Application with identifier '{OTHER_ID}' was not found in the directory 'contoso.example'. "
        f"{INSTALLED} You may have sent your authentication request to the wrong tenant.",
        id="unknown-app",
    ),
    pytest.param(
        {"client_secret": "wrong"},
        401,
        "invalid_client",
        "AADSTS7000215: Invalid client secret provided. Ensure the secret being sent in the request is the client "
        f"secret value, not the client secret ID, for a secret added to app '{BILLING_ID}'.",
        id="wrong-secret",
    ),
    pytest.param(
        {"client_secret": ""},
        401,
        "invalid_client",
        "AADSTS7000218: The request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
        id="no-credential",
    ),
    pytest.param(
        {"grant_type": "password"},
        400,
        "unsupported_grant_type",
        "AADSTS70003: The app requested an unsupported grant type 'password'.",
        id="grant-type",
    ),
    pytest.param(
        {"grant_type": ""},
        400,
        "invalid_request",
        "AADSTS900144: The request body must contain the following parameter: 'grant_type'.",
        id="no-grant-type",
    ),
    pytest.param(
        {"client_id": ""},
        400,
        "invalid_request",
        "AADSTS900144: The request body must contain the following parameter: 'client_id'.",
        id="no-client-id",
    ),
    pytest.param(
        {"scope": ""},
        400,
        "invalid_request",
        "AADSTS900144: The request body must contain the following parameter: 'scope'.",
        id="no-scope",
    ),
    pytest.param(
        {"scope": "https://outlook.office.com/SMTP.Send"},
        400,
        "invalid_scope",
        "AADSTS1002012: The provided value for scope https://outlook.office.com/SMTP.Send is not valid. Client "
        "credential flows must have a scope value with /.default suffixed to the resource identifier (application ID "
        "URI).",
        id="delegated-scope",
    ),
    pytest.param(
        {"scope": f"{SCOPE} https://graph.microsoft.com/.default"},
        400,
        "invalid_scope",
        "AADSTS28000: Provided value for the input parameter scope is not valid because it contains more than one "
        f"resource. Scope {SCOPE} https://graph.microsoft.com/.default is not valid.",
        id="two-resources",
    ),
    pytest.param(
        {"scope": "https://outlook.example/.default"},
        400,
        "invalid_resource",
        "AADSTS500011: The resource principal named https://outlook.example was not found in the tenant named "
        f"contoso.example. {INSTALLED} You might have sent your authentication request to the wrong tenant.",
        id="unknown-resource",
    ),
]


@pytest.mark.parametrize(("changes", "status", "error", "description"), REQUESTS)
async def test_a_wrong_request_gets_the_refusal_of_the_real_service(
    peer: Peer, changes: dict[str, str], status: int, error: str, description: str
) -> None:
    """Each mistake in a request shows the code, the status and the sentence that it shows in reality."""
    refused(await asyncio.to_thread(peer.post_token, peer.secret_form(**changes)), status, error, description)


FAULTS = [
    ("secret_expired", "billing-mailer", 401, "invalid_client",
     (f"AADSTS7000222: The provided client secret keys for app '{BILLING_ID}' are expired. Visit the Azure portal to "
     "create new keys for your app: https://aka.ms/NewClientSecret, or consider using certificate credentials for "
     "added security: https://aka.ms/certCreds.")),
    ("app_disabled", "billing-mailer", 400, "unauthorized_client",
     f"AADSTS7000112: Application '{BILLING_ID}'(billing-mailer) is disabled."),
    ("service_principal_missing", "billing-mailer", 401, "invalid_client",
     (f"AADSTS7000229: The client application {BILLING_ID} is missing service principal in the tenant {TENANT_ID}. See "
     "instructions here: https://go.microsoft.com/fwlink/?linkid=2225119")),
    ("conditional_access", "billing-mailer", 400, "invalid_grant",
     ("AADSTS53003: Access has been blocked by Conditional Access policies. The access policy does not allow token "
     "issuance.")),
    ("tenant_throttled", "contoso.example", 429, "temporarily_unavailable",
     ("AADSTS90055: The server has terminated the request because there are too many requests in tenant "
     "'contoso.example'.")),
]  # fmt: skip  # a table


@pytest.mark.parametrize(("fault", "subject", "status", "error", "description"), FAULTS, ids=[one[0] for one in FAULTS])
async def test_a_broken_set_up_gets_the_refusal_of_the_real_service(
    office: Microsoft365, peer: Peer, fault: str, subject: str, status: int, error: str, description: str
) -> None:
    """Each mistake of an administrator shows the code, the status and the sentence that it shows in reality."""
    await office.inject(fault, subject)
    answer = await asyncio.to_thread(peer.post_token, peer.secret_form())
    refused(answer, status, error, description)
    assert ("30" if status == 429 else None) == answer.headers["Retry-After"]


KEYS_PAGE = (
    f", Please visit the Azure Portal, Graph Explorer or directly use MS Graph to see configured keys for app Id "
    f"'{HR_ID}'. Review the documentation at https://docs.microsoft.com/en-us/graph/deployments to determine the "
    "corresponding service endpoint and https://docs.microsoft.com/en-us/graph/api/application-get?view=graph-rest-1.0"
    f"&tabs=http to build a query request URL, such as 'https://graph.microsoft.com/beta/applications/{HR_ID}']."
)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("certificate_removed", "is not registered on application. [Reason - The key was not found."),
        ("certificate_expired", "is expired on application. [Reason - The key used is expired."),
    ],
)
async def test_a_certificate_that_is_not_good_is_refused(
    office: Microsoft365, peer: Peer, fault: str, words: str
) -> None:
    """A removed and an expired certificate share a code and differ in the sentence."""
    await office.inject(fault, "hr-portal")
    refused(
        await asyncio.to_thread(peer.post_token, peer.certificate_form()),
        401,
        "invalid_client",
        f"AADSTS700027: The certificate with identifier used to sign the client assertion {words}{KEYS_PAGE}",
    )


async def test_an_assertion_signed_by_another_key_is_refused(peer: Peer, signing_key: Any) -> None:
    """The signature is verified for real."""
    refused(
        await asyncio.to_thread(peer.post_token, peer.certificate_form(signing_key)),
        401,
        "invalid_client",
        "AADSTS700027: Client assertion contains an invalid signature. [Reason - The provided signature value did not "
        f"match the expected signature value.{KEYS_PAGE}",
    )


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ({"aud": "https://login.microsoftonline.com/"}, 700023),
        ({"iss": OTHER_ID}, 700021),
        ({"sub": OTHER_ID}, 700021),
        ({"exp": 1, "nbf": 0}, 700024),
        ({"nbf": 4_000_000_000, "exp": 4_000_000_600}, 700024),
        ({"exp": "soon"}, 50027),
    ],
)
async def test_an_assertion_with_wrong_claims_is_refused(peer: Peer, claims: dict[str, object], code: int) -> None:
    """Audience, issuer, subject and times of an assertion count."""
    answer = await asyncio.to_thread(peer.post_token, peer.certificate_form(**claims))
    assert [code] == answer.json["error_codes"]


async def test_an_assertion_that_is_no_jwt_is_refused(peer: Peer) -> None:
    """A malformed assertion gets its own code."""
    form = {**peer.certificate_form(), "client_assertion": "not.a.token"}
    refused(
        await asyncio.to_thread(peer.post_token, form),
        400,
        "invalid_request",
        "AADSTS50027: JWT token is invalid or malformed.",
    )


async def test_a_get_at_the_token_endpoint_is_refused(peer: Peer) -> None:
    """Only POST is taken."""
    refused(
        await asyncio.to_thread(peer.ask, "GET", f"/{TENANT_ID}/oauth2/v2.0/token"),
        400,
        "invalid_request",
        "AADSTS900561: The endpoint only accepts POST requests. Received a GET request.",
    )


async def test_client_credentials_need_a_tenant(peer: Peer) -> None:
    """`/common` says nothing about the tenant."""
    refused(
        await asyncio.to_thread(peer.post_token, peer.secret_form(), "common"),
        400,
        "invalid_request",
        "AADSTS50059: No tenant-identifying information found in either the request or implied by any provided "
        "credentials.",
    )


async def test_a_client_that_loops_is_stopped_at_the_15th_request(peer: Peer) -> None:
    """Equal requests with one cookie are a loop; without a cookie nobody is known again."""

    def statuses() -> list[int]:
        cookie = peer.post_token(peer.secret_form()).headers["Set-Cookie"].split(";")[0]
        known = [peer.post_token(peer.secret_form(), TENANT_ID, {"Cookie": cookie}) for _ in range(15)]
        assert known[-1].json["error_codes"] == [50196]
        assert known[-1].json["error"] == "invalid_grant"
        return [one.status for one in known] + [peer.post_token(peer.secret_form()).status]

    assert await asyncio.to_thread(statuses) == [200] * 14 + [400, 200]


@pytest.mark.parametrize("resource", RESOURCES)
async def test_only_exchange_tokens_carry_the_smtp_role(peer: Peer, resource: str) -> None:
    """A token for Graph has another audience and no SMTP role."""
    token = await asyncio.to_thread(peer.token, scope=f"{resource}/.default")
    claims = jwt.decode(token, options={"verify_signature": False})
    assert (resource, resource.startswith("https://outlook.")) == (claims["aud"], "roles" in claims)


async def test_a_rotated_secret_replaces_the_old_one_at_once(office: Microsoft365, peer: Peer) -> None:
    """An app whose record is declared anew is judged by the new record."""
    tenant = office.world.tenant("contoso.example")
    assert tenant is not None
    app = office.world.app(tenant, BILLING_ID)
    assert app is not None
    office.world.declare(replace(app, secrets=(replace(app.secrets[0], value="new~secret"),)))
    old = await asyncio.to_thread(peer.post_token, peer.secret_form())
    new = await asyncio.to_thread(peer.post_token, peer.secret_form(client_secret="new~secret"))
    assert (old.status, new.status) == (401, 200)
