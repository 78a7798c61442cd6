"""What the environment says about the network, checked before anything is asked of it.

Endpoint, proxies, certificates and token are huggingface_hub's and its HTTP library's settings.
Where one of them is wrong the library fails in a way of its own, often before there is a session;
here it is a line that names the setting.
"""

from __future__ import annotations

import os
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from ..errors import TrimixError

_PROXY_SCHEMES = ("http", "https", "socks5", "socks5h")
_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")


def endpoint() -> str:
    """Where the Hub is: HF_ENDPOINT, or huggingface_hub's own.

    Raises:
        TrimixError: it is no address.
    """
    from huggingface_hub import constants

    url = (os.environ.get("HF_ENDPOINT") or str(constants.ENDPOINT)).strip().rstrip("/")
    if why := _fault(url, ("http", "https")):
        raise TrimixError(
            f"HF_ENDPOINT={_shown(url)} {why}; it is written https://host or https://host/path"
        )
    return url


def session() -> Any:
    """The HTTP session of huggingface_hub.

    Raises:
        TrimixError: a setting of the network is wrong; the line names it.
    """
    from huggingface_hub import get_session

    endpoint()
    for name, url in _proxies().items():
        if why := _fault(url if "://" in url else f"http://{url}", _PROXY_SCHEMES):
            raise TrimixError(f"the proxy {_variable(name)}={_shown(url)} {why}; mend or unset it")
        if url.startswith("socks") and find_spec("socksio") is None:
            raise TrimixError(
                f"the proxy {_variable(name)}={_shown(url)} needs one more package: "
                "`pip install socksio`"
            )
    for name in _CERTIFICATES:
        path = os.environ.get(name)
        if path and not Path(path).exists():
            raise TrimixError(f"{name}={path}: there is no such file; mend or unset it")
    _check_token()
    try:
        return get_session()
    except Exception as error:  # of several libraries, and before there is a session to ask
        settings = [_variable(name) for name in _proxies()]
        settings += [name for name in _CERTIFICATES if os.environ.get(name)]
        raise TrimixError(
            f"the network cannot be used as it is set up ({' '.join(str(error).split())[:200]}); "
            f"look at {', '.join(settings) or 'the settings of the network'}"
        ) from None


def proxy_note() -> str:
    """`" through the proxy …"` where requests to the endpoint take one, else nothing."""
    parts = urlsplit(endpoint())
    name = next((n for n in (parts.scheme, "all") if n in _proxies()), None)
    if name is None or proxy_bypass(parts.hostname or ""):
        return ""
    return f" through the proxy {_shown(_proxies()[name])} ({_variable(name)})"


def token_source() -> str | None:
    """Where the token comes from that requests carry, in words; None where there is none."""
    from huggingface_hub import get_token

    if get_token() is None:
        return None
    names = [n for n in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN") if os.environ.get(n, "").strip()]
    return f"the token in {names[0]}" if names else "the token of `hf auth login`"


def _check_token() -> None:
    from huggingface_hub import get_token

    token = get_token() or ""
    if not re.fullmatch(r"[!-~]*", token):
        raise TrimixError(f"{token_source()} has spaces or letters that no token has; copy it anew")


def _proxies() -> dict[str, str]:
    return {n: url for n, url in getproxies().items() if n in ("http", "https", "all") and url}


def _variable(name: str) -> str:
    """How the user has spelled the variable of a proxy."""
    names = (f"{name}_proxy", f"{name}_proxy".upper())
    return next((n for n in names if os.environ.get(n)), names[1])


def _fault(url: str, schemes: tuple[str, ...]) -> str | None:
    """What is wrong with an address; None where nothing is."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        return f"is no address ({error})"
    if parts.scheme not in schemes:
        begins = f"begins with {parts.scheme}://" if "://" in url else "has no scheme"
        return f"{begins}, not with {' or '.join(f'{s}://' for s in schemes)}"
    if not parts.hostname or not re.fullmatch(r"[\w.:%-]+", parts.hostname):
        return "names no host"
    if port == 0:
        return "has no port that can be"
    if parts.netloc.count("@") > 1:
        return "has more than one @ (in a password it is written %40)"
    return None


def _shown(url: str) -> str:
    """An address without the password in it."""
    before, at, after = url.rpartition("@")
    return f"{before.partition('://')[0]}://…@{after}" if at and "://" in before else after or url
