"""Belebele and SIB-200, whose files are named by FLORES codes: a language and a script.

Belebele (Bandarkar et al. 2024): `<code>.jsonl`, one split. SIB-200 (Adelani et al. 2024):
`<code>/{train,dev,test}.tsv`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from ..errors import TrimixError, UsageError
from ..prompts import Language
from ..prompts.paper import LABEL_GAP, label_question, passage_question
from .files import first_file, missing, read_json_list, read_table
from .tasks import Item, Record, Source, Task, text_of

BELEBELE = Task(
    "belebele", "option", "accuracy", "MC", shots=5, max_tokens=2, preset="reading_comprehension",
    published="huggingface.co/datasets/facebook/belebele",
)  # fmt: skip
# One exemplar a label: with seven labels the nearest to the paper's five.
SIB200 = Task(
    "sib200", "label", "accuracy", "MC", shots=1, max_tokens=2, preset="text_classification",
    passage=1024, choosing=(1, 384), published="github.com/dadelani/sib-200",
)  # fmt: skip
_SIB_LABELS = (
    "entertainment", "geography", "health", "politics", "science/technology", "sports", "travel",
)  # fmt: skip
BELEBELE_CODES = (
    "acm_Arab", "afr_Latn", "als_Latn", "amh_Ethi", "apc_Arab", "arb_Arab", "arb_Latn",
    "ars_Arab", "ary_Arab", "arz_Arab", "asm_Beng", "azj_Latn", "bam_Latn", "ben_Beng",
    "ben_Latn", "bod_Tibt", "bul_Cyrl", "cat_Latn", "ceb_Latn", "ces_Latn", "ckb_Arab",
    "dan_Latn", "deu_Latn", "ell_Grek", "eng_Latn", "est_Latn", "eus_Latn", "fin_Latn",
    "fra_Latn", "fuv_Latn", "gaz_Latn", "grn_Latn", "guj_Gujr", "hat_Latn", "hau_Latn",
    "heb_Hebr", "hin_Deva", "hin_Latn", "hrv_Latn", "hun_Latn", "hye_Armn", "ibo_Latn",
    "ilo_Latn", "ind_Latn", "isl_Latn", "ita_Latn", "jav_Latn", "jpn_Jpan", "kac_Latn",
    "kan_Knda", "kat_Geor", "kaz_Cyrl", "kea_Latn", "khk_Cyrl", "khm_Khmr", "kin_Latn",
    "kir_Cyrl", "kor_Hang", "lao_Laoo", "lin_Latn", "lit_Latn", "lug_Latn", "luo_Latn",
    "lvs_Latn", "mal_Mlym", "mar_Deva", "mkd_Cyrl", "mlt_Latn", "mri_Latn", "mya_Mymr",
    "nld_Latn", "nob_Latn", "npi_Deva", "npi_Latn", "nso_Latn", "nya_Latn", "ory_Orya",
    "pan_Guru", "pbt_Arab", "pes_Arab", "plt_Latn", "pol_Latn", "por_Latn", "ron_Latn",
    "rus_Cyrl", "shn_Mymr", "sin_Latn", "sin_Sinh", "slk_Latn", "slv_Latn", "sna_Latn",
    "snd_Arab", "som_Latn", "sot_Latn", "spa_Latn", "srp_Cyrl", "ssw_Latn", "sun_Latn",
    "swe_Latn", "swh_Latn", "tam_Taml", "tel_Telu", "tgk_Cyrl", "tgl_Latn", "tha_Thai",
    "tir_Ethi", "tsn_Latn", "tso_Latn", "tur_Latn", "ukr_Cyrl", "urd_Arab", "urd_Latn",
    "uzn_Latn", "vie_Latn", "war_Latn", "wol_Latn", "xho_Latn", "yor_Latn", "zho_Hans",
    "zho_Hant", "zsm_Latn", "zul_Latn",
)  # fmt: skip
# Codes that FLORES writes otherwise than ISO 639-3 and the table of languages here.
_OTHER = {"mon": "khk", "aze": "azj"}


def belebele_codes(target: Language) -> list[str]:
    """Belebele's codes for a language, the one in its usual script first; may be empty."""
    return _own(target, BELEBELE_CODES)


