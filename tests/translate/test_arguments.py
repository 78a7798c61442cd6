"""One argument may be spelled in several ways, and no other one stands for it."""

from __future__ import annotations

from itertools import permutations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimix_cpp.markup.arguments import lost_or_invented
from trimix_cpp.markup.icu import arguments

from ..support.growth import assert_linear

# Dialect: argument: its spellings.
SPELLINGS: dict[str, list[list[str]]] = {
    "Qt": [["%1", "%L1"], ["%2", "%L2"], ["%n", "%Ln"], ["%12", "%L12"]],
    "Python by name": [
        ["%(n)d", "%(n)5d", "%(n)i", "%(n)-3d"],
        ["%(n)s", "%(n)10s"],
        ["%(share).1f", "%(share)f", "%(share)g"],
    ],
    "Python fields": [["{0}", "{0:.2f}", "{0!r}", "{0:>8}"], ["{x}", "{ x }", "{x!s}", "{x:d}"]],
    "ICU": [["{n}", "{n, number}", "{n, number, integer}"], ["{d, date}", "{d, date, short}"]],
    "shell": [["$HOME", "${HOME}"], ["$1", "${1}"]],
    "Ruby": [["%{count}", "%<count>d", "%<count>05d"]],
    "templates": [
        ["{{name}}", "{{ name }}"],
        ["{% if a %}", "{%if a%}", "{%  if a  %}"],
        ["<%= x %>", "<%=x%>"],
        ["{{{raw}}}", "{{{ raw }}}"],
    ],
    "markup": [["<br/>", "<br />"], ["<0/>", "<0 />"], ["</b>", "</b >"]],
    "dates": [["%d %B", "%-d %B", "%B %d"]],
    "Delphi": [["%0:s %1:d", "%1:d %0:s", "%1:5d %0:-10s"]],
    "Symfony": [["%count%"], ["%name%"]],
    "i18next": [["$t(key)"], ["$t(other)"]],
}


@pytest.mark.parametrize("dialect", SPELLINGS)
def test_spellings_of_one_argument_are_alike_and_of_two_are_not(dialect: str) -> None:
    for spellings in SPELLINGS[dialect]:
        for ours, theirs in product(spellings, repeat=2):
            assert lost_or_invented(f"Open {ours} now", f"ئاچ {theirs} ھازىر") == ()
            assert lost_or_invented(f"Open {ours}", f"{theirs} {theirs}") != ()
            assert lost_or_invented(f"Open {ours}", "ئاچ") != ()
    for one, other in permutations(SPELLINGS[dialect], 2):
        for ours, theirs in product(one, other):
            reasons = lost_or_invented(f"Open {ours} now", f"ئاچ {theirs} ھازىر")
            assert [reason.split()[0] for reason in reasons] == ["loses", "invents"]


@given(
    st.lists(st.sampled_from(["%s", "%d", "%5d", "%.2f", "%lu", "%@", "%c"]), min_size=1).flatmap(
        lambda plain: st.tuples(st.just(plain), st.permutations(range(len(plain))))
    )
)
def test_numbers_may_stand_for_places(drawn: tuple[list[str], list[int]]) -> None:
    plain, order = drawn
    numbered = " ".join(f"%{i + 1}${plain[i][1:]}" for i in order)
    source = " ".join(plain)
    assert lost_or_invented(source, numbered) == ()
    assert lost_or_invented(numbered, source) == ()
    assert lost_or_invented(numbered, " ".join(sorted(numbered.split(" ")))) == ()
    less = numbered.split(" ")[1:]
    assert any("loses" in reason for reason in lost_or_invented(source, " ".join(less)))


@given(st.integers(1, 4).flatmap(lambda n: st.permutations(range(n))))
def test_fields_may_be_numbered_too(order: list[int]) -> None:
    plain = " ".join("{}" for _ in order)
    numbered = " ".join(f"{{{i}}}" for i in order)
    assert lost_or_invented(plain, numbered) == ()
    assert lost_or_invented(numbered, plain) == ()


