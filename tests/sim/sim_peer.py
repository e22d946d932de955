"""Clients of a simulated Microsoft 365 that share no code with the checks: smtplib, http.client, PyJWT."""

from __future__ import annotations

import base64
import http.client
import json
import re
import smtplib
import socket
import ssl
import urllib.parse
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from monitor.sim.consents import Consent
from monitor.sim.contoso import (
    BILLING_ID,
    BILLING_SECRET,
    CLUSTER_ID,
    CLUSTER_SUBJECT,
    DESK_ID,
    DESK_SCOPES,
    HR_ID,
    TENANT_ID,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from email.message import Message

    from monitor.sim import ClientCertificate, Microsoft365

SCOPE = "https://outlook.office365.com/.default"
BILLING = "billing@contoso.example"
CANARY = "canary@contoso.example"
READ_LIMIT = 65536  # bytes of an HTTP body: some never end


@dataclass(frozen=True)
class Answer:
    """One HTTP answer."""

    status: int
    headers: Message
    body: bytes

    @property
    def json(self) -> Any:
        """The body, read as JSON."""
        return json.loads(self.body)

    @property
    def skew_s(self) -> float:
        """How far the server's clock seems to be ahead."""
        return (parsedate_to_datetime(self.headers["Date"]) - datetime.now(UTC)).total_seconds()


class Peer:
    """Blocking clients of one office; to be used in a thread."""

    def __init__(self, office: Microsoft365, certificate: ClientCertificate) -> None:
        self.office = office
        self.certificate = certificate
        self.tls = ssl.create_default_context(cafile=str(office.ca_file))
        self.timeout = 10.0

    def ask(self, method: str, path: str, body: str | None = None, headers: Mapping[str, str] | None = None) -> Answer:
        """One request to Entra ID on a connection of its own."""
        connection = http.client.HTTPSConnection(
            "localhost", self.office.entra_port, context=self.tls, timeout=self.timeout
        )
        try:
            connection.request(method, path, body, dict(headers or {}))
            with connection.getresponse() as response:
                return Answer(response.status, response.headers, response.read(READ_LIMIT))
        finally:
            connection.close()

    def control(self, method: str, path: str, body: object = None) -> Answer:
        """One request to the control endpoint; bytes are sent as they are, all else as JSON."""
        connection = http.client.HTTPConnection(self.office.control_url[7:], timeout=self.timeout)
        try:
            sent = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
            connection.request(method, path, sent, {"Content-Type": "application/json"})
            with connection.getresponse() as response:
                return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def post_token(
        self, form: Mapping[str, str], tenant: str = TENANT_ID, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One token request."""
        sent = {"Content-Type": "application/x-www-form-urlencoded", **(headers or {})}
        return self.ask("POST", f"/{tenant}/oauth2/v2.0/token", urllib.parse.urlencode(form), sent)

    def secret_form(self, **changes: str) -> dict[str, str]:
        """A proper token request of billing-mailer; what is changed to nothing is left out."""
        form = {
            "grant_type": "client_credentials",
            "client_id": BILLING_ID,
            "client_secret": BILLING_SECRET,
            "scope": SCOPE,
            **changes,
        }
        return {name: value for name, value in form.items() if value}

    def certificate_form(self, key: bytes | None = None, **claims: object) -> dict[str, str]:
        """A proper token request of hr-portal, signed by its key or another."""
        now = int(datetime.now(UTC).timestamp())
        public = x509.load_pem_x509_certificate(self.certificate.certificate)
        x5t = base64.urlsafe_b64encode(public.fingerprint(hashes.SHA256())).rstrip(b"=").decode()
        payload = {
            "aud": f"{self.office.authority_url}/{TENANT_ID}/oauth2/v2.0/token",
            "iss": HR_ID,
            "sub": HR_ID,
            "jti": "1",
            "nbf": now,
            "exp": now + 600,
            **claims,
        }
        signed = jwt.encode(payload, key or self.certificate.key, "PS256", {"x5t#S256": x5t})
        return {
            "grant_type": "client_credentials",
            "client_id": HR_ID,
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "client_assertion": signed,
            "scope": SCOPE,
        }

    def federated_form(self, assertion: str | None = None) -> dict[str, str]:
        """A proper token request of cluster-mailer, with a token of its cluster or another one."""
        return {
            "grant_type": "client_credentials",
            "client_id": CLUSTER_ID,
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "client_assertion": assertion or self.office.cluster.token(CLUSTER_SUBJECT, datetime.now(UTC)),
            "scope": SCOPE,
        }

    def refresh_token(self, user: str = BILLING, age: timedelta = timedelta(days=1)) -> str:
        """A refresh token of desk-mailer, given out some time ago."""
        consent = Consent(DESK_ID, user, "https://outlook.office.com", DESK_SCOPES, datetime.now(UTC) - age)
        return self.office.consents.give_token(consent)

    def refresh_form(self, token: str | None = None, **changes: str) -> dict[str, str]:
        """A proper token request of desk-mailer."""
        return {
            "grant_type": "refresh_token",
            "client_id": DESK_ID,
            "refresh_token": token or self.refresh_token(),
            "scope": "https://outlook.office.com/SMTP.Send offline_access openid profile",
            **changes,
        }

    def host_token(self, query: str = "", **headers: str) -> Answer:
        """One request to the identity endpoint of a virtual machine."""
        connection = http.client.HTTPConnection(self.office.identity_url[7:], timeout=self.timeout)
        try:
            path = (
                f"/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://outlook.office365.com{query}"
            )
            connection.request("GET", path, headers={"Metadata": "true", **headers})
            with connection.getresponse() as response:
                return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def token(self, **changes: str) -> str:
        """A fresh token of billing-mailer."""
        return str(self.post_token(self.secret_form(**changes)).json["access_token"])

    def smtp(self) -> smtplib.SMTP:
        """An SMTP session over TLS, not yet authenticated."""
        session = smtplib.SMTP("localhost", self.office.smtp_port, local_hostname="probe.example", timeout=self.timeout)
        try:
            session.starttls(context=self.tls)
            session.ehlo()
        except BaseException:
            session.close()
            raise
        return session

    def logged_on(self, user: str = BILLING, token: str | None = None) -> smtplib.SMTP:
        """An authenticated SMTP session, or smtplib's own error."""
        fresh = token or self.token()
        session = self.smtp()
        try:
            session.auth("XOAUTH2", lambda _=None: base64.b64decode(xoauth2(user, fresh)).decode())
        except BaseException:
            session.close()
            raise
        return session


def xoauth2(user: str, token: str) -> str:
    """The base64 string of SASL XOAUTH2."""
    return base64.b64encode(f"user={user}\x01auth=Bearer {token}\x01\x01".encode()).decode()


def exchange(connection: socket.socket, sent: bytes) -> str:
    """Send, and read one whole reply."""
    connection.sendall(sent)
    reply = b""
    while not re.search(rb"(^|\n)\d{3} [^\n]*\n\Z", reply):
        part = connection.recv(4096)
        if not part:
            break
        reply += part
    return reply.decode()


def fixed_moment() -> datetime:
    """A moment for worlds whose clock stands still."""
    return datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