def open_belebele(target: Language, folders: Sequence[Path]) -> Source:
    """Belebele's 900 questions; exemplars from `train.jsonl` beside them, if it is there.

    Raises:
        TrimixError: the file is missing or not as it must be.
    """
    codes = belebele_codes(target)
    path = first_file(
        folders, [f"{place}{code}.jsonl" for code in codes
                  for place in ("", "belebele/", "Belebele/", "data/")]
    )  # fmt: skip
    if path is None:
        raise missing(folders, f"{codes[0]}.jsonl", "belebele", BELEBELE.published)
    train = first_file([path.parent], ["train.jsonl"])
    records = _numbered(path)
    exemplars = _numbered(train) if train else []
    for record in (*records, *exemplars):
        _passage(record, None)
    note = "" if exemplars else "no train.jsonl beside it: no exemplars"
    return Source(BELEBELE, str(path), records, exemplars, _passage, note)


def _numbered(path: Path) -> list[Record]:
    return [
        {**record, "where": f"{path}: line {i}", "id": i}
        for i, record in enumerate(read_json_list(path), 1)
    ]


def _passage(record: Record, cut: int | None) -> Item:
    where = record["where"]
    options = [text_of(record, f"mc_answer{i}", where) for i in range(1, 5)]
    number = str(record.get("correct_answer_num"))
    if number not in {"1", "2", "3", "4"}:
        raise TrimixError(f"{where}: 'correct_answer_num' is {number}, but must be 1, 2, 3 or 4")
    letter = "ABCD"[int(number) - 1]
    question = passage_question(
        text_of(record, "flores_passage", where), text_of(record, "question", where), options
    )
    return Item(str(record["id"]), question, " ", letter, letter, ("A", "B", "C", "D"))


_SIB_PLACES = ("", "sib200/", "data/annotated/", "annotated/", "data/")


def sib_codes(target: Language, folders: Sequence[Path]) -> list[str]:
    """SIB-200's codes for a language, of those that lie in `folders`."""
    here = {
        path.name
        for folder in folders
        for place in _SIB_PLACES
        for path in (folder / place).glob("*_*")
        if (path / "train.tsv").is_file()
    }
    return _own(target, sorted(here))


def open_sib200(target: Language, folders: Sequence[Path], split: str) -> Source:
    """SIB-200's sentences by topic; exemplars from its train split.

    Raises:
        TrimixError: a file is missing or not as it must be.
    """
    codes = sib_codes(target, folders) or [f"{target.code}_{target.scripts[0]}"]
    names = [f"{place}{codes[0]}/" for place in _SIB_PLACES]
    path = first_file(folders, [f"{name}{split}.tsv" for name in names])
    if path is None:
        raise missing(folders, f"{codes[0]}/{split}.tsv", "sib200", SIB200.published)

    item = partial(_topic, target)
    records, exemplars = _sentences(path), _sentences(path.with_name("train.tsv"))
    for record in (*records, *exemplars):
        item(record, None)
    return Source(SIB200, str(path), records, exemplars, item)


def _topic(target: Language, record: Record, cut: int | None) -> Item:
    text, label = record["text"], record["category"]
    if label not in _SIB_LABELS or not text.strip():
        what = f"the category {label!r}" if text.strip() else "no text"
        raise TrimixError(f"{record['where']} has {what}: is this another version of the data?")
    question = label_question(text[:cut], _SIB_LABELS, target)
    return Item(record["index_id"], question, LABEL_GAP["en"], label, label, _SIB_LABELS)


def _sentences(path: Path) -> list[Record]:
    if not path.is_file():
        raise TrimixError(f"{path} is missing; it is published at {SIB200.published}")
    rows = read_table(path, ("index_id", "category", "text"))
    seen: set[str] = set()
    for i, row in enumerate(rows, 2):
        if row["index_id"] in seen:
            raise TrimixError(f"{path}: line {i} has the index_id of an earlier one")
        seen.add(row["index_id"])
        row["where"] = f"{path}: line {i}"
    return list(rows)


def _own(target: Language, codes: Sequence[str]) -> list[str]:
    wanted = {target.code, _OTHER.get(target.code, target.code)}
    own = [code for code in codes if code.partition("_")[0] in wanted]
    usual = target.scripts[0]
    return sorted(own, key=lambda code: (not code.endswith(f"_{usual}"), code))


def lacking(name: str, target: Language, known: Sequence[str]) -> UsageError:
    """The error for a language that a data set lacks; `known` are codes that it has."""
    return UsageError(
        f"{name} has no {target.name} ({target.code}); it has " + ", ".join(sorted(known))
    )
