"""A private certificate authority, and the one certificate that every peer on this machine presents."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import trustme

from tests.peers.process import temporary_home

HOST_NAMES = ("localhost", "127.0.0.1")


@dataclass(frozen=True, slots=True)
class PrivateCA:
    """A CA that nobody trusts unless told: `ca_file` is its certificate; the others belong to `localhost`."""

    ca_file: Path
    certificate_file: Path
    key_file: Path

    def client_context(self) -> ssl.SSLContext:
        """A context that trusts this CA alone and checks the host name."""
        return ssl.create_default_context(cafile=str(self.ca_file))


@contextmanager
def private_authority() -> Iterator[PrivateCA]:
    """Make the CA and a certificate for localhost and 127.0.0.1, valid while the block lasts."""
    authority = trustme.CA(organization_name="mailcanary tests")
    leaf = authority.issue_cert(*HOST_NAMES)
    with temporary_home("ca") as home:
        made = PrivateCA(home / "ca.pem", home / "localhost.pem", home / "localhost.key")
        authority.cert_pem.write_to_path(made.ca_file)
        for part in leaf.cert_chain_pems:
            part.write_to_path(made.certificate_file, append=True)
        leaf.private_key_pem.write_to_path(made.key_file)
        made.key_file.chmod(0o600)
        yield made
