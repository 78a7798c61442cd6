"""Languages, the paper's prompt, and chat templates, hostile ones among them."""

from __future__ import annotations

import time

import pytest

from trimix_cpp.errors import TrimixError, UsageError
from trimix_cpp.prompts import templates as prompts
from trimix_cpp.prompts.languages import known_languages, language
from trimix_cpp.prompts.paper import translation_prompt
from trimix_cpp.prompts.templates import ChatTemplate

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SAID = [{"role": "user", "content": "ياخشىمۇسىز"}, {"role": "assistant", "content": "བཀྲ་ཤིས།"}]


def rendered(source: str, **tokens: str) -> str:
    with ChatTemplate(source, **tokens) as template:
        return template.render(SAID)


@pytest.mark.parametrize(
    ("code", "name", "script", "direction"),
    [
        ("eng", "English", "Latn", "ltr"),
        ("uig", "Uyghur", "Arab", "rtl"),
        ("bod", "Tibetan", "Tibt", "ltr"),
        ("kaz", "Kazakh", "Cyrl", "ltr"),
        ("mvf", "Mongolian", "Mong", "ttb"),
        ("khk", "Mongolian", "Cyrl", "ltr"),
        ("tam", "Tamil", "Taml", "ltr"),
        ("tel", "Telugu", "Telu", "ltr"),
        ("ory", "Odia", "Orya", "ltr"),
        ("ben", "Bengali", "Beng", "ltr"),
    ],
)
def test_the_papers_languages(code: str, name: str, script: str, direction: str) -> None:
    found = language(code)
    assert (found.code, found.name) == (code, name)
    assert (found.scripts[0], found.direction) == (script, direction)


@pytest.mark.parametrize(
    ("given", "code"),
    [("ug", "uig"), ("UG", "uig"), ("bo", "bod"), ("tib", "bod"), ("mn", "mon"), ("or", "ory"),
     ("ori", "ory"), (" kk ", "kaz"), ("zh", "zho"), ("bn", "ben")],
)  # fmt: skip
def test_other_codes(given: str, code: str) -> None:
    assert language(given).code == code


@pytest.mark.parametrize(
    ("given", "code", "script"),
    [("ug_CN", "uig", "Arab"), ("uig-CN", "uig", "Arab"), ("UG-arab-cn", "uig", "Arab"),
     ("zh-Hans", "zho", "Hans"), ("zh_TW", "zho", "Hant"), ("mn-Mong", "mvf", "Mong"),
     ("mn_CN", "mvf", "Mong"), ("mn_MN", "mon", "Cyrl"), ("kk_KZ", "kaz", "Cyrl"),
     ("kk_KZ@arabic.UTF-8", "kaz", "Arab"), ("kk_KZ.UTF-8@arabic", "kaz", "Arab"),
     ("kk-CN", "kaz", "Arab"), ("pt_BR", "por", "Latn"), ("en_US", "eng", "Latn"),
     ("en_US_POSIX", "eng", "Latn"), ("de_DE@euro", "deu", "Latn"), ("bo_CN.utf8", "bod", "Tibt"),
     ("mvf_CN", "mvf", "Mong"), ("pa_PK", "pan", "Arab")],
)  # fmt: skip
def test_a_region_script_or_charset_may_follow(given: str, code: str, script: str) -> None:
    """What is plain, or in the usual script of the code alone, is the language as it stands."""
    found = language(given)
    assert (found.code, found.scripts[0]) == (code, script)
    assert set(found.scripts) == set(language(code).scripts)
    if language(code).scripts[0] == script:
        assert found is language(code)


@pytest.mark.parametrize("given", ["xx_CN", "ug_CNN", "ug_", "_CN", "zh-x-y", "@arabic", "ug CN"])
def test_what_is_no_tag_is_unknown(given: str) -> None:
    with pytest.raises(UsageError, match="unknown language"):
        language(given)


def test_a_language_in_a_foreign_script_is_refused() -> None:
    with pytest.raises(UsageError, match="Tibt, but in Arab, Latn, Cyrl"):
        language("ug-Tibt")


def test_every_code_is_unique_and_well_formed() -> None:
    entries = set(known_languages().values())
    codes = [code for entry in entries for code in (entry.code, *entry.aliases)]
    assert len(codes) == len(set(codes)) == len(known_languages())
    assert all(len(entry.code) == 3 and entry.code.islower() for entry in entries)
    assert all(len(script) == 4 for entry in entries for script in entry.scripts)


