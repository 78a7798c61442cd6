"""`load` a trio and talk to it: `TriMix`, its streams and its chats."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from ..chat import Conversation, template_of
from ..decoding import Decoder, open_trio
from ..documents import CUT, Segment
from ..errors import UsageError
from ..files import Closing
from ..runtime import (
    ByteFlags,
    DecodingFlags,
    DraftFlags,
    ModelFlags,
    RunFlags,
    Settings,
    WeightFlags,
    named_models,
)
from ..translate import (
    Checking,
    Placing,
    Translator,
    aids_for,
    grouped,
    known_checks,
    lay_out,
    reasons_of,
    results_of,
    units_of,
)
from .looking import FusedRows, look, score
from .results import Completion, Score, Translation
from .texts import Chat, Stream
from .translation import languages, translation_task

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ..decoding import Control
    from ..documents import Result
    from ..fusion import Rows, Weights
    from ..prompts import ChatTemplate
    from ..store import TrioSpec
    from ..translate import Layout, Outcome, Unit


class TextOptions(TypedDict, total=False):
    """What may be said of one text, or of a chat; what is left out is as `load` was told.

    Attributes:
        weights: "0.1,0.9", `Weights`, "preset", "ppl", "ppl-opt" or "ent".
        max_tokens: most tokens to generate; None for as many as the context holds.
        temperature, top_k, top_p, min_p, repeat_penalty, repeat_last_n: as llama.cpp's; a
            temperature of 0, the default, is greedy.
        seed: None draws one; the result names it.
        stops: strings that end the text.
        control: whose probabilities control tokens have: "large" ends chats.
    """

    weights: str | Weights
    max_tokens: int | None
    temperature: float
    top_k: int
    top_p: float
    min_p: float
    repeat_penalty: float
    repeat_last_n: int
    seed: int | None
    stops: str | Sequence[str]
    control: Control


def load(
    trio: str | Path | TrioSpec | None = None,
    *,
    large: str | Path | None = None,
    cpt: str | Path | None = None,
    base: str | Path | None = None,
    large_base: str | Path | None = None,
    weights: str | Weights = "preset",
    task: str | None = None,
    method: str = "trimix",
    strength: float = 0.5,
    plausibility: str | None = None,
    n_ctx: int | None = None,
    n_batch: int = 512,
    n_ubatch: int = 512,
    n_parallel: int = 2,
    n_threads: int = 0,
    n_gpu_layers: int | str | Mapping[str, int] = "all",
    flash_attn: bool | None = None,
    type_k: str | Mapping[str, str] | None = None,
    type_v: str | Mapping[str, str] | None = None,
    mlock: bool = False,
    exact: bool = False,
    exact_vocabulary: bool = False,
    draft: str | int = "off",
    draft_model: str | Path | None = None,
    bytes: bool = False,
    beam: int = 4,
    beam_threshold: float = 1e-3,
) -> TriMix:
    """Load a trio: a language ("uig"), a trio's name ("demo"), its TOML file, or a `TrioSpec`.

    The other arguments are the flags of the commands:

    - large, cpt, base, large_base: GGUF files by role, in place of `trio`.
    - weights, task, method, strength, plausibility: what decides the weights.
    - n_ctx: tokens a text may have; 0: what the models were trained for; None: at most 4096.
    - n_batch, n_ubatch, n_threads, flash_attn, mlock: as llama.cpp's.
    - n_parallel: texts at once; each needs a context. What was said in a chat stays evaluated
      while another text does not need its place.
    - n_gpu_layers, type_k, type_v: one value, or role -> value.
    - exact: the same numbers whatever the size of a batch; slower.
    - exact_vocabulary: every way in which a model with tokens of its own may say a text counts.
    - bytes, beam, beam_threshold: fuse models whose tokenizers differ, byte by byte; tokens are
      then bytes, and `max_tokens` counts them.
    - draft, draft_model: tokens that cpt, or that model, drafts ahead: "auto" or a number.

    Raises:
        UsageError: a value means nothing, or nothing is named.
        ModelFileError: a file is missing or broken.
        AlignmentError: the models may not be fused.
        TrimixError: no trio for the language, no memory.
    """
    models = ModelFlags() if trio is None else named_models(trio)
    large, cpt, base, large_base, draft_model = map(
        _path, (large, cpt, base, large_base, draft_model)
    )
    flags = DecodingFlags(
        replace(models, large=large, cpt=cpt, base=base, large_base=large_base),
        RunFlags(
            n_ctx, n_batch, n_ubatch, n_threads, n_gpu_layers, flash_attn, type_k, type_v,
            mlock, exact, exact_vocabulary,
        ),
        WeightFlags(weights, task, method, strength, plausibility),
        drafting=DraftFlags(draft, draft_model),
        over_bytes=ByteFlags(bytes, beam, beam_threshold),
    )  # fmt: skip
    return TriMix(flags, n_parallel=n_parallel, may_score=True)


def _path(name: str | Path | None) -> Path | None:
    return None if name is None else Path(name)


def _paths(names: str | Path | Sequence[str | Path]) -> list[Path]:
    return [Path(name) for name in ([names] if isinstance(names, (str, Path)) else names)]


class TriMix(Closing):
    """A loaded trio; a context manager. One thread at a time may use it.

    Args:
        flags: everything that it is told.
        n_parallel: texts at once.
        may_score: whole prompts will be looked at, which more memory makes quicker.

    Attributes:
        flags: as given.
        settings: what they mean.
        trio, decoder: what does the work, for those who need more than is here.
        load_seconds: what loading took.
    """

    def __init__(
        self, flags: DecodingFlags, *, n_parallel: int = 1, may_score: bool = False
    ) -> None:
        began = time.perf_counter()
        self.flags = flags
        self.settings = flags.resolve(n_parallel=n_parallel, may_score=may_score)
        self._template: ChatTemplate | None = None
        self._closing = ExitStack()
        with ExitStack() as opened:
            self.trio = opened.enter_context(
                open_trio(self.settings.spec, self.settings.weighting.roles, self.settings.options)
            )
            self.decoder = Decoder(self.trio, self.settings.speculator)
            self._closing = opened.pop_all()
        self.load_seconds = time.perf_counter() - began

    @property
    def spec(self) -> TrioSpec:
        """Which files play which roles, and what else is known of the trio."""
        return self.settings.spec

    @property
    def weights(self) -> Weights:
        """The weights where a text names none."""
        return self.settings.weighting.weights

    @property
    def n_ctx(self) -> int:
        """Tokens that a text may have."""
        return self.trio.n_ctx

    @property
    def n_tokens(self) -> int:
        """Tokens that all roles share: the columns of `logits`."""
        return self.trio.n_tokens

    def tokenize(self, text: str) -> list[int]:
        """Ids of a prompt; names of control tokens in it are read as these tokens."""
        return self.trio.tokenize(text, add_special=True, parse_special=True)

    def generate(self, prompt: str, **options: Unpack[TextOptions]) -> Completion:
        """Go on with a prompt, which goes to the models as it is, without a chat template.

        Raises:
            UsageError: an option means nothing.
            ContextFullError: the prompt does not fit.
        """
        return self.stream(prompt, **options).finish()

    def stream(self, prompt: str, **options: Unpack[TextOptions]) -> Stream:
        """Go on with a prompt; the text as it comes, in whole characters.

        Raises:
            UsageError: an option means nothing.
            ContextFullError: the prompt does not fit.
        """
        return Stream(self.decoder, self._settings(options).text(self.tokenize(prompt)))

    def chat(
        self, *, system: str | None = None, think: bool = False, **options: Unpack[TextOptions]
    ) -> Chat:
        """A conversation, in the form that the models were trained on.

        If nothing else is said control tokens are `large`'s here: the small models hardly know
        them, and replies would not end. `think` lets a model that can think before it answers
        do so.

        Raises:
            UsageError: an option means nothing.
        """
        given: TextOptions = {"control": "large", **options}
        return Chat(self.conversation(self._settings(given), system, think=think))

    def conversation(
        self, settings: Settings, system: str | None = None, *, think: bool = False
    ) -> Conversation:
        """The conversation that `chat` wraps, with everything that `settings` say."""
        if self._template is None:
            self._template = self._closing.enter_context(template_of(self.trio))
        weighting = settings.weighting
        return Conversation(
            self.decoder,
            weights=weighting.weights,
            chooser=weighting.chooser,
            plausibility=weighting.plausibility,
            sampler=settings.sampler,
            control=settings.control,
            max_tokens=settings.max_tokens,
            stops=(*settings.stops, *settings.spec.stops),
            system=system,
            think=think,
            template=self._template,
        )

    def translate(
        self,
        texts: Sequence[str],
        *,
        source: str,
        target: str,
        shots: Sequence[tuple[str, str]] = (),
        memory: str | Path | Sequence[str | Path] = (),
        glossary: str | Path | Sequence[str | Path] = (),
        context: bool = False,
        no_check: Sequence[str] = (),
        max_length: int = 0,
        **options: Unpack[TextOptions],
    ) -> list[Translation]:
        """Translate texts as the command `translate` does; in their order.

        Line breaks stay, long lines are cut at sentence ends, and what stands for a value (`%s`,
        `{name}`) is looked for in the result: what is lost is told by its `flags`. A text that
        could not be translated at all comes back empty, and its flags say why.

        `source` and `target` are codes of languages, `shots` exemplars (text, translation).
        `memory` and `glossary` are files, as the command takes them: equal texts are taken over,
        similar ones become exemplars, terms are shown and looked for. With `context` the models are
        told what stands before and after a text. `no_check` names checks that are switched off; a
        translation longer than `max_length` characters is flagged.
        Without weights the preset translation.SOURCE-TARGET holds if the trio has it.

        Raises:
            UsageError: an unknown language or check, or an option means nothing.
            TrimixError: a memory or a glossary is not of its format, or holds nothing.
            OSError: it cannot be read.
        """
        if isinstance(texts, str):
            raise UsageError("translate takes a list of texts, not one text")
        flags, pair = self._flags(options), languages(source, target)
        segments = [Segment(i, text, f"text {i + 1}") for i, text in enumerate(texts)]
        aids = aids_for(segments, *pair, _paths(memory), _paths(glossary), context=context)
        settings, task = translation_task(
            flags, self._settings(options), *pair, shots=shots, aids=aids, no_check=no_check
        )
        layouts = lay_out(segments, cut=CUT, labels=False, aids=aids, target=task.target.code)
        self.trio.require(settings.weighting.roles)
        with Translator(self.trio, task) as translator:
            outcomes = dict(translator.run(grouped(units_of(layouts))))
        checking = Checking(task.source, task.target, known_checks(no_check), max_length)
        results = Placing(checking).judged(layouts, results_of(layouts, outcomes))
        return [_translation(layout, results.get(i), outcomes) for i, layout in enumerate(layouts)]

    def score(
        self, context: str, continuation: str, *, weights: str | Weights | None = None
    ) -> Score:
        """How likely a continuation is, and whether greedy decoding would say it.

        Both are tokenized as one text, names of control tokens read as these tokens.

        Raises:
            UsageError: no token stands before the continuation, or the weights are no fixed ones.
            ContextFullError: both do not fit.
        """
        whole = self.tokenize(context + continuation)
        return score(self.decoder, self.tokenize(context), whole, self._fixed(weights))

    def logits(self, text: str, *, weights: str | Weights | None = None) -> Rows:
        """The fused logits of every position of a text: float32 [n, n_tokens], the caller's own.

        Row i predicts what follows token i of `tokenize(text)`. A row of Qwen2.5's vocabulary has
        600 KB. Rows of one role alone come by its weights, such as "1,0" for large.

        Raises:
            UsageError: the weights are no fixed ones.
            ContextFullError: the text does not fit.
        """
        fixed = self._fixed(weights)
        seen = FusedRows(fixed)
        look(self.decoder, self.tokenize(text), fixed, seen)
        return seen.rows

    def _fixed(self, weights: str | Weights | None) -> Weights:
        """The weights of a text that is only looked at."""
        if self.settings.options.bytes:
            raise UsageError("rows of a whole text are not to be had over bytes")
        weighting = self._settings({} if weights is None else {"weights": weights}).weighting
        if weighting.chooser:
            raise UsageError("the weights must be fixed here, such as 0.1,0.9")
        return weighting.weights

    def _flags(self, options: TextOptions) -> DecodingFlags:
        """What it was told, with the options of one text over it."""
        given: dict[str, Any] = dict(options)
        weights = self.flags.weights
        if "weights" in given:
            weights = replace(weights, weights=given.pop("weights"), task=None)
        if "stops" in given:
            given["stops"] = (
                (given["stops"],) if isinstance(given["stops"], str) else given["stops"]
            )
            given["stops"] = tuple(given["stops"])
        return replace(self.flags, weights=weights, sampling=replace(self.flags.sampling, **given))

    def _settings(self, options: TextOptions) -> Settings:
        flags = self._flags(options)
        return self.settings.changed(flags.weights, flags.sampling)

    def close(self) -> None:
        """Free the models; harmless when done twice."""
        self._closing.close()


def _translation(
    layout: Layout, result: Result | None, outcomes: Mapping[Unit, Outcome]
) -> Translation:
    if result is not None:
        return Translation(result.text, result.reasons)
    return Translation("", reasons_of(outcomes[unit] for unit in layout.asked))
