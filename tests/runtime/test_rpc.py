"""--rpc: how servers are written, and what is refused before anything is loaded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimix_cpp.errors import UsageError
from trimix_cpp.fusion import ROLES
from trimix_cpp.quant import Options, estimate
from trimix_cpp.runtime import RunFlags, parse_rpc
from trimix_cpp.store import find_trio

A, B = "127.0.0.1:50052", "desktop.local:1"


@pytest.mark.parametrize(
    ("said", "means"),
    [
        (None, {}),
        (A, dict.fromkeys(ROLES, (A,))),
        (f"{A},{B}", dict.fromkeys(ROLES, (A, B))),
        (f"large={A}", {"large": (A,)}),
        (f"large={A},{B},cpt={A}", {"large": (A, B), "cpt": (A,)}),
        ("large=DeskTop:00080", {"large": ("desktop:80",)}),
        ({"base": f"{B},{A}"}, {"base": (B, A)}),
    ],
)
def test_what_a_spelling_means(said: object, means: object) -> None:
    assert parse_rpc(said) == means  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("localhost", "is not HOST:PORT"),
        ("", "is not HOST:PORT"),
        ("localhost:", "1 to 65535"),
        ("localhost:0", "1 to 65535"),
        ("localhost:70000", "1 to 65535"),
        ("localhost:-1", "1 to 65535"),
        ("localhost:٣", "1 to 65535"),
        ("localhost:" + "9" * 5000, "1 to 65535"),
        (":50052", "no host's name"),
        ("[::1]:50052", "IPv4"),
        ("::1:50052", "IPv4"),
        ("a b:1", "no host's name"),
        ("-oProxyCommand=x:1", "none of large"),
        ("-x:1", "no host's name"),
        ("ھوست:1", "no host's name"),
        ("\udcff:1", "no host's name"),
        ("a\0b:1", "no host's name"),
        ("x\n:1", "no host's name"),
        ("http://host:1", "IPv4"),
        ("judge=host:1", "'judge' is none of large"),
        ("large=", "is not HOST:PORT"),
        ("=host:1", "'' is none of"),
        (f"{A},large={B}", "is for no role"),
        (f"large={A},large={B}", "'large' is named twice"),
        (f"{A},{A}", "is named twice"),
        ("Host:1,host:01", "host:1 is named twice"),
        (f"{A},", "is not HOST:PORT"),
        (",".join(f"h{i}:1" for i in range(17)), "takes 16 servers"),
        (",".join(f"{role}=h{i}:1,g{i}:1,{role}:1,{role}:2,{role}:3" for i, role in
                  enumerate(ROLES)), "takes 16 servers"),
        ("a:1," * 1_000_000, "takes 16 servers"),
    ],
)  # fmt: skip
def test_what_is_refused(said: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as raised:
        parse_rpc(said)
    assert len(str(raised.value)) < 200


@given(st.text())
def test_any_text_is_servers_or_a_usage_error(text: str) -> None:
    try:
        found = parse_rpc(text)
    except UsageError:
        return
    assert found.keys() <= {*ROLES}
    assert all(server.isascii() and server.count(":") == 1 for own in found.values()
               for server in own)  # fmt: skip


def test_servers_are_never_exact() -> None:
    spec = find_trio("demo")
    with pytest.raises(UsageError, match="--rpc does not go with --exact"):
        RunFlags(rpc=A, exact=True).options(spec)
    assert RunFlags(rpc=f"large={A}").options(spec).servers("large") == (A,)
    assert not RunFlags(rpc=f"large={A}").options(spec).servers("cpt")
    assert not RunFlags(rpc=A, n_gpu_layers="large=0").options(spec).servers("large")


def test_what_lies_on_a_server_takes_no_memory_here() -> None:
    from trimix_cpp.gguf import read_header

    header = read_header(find_trio("demo").roles["large"].path)
    here = Options(n_ctx=512)
    there = Options(n_ctx=512, rpc={"large": (A,)})
    models = {"large": header, "large_base": header}
    alone, half = estimate({"large": header}, here), estimate({"large": header}, there)
    assert half.weights == half.roles["large"].cache == 0 < alone.weights
    # One file on two machines is loaded twice; on one it is shared.
    assert estimate(models, there).weights == estimate(models, here).weights == alone.weights
    both = Options(n_ctx=512, rpc={"large": (A,), "large_base": (A,)})
    assert estimate(models, both).weights == 0
