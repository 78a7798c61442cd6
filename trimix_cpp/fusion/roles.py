"""The roles of a trio, by name and in order."""

from __future__ import annotations

ROLES = ("large", "cpt", "base", "large_base")
# A model that is no part of the fusion, and only drafts tokens for it.
DRAFT = "draft"
ALL_ROLES = (*ROLES, DRAFT)
