"""What is counted, in the text format of Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

if TYPE_CHECKING:
    from ..decoding import Text

# Seconds to the first token: from what a cached chat takes to a long prompt on a CPU.
_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Metrics:
    """Counters of one server, in a registry of their own.

    Attributes:
        refused: requests that found too many others waiting.
        responses: answers, by status.
        first_token: seconds from a request to its first token.
    """

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self.responses = Counter("trimix_http_responses", "Answers.", ["status"], registry=registry)
        self.refused = Counter("trimix_requests_refused", "Too many waited.", registry=registry)
        self.first_token = Histogram(
            "trimix_time_to_first_token_seconds",
            "From a request to its first token.",
            registry=registry,
            buckets=_BUCKETS,
        )
        self._prompt = Counter("trimix_prompt_tokens", "Of prompts, all.", registry=registry)
        self._cached = Counter(
            "trimix_prompt_tokens_cached", "Of prompts, found evaluated.", registry=registry
        )
        self._generated = Counter("trimix_generation_tokens", "Generated.", registry=registry)
        self._texts = Counter("trimix_texts", "Texts that ended.", ["stop"], registry=registry)
        self._steps = Counter("trimix_steps", "Steps of the decoder.", registry=registry)
        self._stepped = Counter("trimix_stepped_texts", "Texts of all steps.", registry=registry)
        self._running = Gauge("trimix_texts_running", "Texts in the decoder.", registry=registry)
        self._waiting = Gauge("trimix_requests_waiting", "Requests that wait.", registry=registry)

    def stepped(self, n_texts: int) -> None:
        """The decoder took a step with so many texts."""
        self._steps.inc()
        self._stepped.inc(n_texts)

    def load(self, n_running: int, n_waiting: int) -> None:
        """How much there is to do."""
        self._running.set(n_running)
        self._waiting.set(n_waiting)

    def ended(self, text: Text) -> None:
        """A text has ended."""
        self._texts.labels(text.stop).inc()
        self._prompt.inc(text.n_prompt)
        self._cached.inc(text.n_cached)
        self._generated.inc(len(text.generated))

    def document(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self._registry)
