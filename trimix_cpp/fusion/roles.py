"""The roles of a trio, by name and in order. No other module lists them."""

from __future__ import annotations

ROLES = ("large", "cpt", "base", "large_base")
"""In the order of sums. The first that is in use is the reference: its ids are the alphabet."""

TRIO_ROLES = ROLES[:3]
"""The roles of Eq. 5."""

PRECEDENCE = ("cpt", "base", "large", "large_base")
"""By what they bear in the fusion: a file that several share is treated as the first one's."""

DRAFT = "draft"
"""A model that is no part of the fusion, and only drafts tokens for it."""

ALL_ROLES = (*ROLES, DRAFT)
