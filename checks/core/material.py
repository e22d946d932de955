"""What a credential signs in with. What is read anew each time stands here as a path, what is known as a secret."""

from __future__ import annotations

from dataclasses import dataclass

from checks.core.secret import Secret


@dataclass(frozen=True, slots=True)
class ClientSecret:
    """A client secret (its value, not its id)."""

    value: Secret

    @property
    def private(self) -> tuple[Secret, ...]:
        """What must not show of it."""
        return (self.value,)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientCertificate:
    """A private key and its certificate, both PEM; the key is unencrypted in memory."""

    key_pem: Secret
    certificate_pem: str

    @property
    def private(self) -> tuple[Secret, ...]:
        """What must not show of it."""
        return (self.key_pem,)


@dataclass(frozen=True, slots=True)
class FederatedToken:
    """Another issuer's token in a file that its owner renews: it is read anew for each acquisition.

    Source: "Workload identity federation"; Kubernetes projects such a file and rotates it every hour.
    """

    token_file: str

    @property
    def private(self) -> tuple[Secret, ...]:
        """Nothing that is known beforehand: the reader of the file tells the trace."""
        return ()


@dataclass(frozen=True, slots=True)
class ManagedIdentity:
    """The identity of the Azure host that we run on; `client_id` chooses a user-assigned one, None the system's."""

    client_id: str | None = None

    @property
    def private(self) -> tuple[Secret, ...]:
        """Nothing: the host vouches for us."""
        return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshToken:
    """A delegated app's refresh token in a file of ours. Each use gives a new one, which takes its place at once.

    Source: "Refresh tokens in the Microsoft identity platform" (90 days, sliding, replaced on each use). `scopes` is what
    was consented to, `secret` the app's own secret if it is a confidential client.
    """

    file: str
    scopes: tuple[str, ...]
    secret: Secret | None = None

    @property
    def private(self) -> tuple[Secret, ...]:
        """What is known beforehand: the reader of the file tells the trace the rest."""
        return (self.secret,) if self.secret else ()


Material = ClientSecret | ClientCertificate | FederatedToken | ManagedIdentity | RefreshToken
