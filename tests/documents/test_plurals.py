"""Plural categories are CLDR's, and a form is made from the text that fits all of its numbers."""

from __future__ import annotations

import pytest
from babel import Locale
from babel.core import UnknownLocaleError

from trimix_cpp.documents.plurals import categories, category_sources
from trimix_cpp.prompts import known_languages


@pytest.mark.parametrize("code", sorted({entry.code for entry in known_languages().values()}))
def test_categories_are_those_of_cldr(code: str) -> None:
    entry = known_languages()[code]
    for alias in (*entry.aliases, code):
        try:
            rule = Locale.parse(alias).plural_form
            break
        except (UnknownLocaleError, ValueError):
            pass
    else:
        assert categories(code) == ("other",)  # the root's
        return
    assert set(categories(code)) == set(rule.tags) | {"other"}
    ones = [n for n in range(1000) if rule(n) == "one"]
    given = {"one": "One file", "other": "%d files"}
    sources = category_sources(given, code)
    assert set(sources) == set(categories(code))
    if ones:
        assert sources["one"] == ("one" if ones == [1] else "other")
    assert set(sources.values()) <= {"one", "other"}


def test_a_text_with_its_number_serves_for_more_than_one() -> None:
    given = {"one": "%d file", "other": "%d files"}
    assert category_sources(given, "rus") == {
        "one": "one", "few": "other", "many": "other", "other": "other"
    }  # fmt: skip
    assert category_sources(given, "bod") == {"other": "other"}
    assert category_sources({"many": "x"}, "uig") == {"one": "many", "other": "many"}
