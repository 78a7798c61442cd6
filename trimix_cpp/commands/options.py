"""Options that commands share, named as llama.cpp's, and what they resolve to."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..errors import TrimixError, UsageError
from .draft_options import draft_options, resolve_drafting
from .weight_options import WEIGHT_OPTIONS, Weighting, resolve_weighting

if TYPE_CHECKING:
    from ..decoding import Control, Options, Speculator
    from ..fusion import Sampler
    from ..prompts import Language
    from ..store import TrioSpec

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")
ROLES = ("large", "cpt", "base", "large_base")
# Logits rows of a step where whole prompts are looked at: 39 MB a role at Qwen2.5's vocabulary.
SCORED_ROWS = 64

_MODEL_OPTIONS = [
    click.option("--lang", metavar="CODE", help="Language, ISO 639-3 (uig) or 639-1 (ug)."),
    click.option("--trio", metavar="NAME|TOML", help="A trio by name, or its TOML file."),
    click.option("-m", "--large", type=click.Path(path_type=Path), metavar="FILE",
                 help="GGUF of the large instruction-tuned model."),
    click.option("--cpt", type=click.Path(path_type=Path), metavar="FILE",
                 help="GGUF of the small model trained on the language."),
    click.option("--base", type=click.Path(path_type=Path), metavar="FILE",
                 help="GGUF of that small model before."),
    click.option("--large-base", type=click.Path(path_type=Path), metavar="FILE",
                 help="GGUF of the large model before instruction tuning: for a free gamma."),
    click.option("-v", "--verbose", is_flag=True, help="Show llama.cpp's log on stderr."),
]  # fmt: skip
_RUN_OPTIONS = [
    click.option("-c", "--ctx-size", type=int, default=None, metavar="N",
                 help="Tokens a sequence may have; 0: what the models were trained for.  "
                 "[default: that, but at most 4096]"),
    click.option("-b", "--batch-size", type=int, default=512, show_default=True,
                 help="Most tokens of a batch."),
    click.option("-ub", "--ubatch-size", type=int, default=512, show_default=True,
                 help="Most tokens that are computed at a time."),
    click.option("-t", "--threads", type=int, default=0, help="CPU threads; 0: physical cores."),
    click.option("-ngl", "--gpu-layers", "--n-gpu-layers", default="all", show_default=True,
                 metavar="N|ROLE=N,…",
                 help="Layers on the GPU, for all roles or each: large=20,cpt=all,base=all."),
    click.option("-fa", "--flash-attn", type=click.Choice(["on", "off", "auto"]), default="auto",
                 show_default=True),
    click.option("-ctk", "--cache-type-k", default=None, metavar="TYPE|ROLE=TYPE,…",
                 help="KV cache type for K.  [default: the trio's own, else f16]"),
    click.option("-ctv", "--cache-type-v", default=None, metavar="TYPE|ROLE=TYPE,…",
                 help="KV cache type for V.  [default: the trio's own, else f16]"),
    click.option("--mlock", is_flag=True, help="Keep the weights in RAM."),
    click.option("--exact", is_flag=True,
                 help="The same numbers whatever the size of a batch; slower."),
]  # fmt: skip
_SAMPLING_OPTIONS = [
    click.option("-n", "--predict", "--n-predict", type=int, default=-1, show_default=True,
                 help="Most tokens to generate; -1: until the end."),
    click.option("--temp", type=float, default=0.0, show_default=True, help="0 is greedy."),
    click.option("--top-k", type=int, default=40, show_default=True, help="0 is off."),
    click.option("--top-p", type=float, default=0.95, show_default=True, help="1 is off."),
    click.option("--min-p", type=float, default=0.05, show_default=True, help="0 is off."),
    click.option("--repeat-penalty", type=float, default=1.0, show_default=True, help="1 is off."),
    click.option("--repeat-last-n", type=int, default=64, show_default=True,
                 help="Tokens that the penalty looks back; -1: all."),
    click.option("-s", "--seed", type=int, default=-1, show_default=True, help="-1: random."),
    click.option("-r", "--reverse-prompt", "stops", multiple=True, metavar="TEXT",
                 help="Stop where this text comes up; may be repeated."),
]  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """What the shared options mean."""

    spec: TrioSpec
    options: Options
    weighting: Weighting
    sampler: Sampler
    control: Control
    max_tokens: int | None
    stops: tuple[str, ...]
    language: Language | None
    speculator: Speculator | None


def model_options(command: F) -> F:
    """Add the options that name the models."""
    for option in reversed(_MODEL_OPTIONS):
        command = option(command)
    return command


def running_options(command: F) -> F:
    """Add the options that name the models and say how they run."""
    for option in reversed(_RUN_OPTIONS):
        command = option(command)
    return model_options(command)


def decoding_options(control: str, draft: str = "off") -> Callable[[F], F]:
    """Add every option of a command that decodes; the arguments are defaults of theirs."""

    def add(command: F) -> F:
        policy = click.option(
            "--control",
            type=click.Choice(["large", "fused"]),
            default=control,
            show_default=True,
            help="Whose probabilities control tokens have.",
        )
        added = [*WEIGHT_OPTIONS, *_RUN_OPTIONS, *_SAMPLING_OPTIONS, policy, *draft_options(draft)]
        for option in reversed(added):
            command = option(command)
        return model_options(command)

    return add


def resolve(flags: dict[str, Any], *, may_score: bool = False) -> Settings:
    """Turn the values of `decoding_options` into `Settings`.

    `may_score`: weights may be chosen by prompts later, even if --weights names fixed ones.

    Raises:
        UsageError: a value means nothing, or no models are named.
        TrimixError: the trio's file is broken, or there is none for the language.
    """
    spec, language = resolve_spec(flags)
    weighting = resolve_weighting(flags, spec)
    spec, speculator = resolve_drafting(flags, spec)
    scored = SCORED_ROWS if may_score or weighting.chooser else 1
    drafted = 1 + speculator.most if speculator else 1
    return Settings(
        spec=spec,
        options=resolve_running(flags, spec, n_outputs=max(scored, drafted)),
        weighting=weighting,
        sampler=_sampler(flags),
        control=flags["control"],
        max_tokens=None if flags["predict"] < 0 else _at_least(flags["predict"], 1, "-n"),
        stops=tuple(flags["stops"]),
        language=language,
        speculator=speculator,
    )


def resolve_running(
    flags: dict[str, Any], spec: TrioSpec, *, n_parallel: int = 1, n_outputs: int = 1
) -> Options:
    """How a trio runs, by the values of `running_options`.

    Raises:
        UsageError: a value means nothing.
    """
    from ..decoding import Options

    return Options(
        n_ctx=None if flags["ctx_size"] is None else _at_least(flags["ctx_size"], 0, "-c"),
        n_batch=_at_least(flags["batch_size"], 1, "-b"),
        n_ubatch=_at_least(flags["ubatch_size"], 1, "-ub"),
        n_parallel=n_parallel,
        n_outputs=n_outputs,
        n_threads=_at_least(flags["threads"], 0, "-t"),
        n_gpu_layers=per_role(flags["gpu_layers"], _layers, "-ngl"),
        flash_attn={"on": True, "off": False, "auto": None}[flags["flash_attn"]],
        type_k=_cache_types(flags["cache_type_k"], spec.type_k, "-ctk"),
        type_v=_cache_types(flags["cache_type_v"], spec.type_v, "-ctv"),
        exact=flags["exact"],
        mlock=flags["mlock"],
    )


def resolve_spec(flags: dict[str, Any]) -> tuple[TrioSpec, Language | None]:
    """The trio that `model_options` name, and the language if one is named."""
    from ..prompts import language as find_language
    from ..store import find_trio, spec_from_files, trio_for_language

    if flags["verbose"]:
        _show_log()
    language = find_language(flags["lang"]) if flags["lang"] else None
    files = {role: flags[role] for role in ROLES if flags[role]}
    if files and flags["trio"]:
        raise UsageError("give either --trio or the files of the roles, not both")
    if files:
        return spec_from_files(files), language
    if flags["trio"]:
        spec = find_trio(flags["trio"])
        if language:
            _tell_script(spec, language)
        return spec, language
    if language is None:
        raise UsageError("name the models: --lang CODE, --trio NAME, or --large/--cpt/--base FILE")
    spec = trio_for_language(language.code, language.name)
    _tell_script(spec, language)
    if spec.bundled:
        notice(
            f"no trio for {language.name} is installed: the bundled demo answers, a toy trained on "
            f"software strings; `trimix-cpp pull --lang {language.code}` fetches real models"
        )
    return spec, language


def _tell_script(spec: TrioSpec, language: Language) -> None:
    from ..store import script_notice

    if text := script_notice(spec, language):
        notice(text)


def notice(text: str) -> None:
    """A line for the user, on stderr."""
    print(f"trimix-cpp: {text}", file=sys.stderr, flush=True)


def read_text(path: Path | None) -> str:
    """The UTF-8 text of a file, or of stdin for None or `-`.

    Raises:
        TrimixError: it cannot be read, or is not UTF-8; the line is named.
    """
    if path is None or str(path) == "-":
        name, data = "standard input", sys.stdin.buffer.read()
    else:
        try:
            name, data = str(path), path.read_bytes()
        except OSError as error:
            raise TrimixError(f"{path}: {error.strerror}") from None
    return decode_utf8(data, name)


def decode_utf8(data: bytes, name: str) -> str:
    """`data` as text, a byte order mark left out.

    Raises:
        TrimixError: it is not UTF-8; the line is named.
    """
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise TrimixError(f"{name}: line {line} is not UTF-8; save it as UTF-8") from None


def per_role(text: str, convert: Callable[[str, str], T], flag: str) -> dict[str, T]:
    """`"all"` or `"large=20,cpt=all"` -> role -> value; roles left out keep the default."""
    if "=" not in text:
        return dict.fromkeys(ROLES, convert(text, flag))
    values = {}
    for part in text.split(","):
        role, equals, value = part.partition("=")
        if role not in ROLES or not equals:
            raise UsageError(
                f"{flag}: {part!r} is not ROLE=VALUE with a role of {', '.join(ROLES)}"
            )
        values[role] = convert(value, flag)
    return values


def _layers(text: str, flag: str) -> int:
    if text == "all":
        return -1
    if not text.isdecimal():
        raise UsageError(f"{flag}: {text!r} is neither a number of layers nor 'all'")
    return int(text)


def _cache_types(text: str | None, own: Mapping[str, str], flag: str) -> dict[str, str]:
    return {**own, **(per_role(text, _cache_type, flag) if text else {})}


def _cache_type(text: str, flag: str) -> str:
    from ..quant import KV_TYPES

    if text not in KV_TYPES:
        raise UsageError(f"{flag}: unknown type {text!r}; known are {', '.join(KV_TYPES)}")
    return text


def _at_least(value: int, least: int, flag: str) -> int:
    if value < least:
        raise UsageError(f"{flag} must be at least {least}")
    return value


def _sampler(flags: dict[str, Any]) -> Sampler:
    from ..fusion import Sampler

    try:
        return Sampler(
            temperature=flags["temp"],
            top_k=flags["top_k"],
            top_p=flags["top_p"],
            min_p=flags["min_p"],
            repeat_penalty=flags["repeat_penalty"],
            repeat_last_n=flags["repeat_last_n"],
            seed=secrets.randbits(63) if flags["seed"] == -1 else flags["seed"],
        )
    except TrimixError as error:
        raise UsageError(str(error)) from None


def _show_log() -> None:
    import logging

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("trimix_cpp")
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