@pytest.mark.parametrize(
    ("given", "hint"),
    [("uiq", "uig (Uyghur)"), ("uyghur", "uig (Uyghur)"), ("Tibetan", "bod (Tibetan)"),
     ("xx!", "eng, uig, bod"), ("", "eng, uig, bod"), ("ئۇيغۇر", "eng, uig, bod")],
)  # fmt: skip
def test_an_unknown_language_is_a_usage_error_with_a_hint(given: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        language(given)
    assert hint in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_the_papers_translation_prompt() -> None:
    prompt = translation_prompt("Open file", language("eng"), language("uig"))
    assert prompt == (
        "Please translate the following English text into Uyghur.\nEnglish: Open file\nUyghur: "
    )


def test_exemplars_come_first_with_a_blank_line_between() -> None:
    shots = [("Close", "تاقا"), ("Save", "ساقلا")]
    prompt = translation_prompt("Open", language("eng"), language("uig"), shots)
    ask = "Please translate the following English text into Uyghur.\nEnglish: "
    assert prompt == (
        f"{ask}Close\nUyghur: تاقا\n\n{ask}Save\nUyghur: ساقلا\n\n{ask}Open\nUyghur: "
    )


def test_chatml() -> None:
    with ChatTemplate(CHATML) as template:
        text = template.render(SAID)
        assert text == (
            "<|im_start|>user\nياخشىمۇسىز<|im_end|>\n<|im_start|>assistant\nབཀྲ་ཤིས།<|im_end|>\n"
            "<|im_start|>assistant\n"
        )
        assert (
            template.render(SAID, add_generation_prompt=False) + ("<|im_start|>assistant\n") == text
        )


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ bos_token }}|{{ eos_token }}", "<s>|</s>"),
        ("  {% if true %}\nx\n  {% endif %}\n", "x\n"),  # trim_blocks, lstrip_blocks
        ("{% for i in range(9) %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% endfor %}", "01"),
        ("{{ {'a': 'ئا<'} | tojson }}", '{"a": "ئا<"}'),
        ("{{ [1] | tojson(indent=1) }}", "[\n 1\n]"),
        ("{% generation %}x{% endgeneration %}", "x"),
        ("{{ tools is none }}{{ documents is none }}", "TrueTrue"),
        ("{{ unknown }}", ""),
        ("{{ messages[0]['content'].split('خ')[0] }}", "يا"),
        ("{{ strftime_now('%%') }}", "%"),
        ("", ""),
    ],
)
def test_templates_have_what_transformers_gives_them(source: str, text: str) -> None:
    assert rendered(source, bos="<s>", eos="</s>") == text


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("{% if %}", "line 1"),
        ("{{ a.b.c }}", "'a' is undefined"),
        ("{{ raise_exception('no\nsystem role') }}", "no system role"),
        ("{{ 1 // 0 }}", "zero"),
        ("{{ '\\ud800' }}", "half a character, U+D800"),
        ("a{{ 'b' ~ '\\udfff' }}", "half a character, U+DFFF"),
        (
            "{{ raise_exception('a\x1b]0;OWNED\x07\x1b[2Jc\u202e') }}",
            r"fails: a\x1b]0;OWNED\x07\x1b[2Jc\u202e",
        ),
        ("{{ raise_exception('\\ud800') }}", r"fails: \ud800"),
        ("{% include 'x' %}", "loader"),
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
        ("{{ messages.append(1) }}", "unsafe"),
        ("{{ messages[0].clear() }}", "unsafe"),
        ("{% for i in range(10**9) %}{% endfor %}", "range"),
        ("{{ 'a' * 10**10 }}", "memory"),
        ("{{ 'a' | center(10**10) }}", "memory"),
        ("{% for i in range(99999) %}{{ 'a' * 99999 }}{% endfor %}", "4,000,000 characters"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "nested too deeply"),
        ("{{ " + "(" * 50000 + ")" * 50000 + " }}", "nested too deeply"),
    ],
)
def test_a_bad_template_is_one_line(source: str, why: str) -> None:
    with pytest.raises(TrimixError, match="chat template") as caught:
        rendered(source)
    assert why.lower() in str(caught.value).lower()
    assert "\n" not in str(caught.value)


HOSTILE = [
    "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "{{ 9 ** (9 ** 9) }}",
    "{% set n = namespace(x='a') %}{% for i in range(99) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
    "{% set n = namespace(x=['']) %}{% for i in range(99) %}{% set n.x = [n.x, n.x] %}{% endfor %}"
    "{{ n.x }}",
]


@pytest.mark.parametrize("source", HOSTILE)
def test_a_hostile_template_is_stopped(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompts, "MAX_SECONDS", 1.0)
    began = time.monotonic()
    with ChatTemplate(source) as template:
        with pytest.raises(TrimixError, match="chat template"):
            template.render(SAID)
        # It fails again, and is not stuck.
        with pytest.raises(TrimixError, match="chat template"):
            template.render(SAID)
    assert time.monotonic() - began < 20


def test_a_template_that_is_too_long_is_not_tried() -> None:
    with pytest.raises(TrimixError, match="characters"):
        ChatTemplate("x" * (prompts.MAX_SOURCE + 1))


def test_a_template_works_again_after_close_and_after_an_error() -> None:
    source = "{% if messages %}{{ raise_exception('no') }}{% endif %}fine"
    with ChatTemplate(source) as template:
        with pytest.raises(TrimixError):
            template.render(SAID)
        assert template.render([]) == "fine"
        template.close()
        template.close()
        assert template.render([]) == "fine"
