"""The simulator's apps that sign in with more than a secret, as targets of checks, and what they sign in with."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from checks.core.material import FederatedToken, ManagedIdentity, RefreshToken
from checks.core.target import App, Credential
from monitor.sim.consents import Consent
from monitor.sim.contoso import CLUSTER_ID, CLUSTER_SUBJECT, DESK_ID, HOST_ID

if TYPE_CHECKING:
    from pathlib import Path

    from checks.core.material import Material
    from checks.core.secret import Secret
    from checks.core.target import Mailbox
    from tests.checks.lab import Lab

SEND = "https://outlook.office.com/SMTP.Send"
USER = "billing@contoso.example"


def credential(lab: Lab, name: str, client_id: str, material: Material) -> Credential:
    """The credential of an app in the lab's tenant."""
    tenant = lab.credential().app.tenant
    return Credential(app=App(id=name, tenant=tenant, client_id=client_id), material=material)


def cluster(lab: Lab, file: Path, assertion: str | None = None) -> Credential:
    """cluster-mailer, with a token of its cluster in a file, or with another text."""
    file.write_text(lab.office.cluster.token(CLUSTER_SUBJECT, datetime.now(UTC)) if assertion is None else assertion)
    return credential(lab, "cluster-mailer", CLUSTER_ID, FederatedToken(str(file)))


def host(lab: Lab, client_id: str | None = None) -> Credential:
    """host-mailer, the identity of the host."""
    return credential(lab, "host-mailer", HOST_ID, ManagedIdentity(client_id))


def given_token(lab: Lab, age: timedelta = timedelta(hours=1)) -> str:
    """A refresh token that desk-mailer was given some time ago."""
    scopes = ("SMTP.Send",)
    consent = Consent(DESK_ID, USER, "https://outlook.office.com", scopes, datetime.now(UTC) - age)
    return lab.office.consents.give_token(consent)


def desk(lab: Lab, file: Path, *, secret: Secret | None = None, stored: str | None = None) -> Credential:
    """desk-mailer, with a refresh token in its file, or with another text there."""
    if stored is None:
        moment = datetime.now(UTC) - timedelta(hours=1)
        content = {"refresh_token": given_token(lab), "obtained_at": moment.isoformat()}
        stored = json.dumps({**content, "signed_in_at": moment.isoformat(), "scopes": [SEND]})
    file.write_text(stored)
    file.chmod(0o600)
    return credential(
        lab, "desk-mailer", DESK_ID, RefreshToken(file=str(file), scopes=(SEND, "offline_access"), secret=secret)
    )


def mailbox(lab: Lab, signs_in: Credential) -> Mailbox:
    """The mailbox billing, by another app than usual."""
    return replace(lab.mailbox(), credential=signs_in)


def stored_token(file: Path) -> str:
    """The refresh token in a file of ours."""
    return str(json.loads(file.read_text())["refresh_token"])
