"""What an endpoint shows of itself, compared with what it showed last time: news that no single run can tell. Pure.

Nothing here is a failure: what must not be missing (XOAUTH2, a chain that verifies) fails in the run itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from checks.core.model import CertificateSeen, EndpointSeen, Evidence, Fact, Kind, Phase, Protocol, Result
from checks.core.run import finding_of
from checks.core.target import Route, Target

# LOGIN of SMTP and IMAP, USER of POP: a name and a password.
_BY_PASSWORD = frozenset({"LOGIN", "USER"})
# Digits of a fingerprint by which a reader tells two certificates apart.
_SHOWN = 16


def drift(before: Sequence[Fact], result: Result, target: Target) -> Result:
    """The result with what changed since `before`, the facts of the watch that are remembered.

    Only an endpoint's own watch tells it: of the mailboxes behind it each would tell the same.
    """
    if not isinstance(target, Route):
        return result
    changes = (*_mechanisms(before, result.facts, target), *_leaf(before, result.facts, target.protocol))
    findings = tuple(finding_of(evidence, target) for evidence in changes)
    return replace(result, findings=(*result.findings, *findings)) if findings else result


def remembered(before: Sequence[Fact], result: Result) -> tuple[Fact, ...]:
    """The facts to compare the next result with: the newest of each sort, so that an outage in between hides no change."""
    new = tuple(fact for fact in result.facts if isinstance(fact, EndpointSeen | CertificateSeen))
    sorts = {type(fact) for fact in new}
    kept = (fact for fact in before if isinstance(fact, EndpointSeen | CertificateSeen) and type(fact) not in sorts)
    return (*kept, *new)


def _mechanisms(before: Sequence[Fact], after: Sequence[Fact], route: Route) -> Iterator[Evidence]:
    old, new = _offered(before), _offered(after)
    if old is None or new is None:
        return
    text = f"{_listed(old)} became {_listed(new)}"
    gone = old - new
    # Their loss has a cause of its own: that of XOAUTH2 where it has to be offered.
    told_apart = _BY_PASSWORD | ({"XOAUTH2"} if route.xoauth2 else frozenset())
    if gone & _BY_PASSWORD:
        yield _observed("login_gone", text, Phase.EHLO, route.protocol)
    if (old ^ new) - (gone & told_apart):
        yield _observed("mechanisms_changed", text, Phase.EHLO, route.protocol)


def _offered(facts: Sequence[Fact]) -> frozenset[str] | None:
    return next((frozenset(fact.auth_mechanisms) for fact in facts if isinstance(fact, EndpointSeen)), None)


def _listed(mechanisms: frozenset[str]) -> str:
    return " ".join(["AUTH", *sorted(mechanisms)]) if mechanisms else "no AUTH"


def _leaf(before: Sequence[Fact], after: Sequence[Fact], protocol: Protocol) -> Iterator[Evidence]:
    old, new = _own(before), _own(after)
    if old is None or new is None:
        return
    if old.fingerprint != new.fingerprint:
        text = f"{_named(old)} became {_named(new)}"
        yield _observed("certificate_changed", text, Phase.TLS, protocol)
    if old.issuer != new.issuer:
        yield _observed("issuer_changed", f"issuer {old.issuer} became {new.issuer}", Phase.TLS, protocol)


def _own(facts: Sequence[Fact]) -> CertificateSeen | None:
    return next((fact for fact in facts if isinstance(fact, CertificateSeen) and fact.position == 0), None)


def _named(leaf: CertificateSeen) -> str:
    digest = ":".join(leaf.fingerprint[at : at + 2] for at in range(0, _SHOWN, 2))
    return f"{leaf.subject} until {leaf.not_after:%Y-%m-%d} (SHA-256 {digest}…)"


def _observed(code: str, text: str, phase: Phase, protocol: Protocol) -> Evidence:
    return Evidence(protocol=protocol, phase=phase, kind=Kind.OBSERVED, code=code, text=text)
