"""An embedded Microsoft 365, with faults, for the demo and the tests: Entra ID, and Exchange Online's SMTP, IMAP and POP.

It shares no protocol code with the checks, so that one mistake cannot make both sides agree. What it knows of the real
service comes from Microsoft's documents and from public transcripts; each module says which.
"""

from monitor.sim.certificates import ClientCertificate, make_client_certificate
from monitor.sim.contoso import Declaration, contoso
from monitor.sim.faults import KINDS, Fault, FaultError
from monitor.sim.office import Microsoft365
from monitor.sim.timeline import Happening, Step, TimelineError, play, read_timeline
from monitor.sim.tokens import make_key

__all__ = [
    "KINDS",
    "ClientCertificate",
    "Declaration",
    "Fault",
    "FaultError",
    "Happening",
    "Microsoft365",
    "Step",
    "TimelineError",
    "contoso",
    "make_client_certificate",
    "make_key",
    "play",
    "read_timeline",
]