@pytest.mark.parametrize(
    ("source", "translation", "reasons"),
    [
        ("%*d %s", "%2$d %3$s", ()),  # the star takes an argument
        ("%*d %s", "%1$d %2$s", ("loses %*d, %s", "invents %1$d, %2$s")),
        ("%s %s", "%s", ("loses %s",)),
        ("%5d %s", "%s %d", ("changes the order of %5d %s",)),
        ("%lu", "%u", ("loses %lu", "invents %u")),
        ("%d", "%u", ("loses %d", "invents %u")),
        ("%1", "%1$s", ("loses %1", "invents %1$s")),
        ("%L1 %s", "%1 %s", ()),
        ("%L1 %s", "%1 %L1 %s", ("invents %L1",)),
        ("%1 % of it", "%1 it", ()),
        ("50% of %50", "%50 of it", ()),
        ("50 %", "%50", ()),
        ("\x1b[1mOpen\x1b[0m", "ئاچ", ("loses \x1b[1m, \x1b[0m",)),
        ("<0>Open</0> it", "ئاچ", ("loses <0>, </0>",)),
        ("50%<b>now</b>", "50%<b>x</b>", ()),
    ],
)
def test_judgements(source: str, translation: str, reasons: tuple[str, ...]) -> None:
    assert lost_or_invented(source, translation) == reasons


COUNT = "{n, plural, =0 {no files} one {# file} other {# files in {name}}}"
WHO = "{who, select, male {He} female {She} other {They}} opened {name}."


@pytest.mark.parametrize(
    ("source", "translation", "reasons"),
    [
        (COUNT, "{n, plural, =0 {يوق} other {{name} دا # ھۆججەت}}", ()),
        (COUNT, COUNT.replace("one", "few"), ()),
        (COUNT, COUNT.replace("#", ""), ("loses # in {n, plural}",)),
        (COUNT, COUNT.replace("=0 {no files}", ""), ("changes the cases of {n, plural}: =0",)),
        (COUNT, COUNT.replace("{name}", ""), ("loses {name}",)),
        (COUNT, COUNT.replace("other", "one"), ("changes the cases of {n, plural}: other",)),
        (COUNT, "ھۆججەت {name}", ("loses {n, plural}",)),
        (COUNT, COUNT[:-1], ("loses {n, plural}",)),
        (WHO, "{who, select, male {ئۇ} female {ئۇ} other {ئۇلار}} {name} نى ئاچتى.", ()),
        (WHO, WHO.replace("male {He} fe", "er {ئۇ} fe"), ("changes the cases of {who, select}",)),
        (WHO, WHO.replace("{name}", ""), ("loses {name}",)),
        ("Open {name}", COUNT, ("invents {n, plural}",)),
        (f"{{a, select, x {{{COUNT}}} other {{}}}}", COUNT, ("loses {a, select}",)),
    ],
)
def test_icu(source: str, translation: str, reasons: tuple[str, ...]) -> None:
    found = lost_or_invented(source, translation)
    assert len(found) >= len(reasons)
    for reason in reasons:
        assert any(one.startswith(reason) for one in found)
    assert bool(found) == bool(reasons)


def test_quoted_braces_are_text_in_icu() -> None:
    (argument,) = arguments("{n, plural, other {'{'#}}")
    assert argument.counts
    assert argument.branches[0][0] == "other"


@pytest.mark.parametrize(
    "unit",
    ["1", "`", "&a;", "&a ", "<x>", "{", "{n, plural, ", "{n, plural, one {", "a%", "a@", "%1",
     "%s", "{a}", "$a", "<a ", "\\n", "- ", "1 ", "1,", "-k ", "[y/n]", "http://", "<!--",
     "{{", "1.", "{n, plural, other {#}}"],
)  # fmt: skip
def test_long_texts_take_time_in_proportion(unit: str) -> None:
    from trimix_cpp.markup.placeholders import passes_through
    from trimix_cpp.translate.context import Context
    from trimix_cpp.translate.faults import lost

    markdown = Context(frozenset({"markdown"}))
    assert_linear(lambda text: lost(text, text[1:], markdown), unit, 1_000)
    assert_linear(lambda text: passes_through(text + "x"), unit, 1_000)
