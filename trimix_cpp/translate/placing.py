"""What comes into the file of a translation that is there: checked, marked, or kept out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from ..documents import Result
from .faults import Checking
from .units import Layout

OnFault = Literal["mark", "keep", "drop"]
Mark = Literal["all", "faults", "none"]


@dataclass(frozen=True)
class Placing:
    """What becomes of faulty translations; it decides no text of the models.

    Attributes:
        checking: the checks that are made of whole segments.
        on_fault: a faulty one is put in all the same ("mark"), the source stands for it ("keep"),
            or it is left untranslated ("drop").
        mark: which get the format's mark for what is to be reviewed: "all" that the models made,
            those with "faults", or "none".
    """

    checking: Checking = field(default_factory=Checking)
    on_fault: OnFault = "mark"
    mark: Mark = "faults"

    def judged(self, layouts: Sequence[Layout], results: Mapping[int, Result]) -> dict[int, Result]:
        """The results, with what the late checks say of them."""
        out = dict(results)
        for layout in layouts:
            result = results.get(layout.segment.key)
            if result is None or not _made(layout, result):
                continue
            found = self.checking.faults(layout.segment, result.text, late=True)
            reasons = (*result.reasons, *(fault.reason for fault in found))
            out[layout.segment.key] = replace(result, flagged=bool(reasons), reasons=reasons)
        return out

    def placed(self, layouts: Sequence[Layout], judged: Mapping[int, Result]) -> dict[int, Result]:
        """What goes into the file, of results that were `judged`."""
        out = {}
        for layout in layouts:
            result = judged.get(layout.segment.key)
            if result is None:
                continue
            if is_faulty(layout, result) and self.on_fault != "mark":
                if self.on_fault == "drop":
                    continue
                result = replace(result, text=layout.segment.text)
            if self.mark != "faults":
                marked = self.mark == "all" and _made(layout, result)
                result = replace(result, flagged=marked)
            out[layout.segment.key] = result
        return out


def is_faulty(layout: Layout, result: Result) -> bool:
    """Something speaks against the translation itself, not only against its source."""
    return len(result.reasons) > len(layout.segment.notes)


def _made(layout: Layout, result: Result) -> bool:
    return bool(layout.asked) or result.text != layout.segment.text
