"""`/jobs`: a file is sent, its progress looked at, its translation fetched."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import PurePath
from secrets import token_urlsafe
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response

from ..documents import CUT, FORMATS, FormatOptions, open_document
from ..errors import TrimixError
from ..translate import Layout, lay_out
from .channel import Channel
from .detecting import detect, served
from .errors import RequestError
from .job import Job, keep
from .service import Service, service_of

MOST_BYTES = 8 << 20
_LONGEST_NAME = 200


async def create(request: Request) -> Response:
    """`POST /jobs?name=…&source=…&target=…`: the file is the body."""
    service, asked = service_of(request), request.query_params
    service.jobs.check()
    service.engine.check()
    name = _name(asked.get("name", ""))
    data = await service.bodies.read(request, MOST_BYTES)
    source, target = asked.get("source", "auto"), asked.get("target", "")
    kind = asked.get("format") or None
    if kind is not None and kind not in FORMATS:
        raise RequestError(f"format is one of {', '.join(FORMATS)}", param="format")
    service.jobs.check()

    def opened() -> tuple[Any, list[Layout], str]:
        options = FormatOptions(target=target or None, source=None if source == "auto" else source)
        document = open_document(data, name, kind, options)
        layouts = lay_out(document.segments, cut=CUT, labels=document.format.labels)
        return document, layouts, _source(service, source, layouts)

    document, layouts, found = await service.in_thread(opened)
    recipe = service.recipe(found, target or document.target or "")
    task, ended = service.translate(recipe, layouts)
    try:
        job_id = token_urlsafe(16)
        folder = service.jobs.new_folder(job_id)
        job = Job(job_id, name, folder, document, layouts, task)
        job.follower = asyncio.create_task(_follow(service, job, ended))
        service.jobs.add(job)
    except BaseException:
        service.engine.cancel(task)
        raise
    return JSONResponse(job.told(), 202, {"Location": f"/jobs/{job.id}"})


async def status(request: Request) -> Response:
    """`GET /jobs/ID`: where it stands."""
    return JSONResponse(_job(request).told())


async def segments(request: Request) -> Response:
    """`GET /jobs/ID/segments?from=N`: what is known of some segments, flags among it."""
    job, start = _job(request), request.query_params.get("from", "0")
    if not (start.isascii() and start.isdecimal() and len(start) < 10):
        raise RequestError("from is a number", param="from")
    shown = await service_of(request).in_thread(lambda: job.shown(int(start)))
    return JSONResponse({**job.told(), "from": int(start), "shown": shown})


async def download(request: Request) -> Response:
    """`GET /jobs/ID/file`: the translated file."""
    job = _job(request)
    if job.state != "done":
        raise RequestError("the file is not translated yet", status=404)
    return FileResponse(job.path, media_type="application/octet-stream", filename=job.name)


async def delete(request: Request) -> Response:
    """`DELETE /jobs/ID`: it ends, and nothing of it is kept."""
    service, job = service_of(request), _job(request)
    service.engine.cancel(job.task)
    service.jobs.remove(job)
    return JSONResponse({"id": job.id, "state": "cancelled"})


async def _follow(service: Service, job: Job, ended: Channel[None]) -> None:
    """Wait for the end of a job and keep what came of it."""
    try:
        await ended.get()
        await service.in_thread(lambda: keep(job))
        job.state = "done"
    except TrimixError as error:
        job.state, job.error = "failed", error
    except OSError as error:
        job.state, job.error = "failed", TrimixError(f"cannot be kept: {error.strerror or error}")
    finally:
        service.engine.cancel(job.task)
        job.ended = time.monotonic()
        job.document, job.layouts = None, ()


def _job(request: Request) -> Job:
    return service_of(request).jobs[request.path_params["id"]]


def _name(said: str) -> str:
    """The name of a file, without folders and what a file's name cannot hold."""
    name = PurePath(said.replace("\\", "/")).name
    name = "".join(char for char in name if char.isprintable())[-_LONGEST_NAME:]
    if not name or name in (".", ".."):
        raise RequestError("name is the file's name, such as messages.po", param="name")
    return name


def _source(service: Service, said: str, layouts: Sequence[Layout]) -> str:
    """The code of the source language: as said, or by the letters of the first segments."""
    if said != "auto":
        return said
    known = served(service.engine.trimix.spec.languages)
    found = detect("\n".join(layout.segment.text for layout in layouts[:50]), known)
    return (found[0][0] if found else known[0]).code
