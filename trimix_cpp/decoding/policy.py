"""How many tokens to draft: the decision of speculative decoding, on a page. Nothing is run here.

A round of k drafts costs what it costs, and gives 1 + p + p^2 + ... + p^k tokens on average if each
draft is right with probability p. What is known of p is a Beta distribution, and the mean over it
is taken: a little evidence never justifies a deep round, because deep rounds need p near 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

# Tokens in a batch, one of them not a draft, that are tried and measured: kernels like some sizes.
SIZES = (2, 3, 4, 5, 6, 8, 12, 16)
# A round must promise so much more than a plain step: below it is noise of clocks and of beliefs.
MARGIN = 1.06
# What is believed before anything was seen, as if of so many drafts so many had been right.
_PRIOR_RIGHT, _PRIOR_WRONG = 1.6, 0.4
# What each further comparison leaves of the older ones: texts change, and with them p.
_KEEP = 0.97


@dataclass
class Belief:
    """How often drafts are right: a Beta distribution of the probability p; forgets slowly.

    Attributes:
        right, wrong: its parameters.
    """

    right: float = _PRIOR_RIGHT
    wrong: float = _PRIOR_WRONG

    @property
    def rate(self) -> float:
        """The mean of p."""
        return self.right / (self.right + self.wrong)

    def note(self, right: int, compared: int) -> None:
        """`compared` drafts were held against what came; `right` of them were right."""
        keep = _KEEP**compared
        self.right = self.right * keep + right
        self.wrong = self.wrong * keep + compared - right


def best_depth(
    step: float, round_seconds: Callable[[int, float], float], belief: Belief, most: int
) -> tuple[int, float]:
    """The depth that promises most tokens a second, and how many; 0 is plain stepping.

    Args:
        step: seconds of a plain step, which gives one token.
        round_seconds: what a round takes, given its depth and the probability that all are right.
        belief: about the drafter.
        most: drafts that there is room for; tried as well as those that fill one of `SIZES`.
    """
    best, speed, tokens, all_right = 0, 1 / step, 1.0, 1.0
    for depth in range(1, most + 1):
        # The mean of p^depth over the distribution, from that of p^(depth - 1).
        all_right *= (belief.right + depth - 1) / (belief.right + belief.wrong + depth - 1)
        tokens += all_right
        if depth + 1 not in SIZES and depth != most:
            continue
        promised = tokens / round_seconds(depth, all_right)
        if promised > speed * (1 if best else MARGIN):
            best, speed = depth, promised
    return best, speed
