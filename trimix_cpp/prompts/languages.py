"""Languages: their codes, names, scripts and directions."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

from ..errors import UsageError

Direction = Literal["ltr", "rtl", "ttb"]

# What locales of glibc call a script.
_MODIFIERS = {"arabic": "Arab", "cyrillic": "Cyrl", "devanagari": "Deva", "latin": "Latn"}
_RTL_SCRIPTS = frozenset({"Arab", "Hebr", "Thaa", "Syrc", "Nkoo", "Adlm"})

# ISO 639-3 code, other accepted codes (ISO 639-1, ISO 639-2/B, macrolanguage), scripts (ISO 15924,
# the usual one first), English name. The names of the paper's languages are those of its prompts.
_TABLE = """
eng en Latn English
uig ug Arab,Latn,Cyrl Uyghur
bod bo,tib Tibt Tibetan
kaz kk Cyrl,Arab Kazakh
mvf - Mong Mongolian
khk - Cyrl Mongolian
mon mn Cyrl,Mong Mongolian
tam ta Taml Tamil
tel te Telu Telugu
ory or,ori Orya Odia
ben bn Beng Bengali
zho zh,chi,cmn Hans,Hant Chinese
asm as Beng Assamese
guj gu Gujr Gujarati
hin hi Deva Hindi
kan kn Knda Kannada
mal ml Mlym Malayalam
mar mr Deva Marathi
mai - Deva Maithili
npi ne,nep Deva Nepali
pan pa Guru,Arab Punjabi
san sa Deva Sanskrit
sat - Olck Santali
sin si Sinh Sinhala
snd sd Arab,Deva Sindhi
urd ur Arab Urdu
div dv Thaa Dhivehi
dzo dz Tibt Dzongkha
mya my,bur Mymr Burmese
khm km Khmr Khmer
lao lo Laoo Lao
tha th Thai Thai
vie vi Latn Vietnamese
ind id Latn Indonesian
zsm ms,msa,may Latn Malay
jav jv Latn Javanese
tgl tl,fil Latn Filipino
jpn ja Jpan Japanese
kor ko Kore Korean
kir ky Cyrl,Arab Kyrgyz
uzn uz,uzb Latn,Cyrl Uzbek
tuk tk Latn Turkmen
tgk tg Cyrl Tajik
tat tt Cyrl Tatar
bak ba Cyrl Bashkir
tyv - Cyrl Tuvan
bua - Cyrl Buryat
sah - Cyrl Yakut
aze az Latn,Arab Azerbaijani
tur tr Latn Turkish
pes fa,fas,per Arab Persian
pbt ps,pus Arab Pashto
ckb ku,kur Arab Kurdish
arb ar,ara Arab Arabic
heb he Hebr Hebrew
hye hy,arm Armn Armenian
kat ka,geo Geor Georgian
amh am Ethi Amharic
tir ti Ethi Tigrinya
swh sw,swa Latn Swahili
hau ha Latn Hausa
ibo ig Latn Igbo
yor yo Latn Yoruba
zul zu Latn Zulu
xho xh Latn Xhosa
som so Latn Somali
rus ru Cyrl Russian
ukr uk Cyrl Ukrainian
deu de,ger Latn German
fra fr,fre Latn French
spa es Latn Spanish
por pt Latn Portuguese
ita it Latn Italian
eus eu,baq Latn Basque
glg gl Latn Galician
est et Latn Estonian
kin rw Latn Kinyarwanda
sna sn Latn Shona
nya ny Latn Chichewa
plt mg,mlg Latn Malagasy
gaz om,orm Latn Oromo
sot st Latn Sesotho
tsn tn Latn Setswana
afr af Latn Afrikaans
ary - Arab Moroccan Arabic
arz - Arab Egyptian Arabic
ceb - Latn Cebuano
ilo - Latn Ilocano
sun su Latn Sundanese
war - Latn Waray
min - Latn Minangkabau
"""


# What speakers call their language, in its usual script, where that is not the English name.
_OWN_NAMES = {
    "uig": "ئۇيغۇرچە", "bod": "བོད་སྐད་", "kaz": "қазақ тілі", "mvf": "ᠮᠣᠩᠭᠣᠯ ᠬᠡᠯᠡ",
    "khk": "монгол хэл", "mon": "монгол хэл", "tam": "தமிழ்", "tel": "తెలుగు",
    "ory": "ଓଡ଼ିଆ", "ben": "বাংলা", "zho": "中文", "asm": "অসমীয়া",
    "guj": "ગુજરાતી", "hin": "हिन्दी", "kan": "ಕನ್ನಡ", "mal": "മലയാളം",
    "mar": "मराठी", "mai": "मैथिली", "npi": "नेपाली", "pan": "ਪੰਜਾਬੀ",
    "san": "संस्कृतम्", "sat": "ᱥᱟᱱᱛᱟᱲᱤ", "sin": "සිංහල", "snd": "سنڌي",
    "urd": "اردو", "div": "ދިވެހި", "dzo": "རྫོང་ཁ་", "mya": "မြန်မာ",
    "khm": "ខ្មែរ", "lao": "ລາວ", "tha": "ไทย", "vie": "Tiếng Việt",
    "ind": "Bahasa Indonesia", "zsm": "Bahasa Melayu", "jav": "Basa Jawa",
    "jpn": "日本語", "kor": "한국어", "kir": "кыргызча", "uzn": "oʻzbekcha",
    "tuk": "türkmençe", "tgk": "тоҷикӣ", "tat": "татарча", "bak": "башҡортса",
    "tyv": "тыва дыл", "bua": "буряад хэлэн", "sah": "саха тыла",
    "aze": "azərbaycanca", "tur": "Türkçe", "pes": "فارسی", "pbt": "پښتو",
    "ckb": "کوردی", "arb": "العربية", "heb": "עברית", "hye": "հայերեն",
    "kat": "ქართული", "amh": "አማርኛ", "tir": "ትግርኛ", "swh": "Kiswahili",
    "yor": "Yorùbá", "zul": "isiZulu", "xho": "isiXhosa", "som": "Soomaali",
    "rus": "русский", "ukr": "українська", "deu": "Deutsch", "fra": "français",
    "spa": "español", "por": "português", "ita": "italiano", "eus": "euskara",
    "glg": "galego", "est": "eesti", "kin": "Ikinyarwanda", "sna": "chiShona",
    "nya": "Chicheŵa", "gaz": "Afaan Oromoo", "ary": "الدارجة", "arz": "مصرى",
    "ilo": "Ilokano", "sun": "Basa Sunda", "war": "Winaray", "min": "Minangkabau",
}  # fmt: skip


@dataclass(frozen=True)
class Language:
    """A language.

    Attributes:
        code: ISO 639-3.
        aliases: other codes for it: ISO 639-1 first where it has one, 639-2/B, macrolanguage.
        name: in English, as the paper's prompts name it.
        scripts: ISO 15924, the usual one first.
    """

    code: str
    aliases: tuple[str, ...]
    name: str
    scripts: tuple[str, ...]

    @property
    def own_name(self) -> str:
        """What its speakers call it."""
        return _OWN_NAMES.get(self.code, self.name)

    @property
    def direction(self) -> Direction:
        """Of its usual script: "ltr", "rtl", or "ttb" for columns (Mongolian, left to right)."""
        if self.scripts[0] == "Mong":
            return "ttb"
        return "rtl" if self.scripts[0] in _RTL_SCRIPTS else "ltr"


@cache
def known_languages() -> Mapping[str, Language]:
    """Every known language, by each of its codes."""
    table: dict[str, Language] = {}
    for line in _TABLE.strip().splitlines():
        code, others, scripts, name = line.split(maxsplit=3)
        aliases = () if others == "-" else tuple(others.split(","))
        entry = Language(code, aliases, name, tuple(scripts.split(",")))
        table.update(dict.fromkeys((code, *aliases), entry))
    return table


def language(code: str) -> Language:
    """The language with this ISO 639-3 or 639-1 code; case does not matter.

    A script, region or charset may follow, as in `zh-Hans`, `ug_CN` or `kk_KZ.UTF-8@arabic`: the
    usual script of what is found is then the one that is written there.

    Raises:
        UsageError: no language here has this code; the line names close or known ones.
    """
    known = known_languages()
    wanted = code.strip().lower()
    if wanted in known:
        return known[wanted]
    if found := _tagged(code.strip()):
        return found
    names = {entry.name.lower(): entry for entry in known.values()}
    close = [names[wanted]] if wanted in names else []
    close += [known[match] for match in difflib.get_close_matches(wanted, known, n=3)]
    shown = ", ".join(f"{entry.code} ({entry.name})" for entry in dict.fromkeys(close))
    codes = ", ".join(list(dict.fromkeys(entry.code for entry in known.values()))[:11])
    hint = f"did you mean {shown}?" if shown else f"known are ISO 639 codes such as {codes}"
    raise UsageError(f"unknown language {code!r}; {hint}")


def varieties(code: str) -> frozenset[str]:
    """Codes of the languages that share a name: mon, khk and mvf are all called Mongolian."""
    table = known_languages()
    name = table[code].name if code in table else None
    return frozenset(entry.code for entry in table.values() if entry.name == name)


def script_notice(who: str, scripts: Sequence[str], wanted: Language) -> str | None:
    """What somebody who asked for a language must know of text in `scripts`, which `who` was
    trained on; None where that is the language's usual script, or where `scripts` is empty.
    """  # noqa: D205
    if not scripts or wanted.scripts[0] in scripts:
        return None
    names = {"Arab": "Arabic", "Mong": "traditional Mongolian", "Cyrl": "Cyrillic", "Latn": "Latin"}
    its, usual = (names.get(script, script) for script in (scripts[0], wanted.scripts[0]))
    return (
        f"the {wanted.name} of {who} is in {its} script; it has hardly seen any in {usual} script"
    )


def _tagged(text: str) -> Language | None:
    """The language of a tag (BCP 47) or a locale (glibc's); None where it is neither.

    Raises:
        UsageError: the language is not written in that script.
    """
    import langcodes
    from langcodes.tag_parser import LanguageTagError

    tag, *locale = re.split("[.@]", text)
    first = re.split("[-_]", tag)[0].lower()
    entry = known_languages().get(first)
    try:
        found = langcodes.Language.get(tag, normalize=False)
    except LanguageTagError:
        return None
    if entry is None or found.extlangs or found.private:
        return None
    named = next((_MODIFIERS[part.lower()] for part in locale if part.lower() in _MODIFIERS), None)
    script = found.script or named
    if script is None and found.territory:
        # Kazakh of China is in Arabic script, Chinese of Taiwan in traditional characters.
        likely = langcodes.Language.get(tag).maximize().script  # uig is ug there
        script = likely if likely in entry.scripts else None
    return entry if script is None else _written(entry, script)


def _written(entry: Language, script: str) -> Language:
    """`entry`, or the variety of the same name, whose usual script is `script`."""
    if script not in entry.scripts:
        raise UsageError(
            f"{entry.name} is not known here in the script {script}, but in "
            f"{', '.join(entry.scripts)}"
        )
    if script == entry.scripts[0]:
        return entry
    for other in known_languages().values():
        if (other.name, other.scripts[0]) == (entry.name, script):
            return other
    rest = (one for one in entry.scripts if one != script)
    return replace(entry, scripts=(script, *rest))
