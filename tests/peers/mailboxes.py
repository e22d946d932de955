"""The mailboxes that Dovecot and Postfix know, each with what is special about it."""

from dataclasses import dataclass

DOMAIN = "canary.test"  # RFC 2606: never a real one
# Where passwords are taken: quote, backslash, blank and more than ASCII, which a login by IMAP must be able to say.
PASSWORD = 'p"a\\ss wörd'


@dataclass(frozen=True, slots=True)
class Mailboxes:
    """Addresses, which are also the user names of XOAUTH2."""

    sender: str = f"sender@{DOMAIN}"
    """Logs in and may send as itself."""
    recipient: str = f"recipient@{DOMAIN}"
    """The same; where tests send to."""
    disabled: str = f"disabled@{DOMAIN}"
    """Exists and receives, but cannot log in with any token."""
    foreign: str = f"foreign@{DOMAIN}"
    """Logs in, but its own address belongs to the recipient: as a sender it is refused, at RCPT."""
    held: str = f"held@{DOMAIN}"
    """Postfix accepts mail for it and holds it until somebody releases it."""
    away: str = f"away@{DOMAIN}"
    """Postfix finds nobody who takes its mail, until somebody is there (`Postfix.deliver_to_away`)."""
    swallowed: str = f"swallowed@{DOMAIN}"
    """Postfix accepts mail for it and throws it away."""
    junked: str = f"junked@{DOMAIN}"
    """Its mail is filed in Junk."""
    full: str = f"full@{DOMAIN}"
    """Has no room for any message: Dovecot refuses for good."""
    crowded: str = f"crowded@{DOMAIN}"
    """Has room for one message: Dovecot refuses the next for now."""
    unknown: str = f"unknown@{DOMAIN}"
    """Does not exist: it can neither log in nor receive."""

    def existing(self) -> tuple[str, ...]:
        """Every mailbox that can receive."""
        usual = (self.sender, self.recipient, self.disabled, self.foreign)
        return (*usual, self.held, self.away, self.swallowed, self.junked, self.full, self.crowded)

    def owners(self) -> dict[str, str]:
        """Sender address → the one user who may send as it."""
        return {address: address for address in self.existing()} | {self.foreign: self.recipient}
