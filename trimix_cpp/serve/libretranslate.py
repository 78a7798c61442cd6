"""LibreTranslate's protocol, through what `translate` does with files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ..documents import CUT, FORMATS, Html, Segment
from ..errors import TrimixError
from ..prompts import Language, language
from ..translate import Layout, lay_out, results_of
from .bodies import leaving
from .detecting import code_of, detect, served
from .errors import RequestError, told
from .guard import KEY_IS_GOOD
from .requests import read
from .service import Service, service_of

MOST_CHARS = 200_000
MOST_TEXTS = 1000
# So many characters are cut into sentences sooner than a thread takes over.
_SHORT = 2000
Fields = dict[str, Any]


def error_document(error: BaseException) -> Fields:
    """The error in LibreTranslate's shape."""
    return {"error": told(error)}


async def translate(request: Request) -> Response:
    """`POST /translate`: `q` is a text or a list of texts, plain or HTML."""
    fields = await _fields(request)
    service = service_of(request)
    texts, is_list = _texts(fields)
    source_code, target_code = _code(fields, "source"), _code(fields, "target")
    kind = fields.get("format") or "text"
    if kind not in ("text", "html"):
        raise RequestError("format is text or html")
    known = served(service.engine.trimix.spec.languages)
    target = _language(target_code)
    found: list[tuple[Language, float]] = []
    if source_code == "auto":
        found = detect("\n".join(texts), known)
        source = found[0][0] if found else known[0]
    else:
        source = _language(source_code)
    answer: Fields = {}
    if source.code == target.code:
        answer["translatedText"] = texts if is_list else texts[0]
    else:
        done, flags = await _translated(request, service, texts, source, target, kind == "html")
        answer["translatedText"] = done if is_list else done[0]
        answer["flags"] = flags if is_list else flags[0]
    if source_code == "auto":
        told = [_detected(*each) for each in found] or [_detected(source, 0.0)]
        answer["detectedLanguage"] = [told[0]] * len(texts) if is_list else told[0]
    if fields.get("alternatives"):
        answer["alternatives"] = [[] for _ in texts] if is_list else []
    return JSONResponse(answer)


@dataclass(frozen=True)
class _Laid:
    """A text on its way: how it is put together, and what writes it."""

    layouts: list[Layout]
    page: Html | None


async def _translated(
    request: Request,
    service: Service,
    texts: list[str],
    source: Language,
    target: Language,
    is_html: bool,
) -> tuple[list[str], list[list[str]]]:
    """The translations, and why somebody should look at each."""

    def lay(text: str, at: int) -> _Laid:
        if is_html:
            page = Html(text)
            return _Laid(lay_out(page.segments, cut=CUT, labels=False), page)
        return _Laid(lay_out([Segment(0, text, f"text {at + 1}")], cut=CUT, labels=True), None)

    service.engine.check()
    recipe = service.recipe(source.code, target.code)

    def work() -> list[_Laid]:
        return [lay(text, at) for at, text in enumerate(texts)]

    short = sum(map(len, texts)) <= _SHORT
    laid = work() if short else await service.in_thread(work)
    layouts = [layout for each in laid for layout in each.layouts]
    task, events = service.translate(recipe, layouts)
    with leaving(request, events):
        try:
            await events.get()
        finally:
            service.engine.cancel(task)
    done, flags = [], []
    for text, each in zip(texts, laid, strict=True):
        results = results_of(each.layouts, task.outcomes)
        lost = [layout for layout in each.layouts if layout.segment.key not in results]
        if each.page:
            done.append(each.page.render(results))
        else:
            done.append(results[0].text if 0 in results else text)
        reasons = [reason for result in results.values() for reason in result.reasons]
        reasons += [
            reason
            for layout in lost
            for unit in layout.asked
            for reason in task.outcomes[unit].reasons
        ]
        flags.append(list(dict.fromkeys(reasons)))
    return done, flags


