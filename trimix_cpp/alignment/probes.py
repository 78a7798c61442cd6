"""Short texts that two tokenizers must split alike before their models are fused.

Each is chosen for something that tokenizers disagree about: scripts and their marks, digits, white
space, characters outside the plane, composed against decomposed forms, code, names of control
tokens. Lines marked UDHR are from the Universal Declaration of Human Rights.
"""

from __future__ import annotations

import unicodedata

LANGUAGES = (
    # Uyghur, UDHR
    "ئىنسانلار ئائىلىسىنىڭ بارلىق ئەزالىرنىڭ ئۆزىگە خاس ئىززەت-ھۆرمىتىنى،",
    "سۆز بېشى: دۇنيا كىشىلىك ھوقۇقى خىتابنامىسى.",
    # Tibetan, UDHR
    "༄༅༎ ཡོངས་ཁྱབ་གསལ་བསྒྲགས་འགྲོ་བ་མིའི་ཐོབ་ཐང༌།",
    # Kazakh, Cyrillic (UDHR) and Arabic script
    "Адам баласы үйелменінің барлық мүшелеріне тән қадір‐қасиетін,",
    "قازاق ٴتىلى — ٴبىزدىڭ انا ٴتىلىمىز.",
    # Mongolian, Cyrillic (UDHR) and vertical script
    "Хүн төрөлхтөний гэр бүлийн бүх гишүүнд угаас заяасан нэр төр",
    "ᠮᠣᠩᠭᠣᠯ ᠬᠡᠯᠡ ᠪᠢᠴᠢᠭ᠌᠃ ᠮᠣᠩᠭᠣᠯ ᠤᠨ",
    "தமிழ் ஒரு பழமையான மொழி; அது இனிது.",
    "తెలుగు ఒక ద్రావిడ భాష. నమస్కారం!",
    "ଓଡ଼ିଆ ଏକ ଭାରତୀୟ ଭାଷା। ନମସ୍କାର",
    "বাংলা ভাষা আমার মাতৃভাষা। কেমন আছ?",
    "It's the users' 1st choice, isn't it? THEY'LL say \u201cyes\u201d\u2014or won\u2019t.",
    "人人生而自由,在尊严和权利上一律平等。",
    "हिन्दी में क्षत्रिय, ภาษาไทยไม่มีช่องว่าง, 日本語とカタカナ、한국어, עברית, Ελληνικά",
)

DIGITS = (
    "0 7 42 365 2024 31415 1000000 3.14159 1,234,567.89 1e-9 0x1F 12:30",
    "۱۲۳۴۵ ٠١٢٣ १२३४ ১২৩৪ ௧௨௩ ౧౨౩ ୧୨୩ ༡༢༣ ᠐᠑᠒ １２３ ² ½ Ⅷ",
)

WHITE_SPACE = (
    " ",
    "a b  c   d    e        f",
    " leading and trailing ",
    "\n",
    "one\ntwo\n\nthree\n\n\n\tfour",
    "dos\r\nline\r\n\r\nends\r",
    "\ttab\t\ttabs \t mixed \n \t end",
    "no\u00a0break\u202fnarrow\u3000ideographic\u2003em",
    "می\u200cخواهم क\u094d\u200dष zero\u200bwidth \ufeffmark \u00adsoft",
    "left\u200eright\u200fmarks \u2067isolate\u2069",
)

SYMBOLS = (
    "😀 👍🏽 👩‍👩‍👧‍👦 🏳️‍🌈 🇰🇿 ☺️ 1️⃣",
    "𐰼 𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𠮷野家 \U0010fffd \ue000",
    "\u0301 \u0fb2\u0f71\u0f80 \u0bcd \u064b",
    "e\u0301\u0302\u0303 a\u0323\u0308 ﬁ Å Ω ﷺ ﻻ",
    '<p class="x">if (a[i] != b->c) { return ~x ^ 0xFF; } // TODO\n    def f(x):\n        pass',
    "https://example.org/?q=%D8%A6&x=1#top user@example.org C:\\temp\\_file-name.tar.gz",
    "!!! ... ??? --- === ### ***bold*** $x_{i}^2$ #tag @me &amp; … « » “ ” ‘ ’",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa CamelCaseWORDSandXMLHttpRequest",
    "\x00\x01\x1b[0m\x7f\x85",
)

# Composed and decomposed: the first of each pair is what people type, the second what files have.
FORMS = tuple(
    unicodedata.normalize(form, text)
    for text in ("café naïve Việt Nam Ångström", "ئۇيغۇر ئېلى آ", "ক়ো ড় ொ ଡ଼ བཀྲིས", "각하 が")
    for form in ("NFC", "NFD")
)

# Names that some model takes for one token.
NAMES = (
    "x<s> </s> <unk> <pad> <bos> <eos> [PAD] [UNK] [INST] <mask>",
    "<|endoftext|><|im_start|>user\n<|im_end|>\n<|begin_of_text|><|eot_id|>",
    "<start_of_turn>user\n<end_of_turn>\n<|end|><0x0A><unused0>",
    "</s>",
    "▁ ▁▁ _ Ġ Ċ ## @@",
)

TEXTS = ("", *LANGUAGES, *DIGITS, *WHITE_SPACE, *SYMBOLS, *FORMS, *NAMES)


def naming(name: str) -> str:
    """A text that holds the name of a token next to letters, spaces and itself."""
    return f"a{name}b {name} c\n{name}{name}"
