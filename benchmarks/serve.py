"""`serve` side by side: with translate's batch, with llama-server, and over two thousand requests.

    python benchmarks/serve.py                             the bundled trio, at 1, 4 and 16 clients
    python benchmarks/serve.py --llama-server PATH         and llama-server with large alone
    python benchmarks/serve.py --soak 2000                 and clients that leave at random
    python benchmarks/serve.py --trio NAME --tokens 32     another trio

Everything is measured in one run, each pair of sides one after the other, --runs times; medians.

- fused: the same texts through `/translate`, so many clients at a time, and through `translate` in
  this process with so many in flight: texts a second, and their ratio.
- large alone: `/v1/completions` with the weights 1,0, and llama-server on the same file: tokens a
  second over all clients, the time to the first token, and their ratio.
- soak: requests of all kinds, half of whose clients leave before the end; then no text may be
  running, and the server's memory over the first and the last 200 requests is compared.

llama-server comes with llama-cpp-python's sources:

    pip download --no-deps --no-binary llama-cpp-python llama-cpp-python==$(
        python -c "from importlib.metadata import version; print(version('llama-cpp-python'))")
    tar -xzf llama_cpp_python-*.tar.gz && cd llama_cpp_python-*/vendor/llama.cpp
    no="-mno-amx-tile -mno-amx-int8 -mno-amx-bf16"         # GCC before 14: see docs/architecture.md
    cmake -B build -DCMAKE_BUILD_TYPE=Release -DLLAMA_OPENSSL=OFF \\
        -DCMAKE_C_FLAGS="$no" -DCMAKE_CXX_FLAGS="$no"
    cmake --build build -j -t llama-server                 # build/bin/llama-server

Run it alone: two cores that share their time with something else tell nothing.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import os
import platform
import random
import re
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil

import trimix_cpp
from trimix_cpp.store.trios import find_trio

VERBS = ("Open", "Close", "Save", "Print", "Copy", "Move", "Delete", "Show", "Hide", "Search")
OBJECTS = ("file", "window", "folder", "page", "image", "table", "column", "row", "text", "tab")
PHRASES = [f"{verb} the {thing}" for verb, thing in itertools.product(VERBS, OBJECTS)]
# Of a sentence's length.
TEXTS = [
    f"{first}, {PHRASES[(i + 37) % 100].lower()} and {PHRASES[(i + 74) % 100].lower()}."
    for i, first in enumerate(PHRASES)
]
READY = re.compile(r" at (http://\S+) ")


@contextmanager
def serving(args: argparse.Namespace, places: int) -> Iterator[tuple[str, psutil.Process]]:
    """Our server; its address and process."""
    command = [sys.executable, "-m", "trimix_cpp", "serve", "--trio", args.trio, "--port", "0",
               "-np", str(places), "-c", str(args.ctx), "-t", str(args.threads),
               "--queue", "1000"]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, encoding="utf-8")
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if found := READY.search(line):
                threading.Thread(target=process.stderr.read, daemon=True).start()
                yield found[1], psutil.Process(process.pid)
                break
        else:
            sys.exit("serve does not start")
    finally:
        process.terminate()
        process.wait()


@contextmanager
def llama_server(args: argparse.Namespace, places: int) -> Iterator[str]:
    """llama-server with large alone; its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    large = find_trio(args.trio).roles["large"].path
    command = [args.llama_server, "-m", str(large), "--port", str(port), "-np", str(places),
               "-c", str(args.ctx * places), "--no-ui", "--no-warmup"]  # fmt: skip
    if args.threads:
        command += ["-t", str(args.threads)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            try:
                if httpx.get(f"{url}/health").status_code == 200:
                    break
            except httpx.HTTPError:
                if process.poll() is not None:
                    sys.exit("llama-server does not start")
            time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait()


class Asking(threading.local):
    """A connection of each thread's own, kept open: the client costs little."""

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        self.connection = http.client.HTTPConnection(
            str(address.hostname), address.port, timeout=600
        )

    def post(self, path: str, body: dict[str, Any]) -> http.client.HTTPResponse:
        try:
            self.connection.request("POST", path, json.dumps(body).encode())
            answer = self.connection.getresponse()
        except (ConnectionError, http.client.RemoteDisconnected):
            self.connection.close()  # it was idle for too long
            self.connection.request("POST", path, json.dumps(body).encode())
            answer = self.connection.getresponse()
        if answer.status != 200:
            sys.exit(f"{path}: {answer.status} {answer.read().decode()}")
        return answer


Doing = Callable[[Asking, Any], Any]


def together(url: str, clients: int, items: Sequence[Any], do: Doing) -> tuple[float, list[Any]]:
    """Let so many clients do all items; (seconds, what came of each)."""
    asking = Asking(url)
    do(asking, items[0])  # what is done once is not counted
    began = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        done = list(pool.map(lambda item: do(asking, item), items))
    return time.perf_counter() - began, done


def translate_one(asking: Asking, text: str) -> str:
    answer = asking.post("/translate", {"q": text, "source": "en", "target": "ug"})
    return str(json.loads(answer.read())["translatedText"])


def streamed(tokens: int, weights: str | None) -> Doing:
    """What asks for tokens and gives (seconds to the first one, how many came)."""

    def do(asking: Asking, text: str) -> tuple[float, int]:
        body: dict[str, Any] = {
            "prompt": f"Translate into Uyghur: {text}\n", "max_tokens": tokens, "stream": True,
            "temperature": 0, "stream_options": {"include_usage": True}, "ignore_eos": True,
        }  # fmt: skip
        if weights:
            body["trimix"] = {"weights": weights}
        began, first, n = time.perf_counter(), 0.0, 0
        for line in asking.post("/v1/completions", body):
            if line.startswith(b"data: {"):
                first = first or time.perf_counter() - began
                usage = json.loads(line[6:]).get("usage")
                n = usage["completion_tokens"] if usage else n
        return first, n

    return do


def fused(args: argparse.Namespace, clients: int) -> dict[str, Any]:
    """Texts a second of serve and of translate's batch."""
    texts = TEXTS[: args.texts]
    served, batched = [], []
    options = {"n_ctx": args.ctx, "n_threads": args.threads, "n_parallel": clients + 1}
    with (
        serving(args, clients + 1) as (url, _),
        trimix_cpp.load(args.trio, **options) as trio,
    ):
        for _ in range(args.runs):
            seconds, _done = together(url, clients, texts, translate_one)
            served.append(len(texts) / seconds)
            began = time.perf_counter()
            trio.translate(texts, source="eng", target="uig")
            batched.append(len(texts) / (time.perf_counter() - began))
    mine, theirs = statistics.median(served), statistics.median(batched)
    return {"clients": clients, "serve": mine, "translate": theirs, "ratio": mine / theirs}


def large_alone(args: argparse.Namespace, clients: int) -> dict[str, Any]:
    """Tokens a second and time to the first token, of serve and of llama-server."""
    texts = TEXTS[: args.texts]
    found: dict[str, list[tuple[float, float]]] = {"serve": [], "llama_server": []}
    with serving(args, clients) as (ours, _), llama_server(args, clients) as theirs:
        for _ in range(args.runs):
            for name, url, weights in (("serve", ours, "1,0"), ("llama_server", theirs, None)):
                seconds, done = together(url, clients, texts, streamed(args.tokens, weights))
                first = statistics.median(each[0] for each in done)
                found[name].append((sum(each[1] for each in done) / seconds, first))
    speed = {name: statistics.median(each[0] for each in own) for name, own in found.items()}
    first = {name: statistics.median(each[1] for each in own) for name, own in found.items()}
    ratio = speed["serve"] / speed["llama_server"]
    return {"clients": clients, "tokens_per_second": speed, "ratio": ratio, "first_token": first}


def soak(args: argparse.Namespace) -> dict[str, Any]:
    """Requests whose clients leave at random; what is left of them."""
    chance, memory = random.Random(1), list[float]()
    plans = [(i, chance.choice(TEXTS), chance.random(), chance.random()) for i in range(args.soak)]

    def do(asking: Asking, plan: tuple[int, str, float, float]) -> None:
        i, text, leaves, kind = plan
        memory.append(process.memory_info().rss)
        if kind < 0.2:
            translate_one(asking, text)
            return
        body = {
            "messages": [{"role": "user", "content": f"{text} {i}"}], "max_tokens": 24,
            "stream": kind < 0.7, "temperature": 0.8, "seed": i,
        }  # fmt: skip
        try:
            timeout = 0.01 + leaves if leaves < 0.5 else 600
            path = f"{url}/v1/chat/completions"
            with httpx.stream("POST", path, json=body, timeout=timeout) as answer:
                for n, _ in enumerate(answer.iter_lines()):
                    if leaves < 0.5 and n > 20 * leaves:
                        return  # closes the connection
        except httpx.TimeoutException:
            pass

    with serving(args, 4) as (url, process):
        seconds, _ = together(url, 8, plans, do)
        for _ in range(100):
            lines = httpx.get(f"{url}/metrics").text.splitlines()
            left = {line.split()[0]: float(line.split()[1]) for line in lines if line[0] != "#"}
            if not left["trimix_texts_running"] + left["trimix_requests_waiting"]:
                break
            time.sleep(0.1)
    part = min(200, len(memory) // 2)
    begin, end = (statistics.fmean(own) / 2**20 for own in (memory[:part], memory[-part:]))
    return {
        "requests": args.soak, "seconds": seconds, "running": left["trimix_texts_running"],
        "waiting": left["trimix_requests_waiting"], "first_mib": begin, "last_mib": end,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trio", default="demo")
    parser.add_argument("--clients", default="1,4,16", help="numbers of clients")
    parser.add_argument("--texts", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=32, help="of an answer, for large alone")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--ctx", type=int, default=512)
    parser.add_argument("--threads", type=int, default=0, help="0: physical cores")
    parser.add_argument("--llama-server", type=Path, help="the program")
    parser.add_argument("--soak", type=int, default=0, help="so many requests")
    parser.add_argument("--json", type=Path, help="write the figures there")
    args = parser.parse_args()
    numbers = [int(part) for part in args.clients.split(",") if part]
    report: dict[str, Any] = {"machine": platform.processor(), "cores": os.cpu_count()}
    report["fused"] = []
    for clients in numbers:
        one = fused(args, clients)
        report["fused"].append(one)
        print(f"fused, {clients:2} clients: serve {one['serve']:.2f}, translate "
              f"{one['translate']:.2f} texts/s, ratio {one['ratio']:.3f}", flush=True)  # fmt: skip
    if args.llama_server:
        report["large"] = []
        for clients in numbers:
            one = large_alone(args, clients)
            report["large"].append(one)
            speed, first = one["tokens_per_second"], one["first_token"]
            print(
                f"large, {clients:2} clients: serve {speed['serve']:.1f}, llama-server "
                f"{speed['llama_server']:.1f} tokens/s, ratio {one['ratio']:.3f}; first token "
                f"{first['serve'] * 1e3:.0f} and {first['llama_server'] * 1e3:.0f} ms",
                flush=True,
            )
    else:
        print("large alone against llama-server: --llama-server PATH; --help tells how to build it")
    if args.soak:
        one = report["soak"] = soak(args)
        print(
            f"soak: {one['requests']} requests in {one['seconds']:.0f} s; {one['running']:.0f} "
            f"texts and {one['waiting']:.0f} requests left; memory {one['first_mib']:.1f} MiB at "
            f"the beginning, {one['last_mib']:.1f} MiB at the end"
        )
    if args.json:
        args.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
