"""Whether the roles are fused over bytes, and which tokenizations of a text are followed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import UsageError
from .limits import check_limits, shown

if TYPE_CHECKING:
    from ..bytewise import Pruning
    from .drafting import DraftFlags
    from .running import RunFlags
    from .settings import SamplingFlags


@dataclass(frozen=True)
class ByteFlags:
    """Fusion of models with different tokenizers.

    Attributes:
        bytes: fuse over bytes.
        beam: most tokenizations that are followed at once.
        beam_threshold: those with a smaller share of the probability are left out.
    """

    bytes: bool = False
    beam: int = 4
    beam_threshold: float = 1e-3

    def resolve(
        self, run: RunFlags, sampling: SamplingFlags, drafting: DraftFlags
    ) -> Pruning | None:
        """What it means, None for fusion over tokens.

        Raises:
            UsageError: a value is out of its bounds, or other options do not go with bytes.
        """
        if not self.bytes:
            return None
        from ..bytewise import Pruning

        check_limits({"beam": self.beam}, {"beam": "--beam"})
        if not 0 <= self.beam_threshold < 1:
            raise UsageError(f"--beam-threshold is from 0 to 1, not {shown(self.beam_threshold)}")
        refused = {
            "--exact: batches change with the text": run.exact,
            "--repeat-penalty: bytes repeat in any text": sampling.repeat_penalty != 1,
            "--draft: nothing is drafted": str(drafting.draft) not in ("off", "0", "auto")
            or drafting.draft_model is not None,
        }
        for reason, given in refused.items():
            if given:
                raise UsageError(f"--bytes does not go with {reason}")
        return Pruning(self.beam, self.beam_threshold)
