"""What apps sign in with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from checks.core.material import (
    ClientCertificate,
    ClientSecret,
    FederatedToken,
    ManagedIdentity,
    Material,
    RefreshToken,
)
from checks.core.secret import Secret
from monitor.config import model
from monitor.config.certificates import read_certificate
from monitor.config.context import Context
from monitor.config.places import Path as KeyPath

_Build = Callable[[Any, KeyPath, Context], Material | None]


def material_of(said: model.Credential, where: KeyPath, context: Context) -> Material | None:
    """The credential's material; None when something was wrong with it."""
    stated = {kind: value for kind in KINDS if (value := getattr(said, kind)) is not None}
    if len(stated) != 1:
        context.say(where, f"expected exactly one of: {', '.join(KINDS)}")
        return None
    [(kind, value)] = stated.items()
    build: _Build = KINDS[kind]
    return build(value, (*where, kind), context)


def _secret(reference: str, where: KeyPath, context: Context) -> Material | None:
    secret = context.secret(reference, where)
    return ClientSecret(secret) if secret else None


def _certificate(said: model.Certificate, where: KeyPath, context: Context) -> Material | None:
    if not context.resolve_secrets:
        return ClientCertificate(key_pem=Secret("not resolved"), certificate_pem="")
    passphrase = context.secret(said.passphrase, (*where, "passphrase"))
    if said.passphrase is not None and passphrase is None:
        return None
    try:
        return read_certificate(context.base / said.file, passphrase)
    except ValueError as error:
        context.say((*where, "file"), str(error))
        return None


def _federated(said: model.Federated, _: KeyPath, context: Context) -> Material:
    return FederatedToken(str(context.base / said.token_file))


def _managed_identity(said: model.ManagedIdentity, _: KeyPath, __: Context) -> Material:
    return ManagedIdentity(said.client_id)


def _refresh_token(said: model.RefreshToken, where: KeyPath, context: Context) -> Material | None:
    secret = context.secret(said.secret, (*where, "secret"))
    if said.secret is not None and secret is None:
        return None
    return RefreshToken(file=str(context.base / said.file), scopes=tuple(said.scopes), secret=secret)


KINDS: Mapping[str, _Build] = {
    "secret": _secret,
    "certificate": _certificate,
    "federated": _federated,
    "managed_identity": _managed_identity,
    "refresh_token": _refresh_token,
}
