"""Texts of a request, or of a file, through `translate`: a task of the engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ..api import languages, translation_task
from ..decoding import Event, Text
from ..errors import TrimixError, UsageError
from ..runtime import DecodingFlags
from ..translate import Layout, Outcome, Recipe, Translator, Unit, units_of
from .engine import Task
from .errors import RequestError
from .trios import Loaded

# (source, target) -> exemplars, by codes of ISO 639-3.
Exemplars = Mapping[tuple[str, str], Sequence[tuple[str, str]]]


class Translating(Task):
    """Translates the units of some layouts.

    Args:
        loaded: the trio.
        recipe: what is asked of it.
        layouts: the texts.
        tell: called by the engine's thread when there is something new: an error, or None.

    Attributes:
        outcomes: what is known so far.
        n_units: how many there will be.
        finished: all of them are there.
    """

    def __init__(
        self,
        loaded: Loaded,
        recipe: Recipe,
        layouts: Sequence[Layout],
        tell: Callable[[TrimixError | None], None],
    ) -> None:
        super().__init__()
        units = units_of(layouts)
        self.outcomes: dict[Unit, Outcome] = {}
        self.n_units, self.finished = len(units), False
        self._loaded, self._recipe, self._tell = loaded, recipe, tell
        self._units = iter(units)
        self._translator: Translator | None = None
        self._dry = not units

    def next(self) -> Text | None:
        """See `Task`."""
        if self._dry:
            return None
        if self._translator is None:
            trio = self._loaded.trimix.trio
            trio.require(self._recipe.chooser(0).roles if self._recipe.chooser else ())
            self._translator = Translator(trio, self._recipe, pins=False)
        text = self._translator.next_text(self._units)
        self._dry = text is None
        if text is None:  # what was too long has an outcome without a text
            self.outcomes.update(self._translator.take_done())
        return text

    @property
    def is_over(self) -> bool:
        """See `Task`."""
        return self._dry

    def take(self, event: Event) -> None:
        """See `Task`."""
        if event.text.stop in (None, "cancelled") or self._translator is None:
            return
        self.outcomes.update(self._translator.finish(event.text))
        self._dry = False  # it may have to be tried again
        self._tell(None)

    def end(self, error: TrimixError | None) -> None:
        """See `Task`."""
        if self._translator is not None:
            self._translator.close()
        self.finished = error is None
        self._tell(error)


def recipe_for(
    loaded: Loaded, flags: DecodingFlags, source: str, target: str, exemplars: Exemplars
) -> Recipe:
    """What is asked of the models for a pair of languages.

    Raises:
        RequestError: an unknown language, or twice the same.
    """
    try:
        pair = languages(source, target)
        shots = exemplars.get((pair[0].code, pair[1].code), ())
        settings, recipe = translation_task(flags, loaded.trimix.settings, *pair, shots=shots)
    except UsageError as error:
        raise RequestError(str(error)) from None
    for role in settings.weighting.roles:
        if role not in settings.spec.roles:
            raise RequestError(f"the weights use {role}, which is not served")
    return recipe
