"""The issuer gives MSAL the tokens that the mail servers want."""

import jwt
import pytest

from tests.peers.authority import PrivateCA
from tests.peers.clients import access_token, http_session, msal_client
from tests.peers.oidc import RESOURCE, TENANT, App, Oidc, running_oidc


def claims(oidc: Oidc, token: str) -> dict[str, object]:
    """The claims of a token, after its signature has been verified."""
    verified: dict[str, object] = jwt.decode(token, oidc.public_key, algorithms=["RS256"], audience=RESOURCE)
    return verified


def test_a_secret_gets_an_app_only_token(oidc: Oidc) -> None:
    """MSAL gets a signed token for Exchange Online's resource with a secret."""
    app = oidc.apps.by_secret
    token = access_token(oidc, app)
    assert {"alg": "RS256", "typ": "JWT", "kid": oidc.key_id} == jwt.get_unverified_header(token)
    got = claims(oidc, token)
    expected = {
        "iss": oidc.issuer,
        "sub": app.client_id,
        "azp": app.client_id,
        "appid": app.client_id,
        "tid": TENANT,
        "scope": oidc.scope,
        "roles": ["SMTP.SendAsApp", "IMAP.AccessAsApp"],
    }
    assert expected == {name: got.get(name) for name in expected}


@pytest.mark.parametrize("algorithm", ["PS256", "RS256"])
def test_a_certificate_gets_a_token(oidc: Oidc, algorithm: str) -> None:
    """Both forms in which MSAL signs with a certificate are accepted."""
    app = oidc.apps.by_certificate
    assert app.certificate is not None
    proof = {
        "PS256": {"public_certificate": app.certificate.certificate},
        "RS256": {"thumbprint": app.certificate.thumbprint},
    }[algorithm]
    with msal_client(oidc, app, {"private_key": app.certificate.private_key} | proof) as client:
        answer = client.acquire_token_for_client([oidc.scope])
    assert app.client_id == claims(oidc, answer["access_token"])["azp"]


def test_an_assertion_is_taken_twice(oidc: Oidc) -> None:
    """MSAL's reuse of one signed assertion is accepted, as by Entra ID."""
    with msal_client(oidc, oidc.apps.by_certificate) as client:
        first = client.acquire_token_for_client([oidc.scope])
        client.remove_tokens_for_client()
        second = client.acquire_token_for_client([oidc.scope])
    assert "identity_provider" == second.get("token_source")
    assert first["access_token"] != second["access_token"]


def test_a_wrong_secret_is_refused(oidc: Oidc) -> None:
    """A wrong secret gets invalid_client and no token."""
    with msal_client(oidc, oidc.apps.by_secret, "not the secret") as client:
        answer = client.acquire_token_for_client([oidc.scope])
    assert ("invalid_client", False) == (answer["error"], "access_token" in answer)


def test_an_unknown_app_is_refused(oidc: Oidc) -> None:
    """An app that is not registered gets invalid_client."""
    with msal_client(oidc, App("00000000-0000-0000-0000-000000000000", secret="any")) as client:
        assert "invalid_client" == client.acquire_token_for_client([oidc.scope])["error"]


def test_another_tenant_is_not_found(oidc: Oidc) -> None:
    """Only the one tenant exists."""
    with http_session(oidc) as session:
        answer = session.get(oidc.issuer.replace(TENANT, "elsewhere") + "/.well-known/openid-configuration")
    assert 404 == answer.status_code


def test_a_token_lives_as_long_as_asked(private_ca: PrivateCA, oidc: Oidc) -> None:
    """The lifetime of tokens is a parameter of the issuer."""
    with running_oidc(private_ca, token_seconds=7) as short:
        got = claims(short, access_token(short, short.apps.by_secret))
    assert 7 == int(str(got["exp"])) - int(str(got["iat"]))
