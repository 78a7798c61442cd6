"""Everything that a command which decodes is told, and what it means together."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from ..errors import TrimixError, UsageError
from .drafting import DraftFlags
from .limits import check_limits
from .models import ModelFlags, find_models
from .over_bytes import ByteFlags
from .running import RunFlags
from .weighting import WeightFlags, Weighting

if TYPE_CHECKING:
    from ..decoding import Control, Speculator, Text
    from ..fusion import Sampler
    from ..prompts import Language
    from ..quant import Options
    from ..store import TrioSpec

# Logits rows of a step where whole prompts are looked at: 39 MB a role at Qwen2.5's vocabulary.
SCORED_ROWS = 64


@dataclass(frozen=True)
class SamplingFlags:
    """How tokens are chosen, and where a text ends.

    Attributes:
        temperature, top_k, top_p, min_p, repeat_penalty, repeat_last_n: as in `fusion.Sampler`.
        seed: of the noise; None, or -1, draws one.
        max_tokens: most tokens to generate; None, or -1, for as many as the context holds.
        stops: strings that end the text.
        control: whose probabilities control tokens have.
    """

    max_tokens: int | None = None
    temperature: float = 0.0
    top_k: int = 40
    top_p: float = 0.95
    min_p: float = 0.05
    repeat_penalty: float = 1.0
    repeat_last_n: int = 64
    seed: int | None = None
    stops: tuple[str, ...] = ()
    control: Literal["large", "fused"] = "fused"

    @property
    def limit(self) -> int | None:
        """`max_tokens`, None for no limit; raises UsageError where it is out of bounds."""
        limit = None if self.max_tokens == -1 else self.max_tokens
        check_limits({"max_tokens": limit}, {"max_tokens": "-n (max_tokens)"})
        return limit

    def sampler(self) -> Sampler:
        """The sampler of a text; raises UsageError where a value is out of its bounds."""
        from ..fusion import Sampler

        try:
            return Sampler(
                temperature=self.temperature,
                top_k=self.top_k,
                top_p=self.top_p,
                min_p=self.min_p,
                repeat_penalty=self.repeat_penalty,
                repeat_last_n=self.repeat_last_n,
                seed=secrets.randbits(63) if self.seed is None or self.seed == -1 else self.seed,
            )
        except TrimixError as error:
            raise UsageError(str(error)) from None


@dataclass(frozen=True)
class DecodingFlags:
    """All groups of options that a command which decodes has."""

    models: ModelFlags = field(default_factory=ModelFlags)
    run: RunFlags = field(default_factory=RunFlags)
    weights: WeightFlags = field(default_factory=WeightFlags)
    sampling: SamplingFlags = field(default_factory=SamplingFlags)
    drafting: DraftFlags = field(default_factory=DraftFlags)
    over_bytes: ByteFlags = field(default_factory=ByteFlags)

    def resolve(self, *, n_parallel: int = 1, may_score: bool = False) -> Settings:
        """What they mean, for `n_parallel` texts at once.

        `may_score`: weights may be chosen by prompts later, even if `weights` names fixed ones.

        Raises:
            UsageError: a value means nothing, or does not go with another, or no models are named.
            TrimixError: the trio's file is broken, or there is none for the language.
        """
        from ..decoding import MOST_TOGETHER

        spec, language = find_models(self.models)
        weighting = self.weights.resolve(spec)
        options = replace(
            self.run.options(spec, n_parallel=n_parallel),
            bytes=self.over_bytes.resolve(self.run, self.sampling, self.drafting),
        )
        speculator = None
        if not options.bytes:
            spec, speculator = self.drafting.resolve(spec, options)
        scored = SCORED_ROWS if may_score or weighting.chooser else 1
        together = min(n_parallel, MOST_TOGETHER)
        drafted = together * (1 + speculator.most) if speculator else 1
        return Settings(
            spec=spec,
            options=replace(options, n_outputs=max(scored, drafted)),
            weighting=weighting,
            sampler=self.sampling.sampler(),
            control=self.sampling.control,
            max_tokens=self.sampling.limit,
            stops=self.sampling.stops,
            language=language,
            speculator=speculator,
        )


@dataclass(frozen=True)
class Settings:
    """What `DecodingFlags` mean; as a `Text` and a `Trio` want them."""

    spec: TrioSpec
    options: Options
    weighting: Weighting
    sampler: Sampler
    control: Control
    max_tokens: int | None
    stops: tuple[str, ...]
    language: Language | None
    speculator: Speculator | None

    def changed(self, weights: WeightFlags, sampling: SamplingFlags) -> Settings:
        """The same trio for another text; raises UsageError where a value means nothing."""
        return replace(
            self,
            weighting=weights.resolve(self.spec),
            sampler=sampling.sampler(),
            control=sampling.control,
            max_tokens=sampling.limit,
            stops=sampling.stops,
        )

    def text(self, tokens: list[int]) -> Text:
        """A text that begins with `tokens`.

        Raises:
            UsageError: weights by answers: a raw prompt does not say which of it are answers.
        """
        from ..decoding import Text
        from ..fusion import ByAnswers

        if isinstance(self.weighting.chooser, ByAnswers):
            raise UsageError(
                "--weights ppl-answers: a raw prompt does not say which of it are answers; take "
                "ppl, or translate --shots, or a chat"
            )
        return Text(
            tokens=tokens,
            weights=self.weighting.weights,
            sampler=self.sampler,
            control=self.control,
            max_tokens=self.max_tokens,
            stops=self.stops,
            chooser=self.weighting.chooser(0) if self.weighting.chooser else None,
            plausibility=self.weighting.plausibility,
        )
