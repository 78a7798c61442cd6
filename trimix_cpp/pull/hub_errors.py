"""What a Hub, a proxy and a connection answer instead of a file, as lines that say what to do."""

from __future__ import annotations

from ..errors import TrimixError
from .network import endpoint, proxy_note, token_source

_LOGIN = "log in with `hf auth login`, or set HF_TOKEN"


class UnfinishedError(Exception):
    """The connection ended before the file did."""


def passing(error: Exception) -> str | None:
    """What went wrong where another try may help, else None."""
    from huggingface_hub.errors import HfHubHTTPError

    if isinstance(error, UnfinishedError):
        return "the connection ended early"
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        return f"the Hub answers {status}" if status in (408, 429) or status >= 500 else None
    if is_transport(error) and not _is_for_good(error):
        return f"no connection{proxy_note()} ({_reason(error)})"
    return None


def is_transport(error: Exception) -> bool:
    """Whether the HTTP library says that something between here and the Hub went wrong.

    It is httpx, or httpx2 since huggingface_hub 2.x.
    """
    return any(kind.__name__ == "TransportError" for kind in type(error).__mro__)


def retry_after(error: Exception, otherwise: float, longest: float) -> float:
    """Seconds to wait before the next try: the server's own word, if it gave one."""
    response = getattr(error, "response", None)
    text = response.headers.get("Retry-After", "") if response is not None else ""
    # isdecimal: digits of every script; float takes them all.
    return min(float(text[:9]), longest) if text.isdecimal() else otherwise


def explained(
    error: Exception, repository: str, revision: str | None, file: str | None
) -> Exception:
    """`error` as a TrimixError that says what to do; itself where it is no answer of the Hub."""
    from huggingface_hub import errors

    page, token = f"{endpoint()}/{repository}", token_source()
    if isinstance(error, errors.OfflineModeIsEnabled):
        return TrimixError("HF_HUB_OFFLINE is set: unset it to download")
    if isinstance(error, errors.GatedRepoError):
        then = f"use the token of the account that did ({token} is set)" if token else _LOGIN
        return TrimixError(f"{repository} is gated: accept its licence on {page}, then {then}")
    if isinstance(error, errors.RevisionNotFoundError):
        return TrimixError(f"{repository} has no revision {revision!r}")
    if isinstance(error, errors.RepositoryNotFoundError):
        private = f"{token} may not see it" if token else _LOGIN
        return TrimixError(f"{page}: no such repository; if it is private, {private}")
    if isinstance(error, errors.EntryNotFoundError):
        return TrimixError(f"{repository} has no file {file} (at {(revision or 'main')[:12]})")
    if isinstance(error, errors.HfHubHTTPError):
        return TrimixError(_status(error.response.status_code, repository, page, token))
    if is_transport(error):
        return TrimixError(f"{endpoint()}: no connection{proxy_note()} ({_reason(error)})")
    if isinstance(error, ValueError):
        return TrimixError(
            f"{page}: what answers there is no Hub ({_reason(error)[:120]}); "
            "look at HF_ENDPOINT, and whether the network wants a login of its own"
        )
    if _is_of_http(error):
        return TrimixError(f"{page}: cannot be asked ({_reason(error)})")
    return error


def _status(status: int, repository: str, page: str, token: str | None) -> str:
    if status == 401 and token:
        return (
            f"{repository}: {token} is not accepted (401): it has expired or was mistyped; make a "
            f"new one at {endpoint()}/settings/tokens, or unset it if the models are public"
        )
    if status in (401, 403):
        advice = f"{token} has no right to read it" if token else _LOGIN
        return f"{repository}: the Hub refuses access ({status}); {advice}"
    if status == 407:
        return f"the proxy wants a name and a password (407){proxy_note()}"
    return f"{page}: the Hub answers {status}"


def _is_for_good(error: Exception) -> bool:
    """Whether no further try helps: a protocol that there is not, a certificate, a dead proxy."""
    if "CERTIFICATE" in str(error) or type(error).__name__ == "UnsupportedProtocol":
        return True
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ConnectionRefusedError):
        cause = cause.__cause__ or cause.__context__
    return cause is not None and bool(proxy_note())


def _is_of_http(error: Exception) -> bool:
    return type(error).__module__.startswith(("http", "h11", "h2", "ssl", "socksio"))


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())[:200] or type(error).__name__
    advice = "; SSL_CERT_FILE names the certificates to trust" if "CERTIFICATE" in text else ""
    return text + advice
