"""Where a file may be written, what is replaced, and what is written into."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from trimix_cpp.errors import TrimixError, UsageError
from trimix_cpp.files import (
    check_destination,
    edit_toml,
    is_stream,
    read_json,
    read_sha256,
    read_toml,
    replacing,
    sha256,
    write_text,
)
from trimix_cpp.gguf.imatrix import read_imatrix
from trimix_cpp.gguf.reader import read_header, read_tables
from trimix_cpp.quant.profiles import RoleProfile
from trimix_cpp.store.contents import expect
from trimix_cpp.store.manifest import FileRecord, ModelRecord, write

posix = pytest.mark.skipif(os.name != "posix", reason="devices, FIFOs and permissions")


@pytest.mark.parametrize("name", ["", ".", "./", "a\0b"])
def test_what_names_no_file(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError):
        check_destination(Path(name))


@posix
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("/", "is a folder"),
        ("..", "is a folder"),
        ("folder", "is a folder"),
        ("missing/file", "missing is not a folder; create it first"),
        ("file/below", "file is not a folder"),
        ("file", "exists already: choose another name, or overwrite with --force"),
        ("to-file", "exists already"),
        ("dangling", "exists already"),
        ("circle", "symbolic links"),
        ("circle/file", "is not a folder"),
        ("n" * 300, "too long"),
        ("socket", "is a socket"),
    ],
)
def test_what_may_not_be_written(
    name: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("file").write_text("mine")
    Path("to-file").symlink_to("file")
    Path("dangling").symlink_to("nothing")
    Path("circle").symlink_to("circle")
    with socket.socket(socket.AF_UNIX) as open_socket:
        open_socket.bind("socket")
        with pytest.raises(TrimixError, match=words):
            check_destination(Path(name))
    assert Path("file").read_text() == "mine"


def test_force_and_what_is_ours(tmp_path: Path) -> None:
    path = tmp_path / "file"
    check_destination(path)
    path.write_text("ours")
    check_destination(path, force=True)
    check_destination(path, ours=lambda file: file.read_text() == "ours")
    with pytest.raises(TrimixError, match="it is a diary"):
        check_destination(path, ours=lambda _: False, advice="it is a diary")


@posix
@pytest.mark.skipif(os.name == "posix" and os.geteuid() == 0, reason="root may write everywhere")
def test_what_is_protected(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("mine")
    path.chmod(0o400)
    with pytest.raises(TrimixError, match="write-protected"):
        check_destination(path, force=True)
    tmp_path.chmod(0o500)
    with pytest.raises(TrimixError, match="its folder may not be written into"):
        check_destination(tmp_path / "new")
    tmp_path.chmod(0o700)


@posix
def test_a_fifo_and_a_device_are_written_into(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(fifo.read_bytes()))
    reader.start()
    check_destination(fifo)
    write_text(fifo, "through it")
    reader.join(10)
    assert got == [b"through it"]
    assert stat.S_ISFIFO(fifo.lstat().st_mode)
    link = tmp_path / "null"
    link.symlink_to("/dev/null")
    for path in (Path("/dev/null"), link):
        check_destination(path)
        write_text(path, "away")
        assert stat.S_ISCHR(path.stat().st_mode)
    assert link.is_symlink()
    assert [p.name for p in tmp_path.iterdir() if p.suffix == ".tmp"] == []


@posix
@pytest.mark.parametrize(
    "read",
    [
        read_json,
        lambda path: read_toml(path, "trio"),
        edit_toml,
        read_header,
        read_tables,
        read_imatrix,
        lambda path: RoleProfile("Q4_0", imatrix=path).as_json(),
    ],
)
def test_what_may_never_end_is_not_read(read: Callable[[Path], object], tmp_path: Path) -> None:
    fifo, zero = tmp_path / "fifo", tmp_path / "zero"
    os.mkfifo(fifo)
    zero.symlink_to("/dev/zero")
    for path in (fifo, zero):
        with pytest.raises(TrimixError, match="no regular file"):
            read(path)


@posix
def test_the_program_s_own_files_wait_for_nobody(tmp_path: Path) -> None:
    fifo = tmp_path / ".contents.json"
    os.mkfifo(fifo)
    model = tmp_path / "model.gguf"
    model.write_bytes(b"GGUF")
    os.utime(model, (0, 0))
    assert sha256(model, fifo) == read_sha256(model)
    files = (FileRecord("Q8_0.gguf", 4, "0" * 64),)
    record = ModelRecord("a", "Q8_0", "org/a", "0" * 40, {}, files, files, {}, "2026-01-01")
    with pytest.raises(TrimixError, match="no regular file"):
        write(record, fifo)
    expect(tmp_path, ["a"])
    assert read_json(fifo) == ["a"]


@posix
def test_a_document_may_come_from_the_shell() -> None:
    ours, theirs = os.pipe()
    with os.fdopen(theirs, "w") as out, os.fdopen(ours):
        out.write("{}")
        out.close()
        assert read_json(Path(f"/dev/fd/{ours}")) == {}


@posix
def test_an_open_file_behind_dev_fd_is_written_into(tmp_path: Path) -> None:
    """`-o /dev/stdout > file`: the file that the shell opened, not a new one of its name."""
    path = tmp_path / "file"
    with open(path, "wb") as file:
        name = Path(f"/dev/fd/{file.fileno()}")
        assert is_stream(name)
        write_text(name, "one")
        assert os.fstat(file.fileno()).st_ino == path.stat().st_ino
    assert path.read_text() == "one"


@posix
def test_a_link_stays_one_and_permissions_stay(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_text("old")
    real.chmod(0o640)
    link.symlink_to(real)
    write_text(link, "new")
    assert (link.is_symlink(), real.read_text()) == (True, "new")
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    write_text(link, "secret", private=True)
    assert stat.S_IMODE(real.stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["n" * 250, "ئ" * 120])
def test_long_names_are_names(name: str, tmp_path: Path) -> None:
    check_destination(tmp_path / name)
    write_text(tmp_path / name, "text")
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_an_error_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), replacing(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("file", "old")]


@posix
def test_a_lock_file_that_was_removed_meanwhile_is_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever opened it before its owner removed it must notice: filelock since 3.24 does."""
    from filelock import FileLock

    path, real, opened = tmp_path / "lock", os.open, []

    def open_and_lose(name: object, *arguments: object, **options: object) -> int:
        handle = real(name, *arguments, **options)  # type: ignore[call-overload]
        if str(name) == str(path) and not opened:
            path.unlink()
        opened.append(name)
        return int(handle)

    monkeypatch.setattr(os, "open", open_and_lose)
    with FileLock(path, timeout=1):
        assert path.exists()