async def languages(request: Request) -> Response:
    """`GET /languages`: what the trio was made for, and English."""
    known = served(service_of(request).engine.trimix.spec.languages)
    codes = [code_of(entry) for entry in known]
    return JSONResponse(
        [{"code": code_of(entry), "name": entry.name, "targets": codes} for entry in known]
    )


async def detected(request: Request) -> Response:
    """`POST /detect`: by its letters."""
    fields = await _fields(request)
    texts, _ = _texts(fields)
    known = served(service_of(request).engine.trimix.spec.languages)
    return JSONResponse([_detected(*each) for each in detect(texts[0], known)])


async def settings(request: Request) -> Response:
    """`GET /frontend/settings`: what a page may offer."""
    service = service_of(request)
    known = served(service.engine.trimix.spec.languages)
    source, target = known[0], known[1] if len(known) > 1 else known[0]
    return JSONResponse(
        {
            "apiKeys": service.needs_key,
            "keyRequired": service.needs_key,
            "charLimit": MOST_CHARS,
            "filesTranslation": True,
            "frontendTimeout": 500,
            "language": {
                "source": {"code": code_of(source), "name": source.name},
                "target": {"code": code_of(target), "name": target.name},
            },
            "suggestions": False,
            "supportedFilesFormat": [e for format in FORMATS.values() for e in format.extensions],
        }
    )


def _detected(entry: Language, confidence: float) -> Fields:
    return {"confidence": confidence, "language": code_of(entry)}


async def _fields(request: Request) -> Fields:
    """The fields of a request, JSON or a form's, whoever may ask."""
    body = await service_of(request).bodies.read(request)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        fields = await _multipart(request, body)
    elif kind == "application/json" or body.lstrip()[:1] in (b"{", b"["):
        fields = read(body, Fields)
    else:
        try:
            said = parse_qs(body.decode("utf-8"), keep_blank_values=True, max_num_fields=MOST_TEXTS)
        except (UnicodeDecodeError, ValueError) as error:
            raise RequestError(f"the form cannot be read: {error}") from None
        fields = {name: values[0] if len(values) == 1 else values for name, values in said.items()}
    key = fields.get("api_key")
    service = service_of(request)
    if not request.scope.get(KEY_IS_GOOD) and not service.knows(
        key if isinstance(key, str) else ""
    ):
        raise RequestError("Invalid API key", status=403)
    return {name: value for name, value in fields.items() if value is not None}


async def _multipart(request: Request, body: bytes) -> Fields:
    async def receive() -> Any:
        return {"type": "http.request", "body": body, "more_body": False}

    fields: Fields = {}
    try:
        form = await Request(request.scope, receive).form(max_files=0, max_fields=MOST_TEXTS)
    except Exception as error:
        raise RequestError(f"the form cannot be read: {error}") from None
    for name in form:
        values = form.getlist(name)
        fields[name] = values[0] if len(values) == 1 else values
    return fields


def _texts(fields: Fields) -> tuple[list[str], bool]:
    """The texts of `q`, and whether they came as a list."""
    said = fields.get("q")
    if said is None:
        raise RequestError("Invalid request: missing q parameter")
    texts = said if isinstance(said, list) else [said]
    if not texts or not all(isinstance(text, str) for text in texts):
        raise RequestError("q is a text or a list of texts")
    if len(texts) > MOST_TEXTS or sum(map(len, texts)) > MOST_CHARS:
        raise RequestError(f"q has at most {MOST_TEXTS} texts and {MOST_CHARS} characters")
    return texts, isinstance(said, list)


def _code(fields: Fields, name: str) -> str:
    code = fields.get(name)
    if not isinstance(code, str) or not code:
        raise RequestError(f"Invalid request: missing {name} parameter")
    return code


def _language(code: str) -> Language:
    try:
        return language(code)
    except TrimixError as error:
        raise RequestError(str(error)) from None
