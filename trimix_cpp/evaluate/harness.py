"""lm-evaluation-harness on a trio: `TrimixLM`.

The harness (the extra `lm-eval`) knows many more tasks than `eval` does. Its command line takes no
models from elsewhere, so `run_harness` calls `simple_evaluate`. PyTorch is not needed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lm_eval import simple_evaluate
from lm_eval.api.model import TemplateLM
from lm_eval.tasks import TaskManager
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from ..decoding import Decoder, Text, Trio
from ..errors import TrimixError, UsageError
from ..fusion import Sampler, Weights
from ..prompts import ChatTemplate
from .scoring import Endings, Fusion

_MAX_TOKENS = 256
# (context and continuation as texts, their ids)
_Request = tuple[tuple[str, str], list[int], list[int]]


class TrimixLM(TemplateLM):  # type: ignore[misc]
    """A trio as a model of the harness; `simple_evaluate(model=TrimixLM(trio, weights), …)`.

    Args:
        trio: the models, with as many places as texts shall run at once.
        fusion: how they are fused.
        template: of chats; needed where the harness applies one.
    """

    def __init__(
        self, trio: Trio, fusion: Fusion | Weights, template: ChatTemplate | None = None
    ) -> None:
        super().__init__()
        self.trio, self.template = trio, template
        self.fusion = fusion if isinstance(fusion, Fusion) else Fusion(fusion)
        trio.require(self.fusion.roles)
        self._bos = trio.special_text("bos")
        self._is_chat = False

    @property
    def eot_token_id(self) -> int:
        """A token that ends texts."""
        return min(self.trio.alignment.ends(self.fusion.roles))

    @property
    def prefix_token_id(self) -> int:
        """What stands before a text that nothing stands before."""
        ids = self.trio.tokenize(self._bos, parse_special=True) if self._bos else []
        return ids[0] if len(ids) == 1 else self.eot_token_id

    @property
    def max_length(self) -> int:
        """Tokens of the context."""
        return self.trio.n_ctx

    @property
    def tokenizer_name(self) -> str:
        """Stands for tokenizer and template in the harness's caches of requests."""
        source = self.template.source if self.template else ""
        return f"{self.trio.spec.name}-{hashlib.sha256(source.encode()).hexdigest()[:8]}"

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **_: Any
    ) -> list[int]:
        """Ids of a text; control tokens are read as such only in chats, as templates write them."""
        if add_special_tokens is None:
            add_special_tokens = not (self._bos and string.startswith(self._bos))
        return self.trio.tokenize(
            string, add_special=add_special_tokens, parse_special=self._is_chat
        )

    def _loglikelihood_tokens(
        self, requests: Sequence[_Request], **_: Any
    ) -> list[tuple[float, bool]]:
        found = self._likelihoods([request[1:] for request in requests])
        for request, value in zip(requests, found, strict=True):
            self.cache_hook.add_partial("loglikelihood", request[0], value)
        return found

    def loglikelihood_rolling(
        self, requests: Iterable[Any], disable_tqdm: bool = False
    ) -> list[float]:
        """Log-likelihoods of whole texts, in windows of the context's length."""
        pairs, owners = [], []
        texts = [request.args[0] for request in requests]
        for i, text in enumerate(texts):
            ids = self.tok_encode(text, add_special_tokens=False)
            windows = get_rolling_token_windows(ids, self.prefix_token_id, self.max_length, 1)
            own = [make_disjoint_window(window) for window in windows]
            pairs += own
            owners += [i] * len(own)
        values = [0.0] * len(texts)
        for i, (value, _) in zip(owners, self._likelihoods(pairs), strict=True):
            values[i] += value
        return values

    def _likelihoods(
        self, pairs: Sequence[tuple[list[int], list[int]]]
    ) -> list[tuple[float, bool]]:
        """(log-likelihood, greedy) of continuations; texts that begin alike share what they can."""
        found = [(0.0, True)] * len(pairs)
        alike: dict[tuple[int, ...], dict[int, list[int]]] = {}
        for i, (context, rest) in enumerate(pairs):
            if rest:
                whole = [*context, *rest][-self.max_length - 1 :]
                start = max(len(whole) - len(rest) - 1, 0)
                alike.setdefault(tuple(whole[:-1]), {}).setdefault(start, []).append(i)
        texts = []
        for tokens in sorted(alike):
            for start, own in alike[tokens].items():
                endings = Endings([self.fusion], start, [pairs[i][1][-1] for i in own])
                texts.append(
                    Text(list(tokens), self.fusion.weights, max_tokens=0, observers=(endings,),
                         tag=(own, endings))
                )  # fmt: skip
        for text in self._run(texts):
            own, endings = text.tag
            for i, *value in zip(own, endings.values[0], endings.greedy[0], strict=True):
                found[i] = (value[0], value[1])
        return found

    def generate_until(self, requests: Iterable[Any], disable_tqdm: bool = False) -> list[str]:
        """Texts that go on with contexts, up to one of the strings that `until` names."""
        texts = [self._text(i, *request.args) for i, request in enumerate(requests)]
        found = [""] * len(texts)
        for text in self._run(sorted(texts, key=lambda text: text.tokens)):
            index, context, options = text.tag
            found[index] = text.text
            self.cache_hook.add_partial("generate_until", (context, options), text.text)
        return found

    def _text(self, index: int, context: str, options: Mapping[str, Any]) -> Text:
        until = options.get("until") or []
        stops = [until] if isinstance(until, str) else list(until)
        most = int(options.get("max_gen_toks", _MAX_TOKENS))
        if not 0 < most < self.max_length:
            raise TrimixError(
                f"the task wants {most} tokens, but the context has {self.max_length}: give -c"
            )
        sampler = Sampler(seed=index)
        if options.get("do_sample") and options.get("temperature", 1.0) > 0:
            sampler = Sampler(
                temperature=float(options.get("temperature", 1.0)),
                top_k=int(options.get("top_k", 0)), top_p=float(options.get("top_p", 1.0)),
                min_p=0.0, seed=index,
            )  # fmt: skip
        return Text(
            self.tok_encode(context)[most - self.max_length :], self.fusion.weights,
            sampler=sampler, max_tokens=most, plausibility=self.fusion.plausibility,
            stops=tuple(stop for stop in stops if stop), tag=(index, context, options),
        )  # fmt: skip

    def _run(self, texts: Sequence[Text]) -> Iterable[Any]:
        with Decoder(self.trio) as decoder:
            for text in decoder.run(texts):
                text.raise_error()
                yield text

    def apply_chat_template(
        self, chat_history: Sequence[Mapping[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """The text of a chat.

        Raises:
            TrimixError: there is no template, or it fails.
        """
        if self.template is None:
            raise TrimixError("the models have no chat template")
        self._is_chat = True
        return self.template.render(chat_history, add_generation_prompt)

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        """The source of the template."""
        return self.template.source if self.template and chat_template else None


def run_harness(
    model: TrimixLM,
    tasks: Sequence[str],
    *,
    include: Sequence[Path] = (),
    shots: int | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """The harness's results of some of its tasks, and of those whose YAML lies in `include`.

    Raises:
        UsageError: an unknown task.
        TrimixError: a task's data cannot be had.
    """
    manager = TaskManager(include_path=[str(path) for path in include] or None)
    unknown = [name for name in tasks if not manager.match_tasks([name])]
    if unknown:
        raise UsageError(f"lm-evaluation-harness has no task {unknown[0]!r}; see its `lm-eval ls`")
    try:
        found = simple_evaluate(
            model=model,
            tasks=list(tasks),
            num_fewshot=shots,
            limit=limit,
            task_manager=manager,
            apply_chat_template=model.template is not None,
            log_samples=False,
            bootstrap_iters=1000,
            random_seed=seed,
            numpy_random_seed=seed,
            fewshot_random_seed=seed,
        )
    except (OSError, ValueError) as error:  # what `datasets` raises without network
        reason = " ".join(str(error).split())
        raise TrimixError(
            f"the data of {', '.join(tasks)} cannot be had: {reason} (--download lets the harness "
            "fetch them)"
        ) from None
    return {
        name: {key: value for key, value in own.items() if isinstance(value, int | float | str)}
        for name, own in found["results"].items()
    }
