"""Properties of Word's runs, paragraphs, tables and sections, in the order that its schema has."""

from __future__ import annotations

import re

from .lines import Edit
from .xml_file import Element, name_in

# A run's properties, in their order.
_RUN = (
    "rStyle rFonts b bCs i iCs caps smallCaps strike dstrike outline shadow emboss imprint noProof "
    "snapToGrid vanish webHidden color spacing w kern position sz szCs highlight u effect bdr shd "
    "fitText vertAlign rtl cs em lang eastAsianLayout specVanish oMath"
)
# What says that letters of complex scripts are as those of others are.
_COMPLEX = {"b": "bCs", "i": "iCs", "sz": "szCs"}
# By element: what makes it run from the right, and what may stand behind that.
_TURNED = {
    "pPr": ("bidi", "adjustRightInd snapToGrid spacing ind contextualSpacing mirrorIndents "
            "suppressOverlap jc textDirection textAlignment textboxTightWrap outlineLvl divId "
            "cnfStyle rPr sectPr pPrChange"),
    "tblPr": ("bidiVisual", "tblStyleRowBandSize tblStyleColBandSize tblW jc tblCellSpacing "
              "tblInd tblBorders shd tblLayout tblCellMar tblLook tblCaption tblDescription "
              "tblPrChange"),
    "sectPr": ("bidi", "rtlGutter docGrid printerSettings sectPrChange"),
}  # fmt: skip
# Of the source, or of how the file came about: no formatting.
_IGNORED = frozenset({"lang", "noProof", "rPrChange"})

Format = tuple[tuple[str, str], ...]  # properties of a run: names, and how the file spells them


def format_of(text: str, properties: Element | None) -> Format:
    """The formatting that `w:rPr` says, of the file `text`."""
    children = properties.children if properties else ()
    found = ((e.name, text[e.start : e.end]) for e in children if e.name not in _IGNORED)
    return tuple(found)


def run_properties(format: Format, prefix: str, tag: str, from_right: bool) -> str:
    """`w:rPr` of a run in the language `tag`; "" where nothing is to be said."""
    found = dict(format)
    if from_right:
        for name, complex in _COMPLEX.items():
            if name in found and complex not in found:
                found[complex] = re.sub(rf"^<([\w.-]*:?){name}\b", rf"<\1{complex}", found[name])
        found["rtl"] = f"<{prefix}rtl/>"
    if tag and prefix:
        found["lang"] = f'<{prefix}lang {prefix}val="{tag}" {prefix}bidi="{tag}"/>'
    ranks = {name: rank for rank, name in enumerate(_RUN.split())}
    ordered = sorted(found, key=lambda name: ranks.get(name, len(ranks)))
    inner = "".join(found[name] for name in ordered)
    return f"<{prefix}rPr>{inner}</{prefix}rPr>" if inner else ""


def turned(text: str, element: Element, prefix: str) -> Edit:
    """What makes a paragraph, a table or a section, whose properties these are, run from right."""
    name, behind = _TURNED[element.name]
    new = f"<{prefix}{name}/>"
    if element.inner == element.end:
        tag = name_in(text, element)
        opened = text[element.start : element.end].removesuffix("/>")
        return element.start, element.end, f"{opened}>{new}</{tag}>"
    for child in element.children:
        if child.name == name:
            return child.start, child.end, new
        if child.name in behind.split():
            return child.start, child.start, new
    return element.inner_end, element.inner_end, new
