"""How Entra ID says no: its error codes, the OAuth errors and HTTP statuses they come with, and their sentences.

Codes and meanings: Microsoft, "Microsoft Entra authentication and authorization error codes". Sentences were seen on
the wire, in public issue threads. `invalid_client` comes as HTTP 401 (seen with 7000215 and 7000222; RFC 6749, 5.2),
a throttled request as 429, all others as 400.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from monitor.sim.world import World

ERROR_PAGE = "https://login.microsoftonline.com/error?code={code}"

# What comes with some codes as `suberror`; seen on the wire, in public issue threads.
_SUBERRORS = {50173: "bad_token", 65001: "consent_required", 700082: "bad_token"}

_FEDERATION = (
    "Check your federated identity credential Subject, Audience and Issuer against the presented assertion. "
    "https://learn.microsoft.com/entra/workload-id/workload-identity-federation"
)

_STATUS = {"invalid_client": 401, "temporarily_unavailable": 429}

# code: (OAuth error, sentence)
_TABLE: dict[int, tuple[str, str]] = {
    28000: (
        "invalid_scope",
        "Provided value for the input parameter scope is not valid because it contains more than one resource. Scope {scope} is not valid.",
    ),
    50013: ("invalid_client", "Assertion failed signature validation."),
    50027: ("invalid_request", "JWT token is invalid or malformed."),
    50059: (
        "invalid_request",
        "No tenant-identifying information found in either the request or implied by any provided credentials.",
    ),
    50173: (
        "invalid_grant",
        "The provided grant has expired due to it being revoked, a fresh auth token is needed. The user might have changed or reset their password. The grant was issued on '{issued}' and the TokensValidFrom date (before which tokens are not valid) for this user is '{valid_from}'.",
    ),
    50196: (
        "invalid_grant",
        "The server terminated an operation because it encountered a loop while processing a request.",
    ),
    53003: (
        "invalid_grant",
        "Access has been blocked by Conditional Access policies. The access policy does not allow token issuance.",
    ),
    65001: (
        "invalid_grant",
        "The user or administrator has not consented to use the application with ID '{client_id}' named '{name}'. Send an interactive authorization request for this user and resource.",
    ),
    65004: ("authorization_declined", "User declined to consent to access the app."),
    70003: ("unsupported_grant_type", "The app requested an unsupported grant type '{grant_type}'."),
    70016: (
        "authorization_pending",
        "OAuth 2.0 device flow error. Authorization is pending. Continue polling.",
    ),
    70018: (
        "bad_verification_code",
        "Invalid verification code due to User typing in wrong user code for device code flow.",
    ),
    70019: ("expired_token", "Verification code expired. Have the user retry the sign-in."),
    70021: (
        "invalid_request",
        "No matching federated identity record found for presented assertion. Assertion Issuer: '{issuer}'. Assertion Subject: '{subject}'. Assertion Audience: '{audience}'. https://docs.microsoft.com/en-us/azure/active-directory/develop/workload-identity-federation",
    ),
    90002: (
        "invalid_request",
        "Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud. Check with your subscription administrator, this may happen if there are no active subscriptions for the tenant.",
    ),
    90055: (
        "temporarily_unavailable",
        "The server has terminated the request because there are too many requests in tenant '{tenant}'.",
    ),
    530036: (
        "invalid_grant",
        "The refresh token is not valid due to authentication flow checks by Conditional Access. Sign in again.",
    ),
    500011: (
        "invalid_resource",
        "The resource principal named {resource} was not found in the tenant named {tenant}. This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant. You might have sent your authentication request to the wrong tenant.",
    ),
    700016: (
        "unauthorized_client",
        "Application with identifier '{client_id}' was not found in the directory '{tenant}'. This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant. You may have sent your authentication request to the wrong tenant.",
    ),
    700021: (
        "invalid_client",
        "Client assertion application identifier doesn't match 'client_id' parameter. Review the documentation at https://docs.microsoft.com/azure/active-directory/develop/active-directory-certificate-credentials .",
    ),
    700023: (
        "invalid_client",
        "Client assertion audience claim does not match Realm issuer. Review the documentation at https://docs.microsoft.com/azure/active-directory/develop/active-directory-certificate-credentials .",
    ),
    700024: (
        "invalid_client",
        "Client assertion is not within its valid time range. Current time: {now}, assertion valid from {starts}, expiry time of assertion {ends}. Review the documentation at https://docs.microsoft.com/azure/active-directory/develop/active-directory-certificate-credentials .",
    ),
    700027: (
        "invalid_client",
        "{problem} [Reason - {reason}, Please visit the Azure Portal, Graph Explorer or directly use MS Graph to see configured keys for app Id '{client_id}'. Review the documentation at https://docs.microsoft.com/en-us/graph/deployments to determine the corresponding service endpoint and https://docs.microsoft.com/en-us/graph/api/application-get?view=graph-rest-1.0&tabs=http to build a query request URL, such as 'https://graph.microsoft.com/beta/applications/{client_id}'].",
    ),
    700082: (
        "invalid_grant",
        "The refresh token has expired due to inactivity. The token was issued on {issued} and was inactive for {life}.",
    ),
    700211: (
        "invalid_client",
        f"No matching federated identity record found for presented assertion issuer '{{issuer}}'. {_FEDERATION}",
    ),
    700212: (
        "invalid_client",
        f"No matching federated identity record found for presented assertion audience '{{audience}}'. {_FEDERATION}",
    ),
    700213: (
        "invalid_client",
        f"No matching federated identity record found for presented assertion subject '{{subject}}'. {_FEDERATION}",
    ),
    900144: ("invalid_request", "The request body must contain the following parameter: '{parameter}'."),
    900561: ("invalid_request", "The endpoint only accepts POST requests. Received a {method} request."),
    1002012: (
        "invalid_scope",
        "The provided value for scope {scope} is not valid. Client credential flows must have a scope value with /.default suffixed to the resource identifier (application ID URI).",
    ),
    9002313: ("invalid_grant", "Invalid request. Request is malformed or invalid."),
    7000112: ("unauthorized_client", "Application '{client_id}'({name}) is disabled."),
    7000215: (
        "invalid_client",
        "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for a secret added to app '{client_id}'.",
    ),
    7000218: (
        "invalid_client",
        "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
    ),
    7000222: (
        "invalid_client",
        "The provided client secret keys for app '{client_id}' are expired. Visit the Azure portal to create new keys for your app: https://aka.ms/NewClientSecret, or consider using certificate credentials for added security: https://aka.ms/certCreds.",
    ),
    7000229: (
        "invalid_client",
        "The client application {client_id} is missing service principal in the tenant {tenant}. See instructions here: https://go.microsoft.com/fwlink/?linkid=2225119",
    ),
}


class Refused(Exception):  # noqa: N818  what happened to a request, not a mistake of ours
    """One refused request: the code, the OAuth error, the HTTP status, the sentence."""

    def __init__(self, code: int, error: str, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
        self.error = error
        self.status = status
        self.sentence = sentence

    def body(self, world: World, trace_id: str, correlation_id: str) -> dict[str, object]:
        """The error body as Entra ID writes it."""
        moment = f"{world.now():%Y-%m-%d %H:%M:%S}Z"
        suberror = {"suberror": _SUBERRORS[self.code]} if self.code in _SUBERRORS else {}
        return {
            **suberror,
            "error": self.error,
            "error_description": (
                f"AADSTS{self.code}: {self.sentence} "
                f"Trace ID: {trace_id} Correlation ID: {correlation_id} Timestamp: {moment}"
            ),
            "error_codes": [self.code],
            "timestamp": moment,
            "trace_id": trace_id,
            "correlation_id": correlation_id,
            "error_uri": ERROR_PAGE.format(code=self.code),
        }


def refused(code: int, **values: str) -> Refused:
    """The refusal of that code, its sentence filled in; to be raised."""
    error, sentence = _TABLE[code]
    return Refused(code, error, _STATUS.get(error, 400), sentence.format(**values))
