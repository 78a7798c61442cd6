"""ZIP files of which a few members change: all others keep their bytes, as packed as they were.

Nothing is extracted. One view of the file is taken, that of its directory, and whatever could be
read in two ways is refused: so no two programs see different documents in it.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

from ..errors import TrimixError

MOST_MEMBERS = 10_000
MOST_BYTES = 256 << 20  # of all members that are read together, unpacked

_END = struct.Struct("<4s4H2LH")
_RECORD = struct.Struct("<4s6H3L5H2L")
_HEADER = struct.Struct("<4s5H3L2H")
_STORED, _DEFLATED = 0, 8
_ENCRYPTED, _DESCRIBED, _UTF8 = 0x1, 0x8, 0x800


@dataclass(frozen=True)
class _Member:
    """A member: where its record, header and bytes are, and where the next one begins."""

    name: str
    record: bytes
    header: int
    body: int
    end: int
    method: int
    crc: int
    packed: int
    size: int


class Zip:
    """A ZIP file in memory.

    Args:
        data: the file; b"" has no members.
        name: of the file, for messages.

    Raises:
        TrimixError: it is no ZIP file, or not one to be trusted; the line says why.
    """

    def __init__(self, data: bytes, name: str) -> None:
        self._data, self._name, self._read = data, name, 0
        self._start = self._tail = 0
        self._members: dict[str, _Member] = {}
        if data:
            self._look_through()

    @property
    def names(self) -> list[str]:
        """The members, in the order of the directory."""
        return list(self._members)

    def read(self, name: str) -> bytes:
        """A member, unpacked.

        Raises:
            TrimixError: there is none of that name, it is damaged, or larger than it says.
        """
        member = self._members.get(name)
        if member is None:
            self._refuse(f"has no {name}")
        self._read += member.size
        if self._read > MOST_BYTES:
            self._refuse(f"holds more than {MOST_BYTES >> 20} MiB of text")
        raw = self._data[member.body : member.body + member.packed]
        if member.method == _DEFLATED:
            unpacker = zlib.decompressobj(-15)
            try:
                raw = unpacker.decompress(raw, member.size + 1)
            except zlib.error:
                raw = b""
        elif member.method != _STORED:
            self._refuse(f"{name} is packed in a way that is not known (method {member.method})")
        if len(raw) != member.size or zlib.crc32(raw) != member.crc:
            self._refuse(f"{name} is damaged")
        return raw

    def is_first_and_stored(self, name: str) -> bool:
        """Whether a member stands at the very beginning, not packed."""
        member = self._members.get(name)
        return member is not None and member.header == 0 and member.method == _STORED

    def with_members(self, changes: Mapping[str, bytes]) -> bytes:
        """The file with other contents of some members; all else keeps its bytes and order."""
        if not changes:
            return self._data
        out, records = [], {}
        at = 0
        for member in sorted(self._members.values(), key=lambda one: one.header):
            body = self._data[member.header : member.end]
            fields = list(_RECORD.unpack_from(member.record))
            if member.name in changes:
                body, fields = self._packed(member, changes[member.name], fields)
            fields[16] = at
            records[member.name] = _RECORD.pack(*fields) + member.record[_RECORD.size :]
            out.append(body)
            at += len(body)
        directory = b"".join(records[name] for name in self._members)
        end = list(_END.unpack_from(self._data, self._tail))
        end[5], end[6] = len(directory), at
        tail = _END.pack(*end) + self._data[self._tail + _END.size :]
        return b"".join([*out, directory, tail])

    def _packed(self, member: _Member, new: bytes, record: list[int]) -> tuple[bytes, list[int]]:
        """A member with another content, and its record."""
        stored = member.method == _STORED
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        body = new if stored else packer.compress(new) + packer.flush()
        header = list(_HEADER.unpack_from(self._data, member.header))
        facts = [zlib.crc32(new), len(body), len(new)]
        # Sizes stand in the header now, not behind the bytes.
        header[2] &= ~_DESCRIBED
        record[3] &= ~_DESCRIBED
        header[6:9], record[7:10] = facts, facts
        names = self._data[member.header + _HEADER.size : member.body]
        return _HEADER.pack(*header) + names + body, record

    def _look_through(self) -> None:
        data = self._data
        tail = data.rfind(b"PK\5\6")
        if not data.startswith(b"PK") or tail < 0 or tail + _END.size > len(data):
            self._refuse("is no ZIP file, as documents of this format are")
        _, disk, first, here, count, size, start, comment = _END.unpack_from(data, tail)
        if disk or first or here != count or start + size != tail:
            self._refuse("is a ZIP file in parts, with something before it, or of more than 4 GiB")
        if tail + _END.size + comment != len(data):
            self._refuse("has something behind its end")
        if count > MOST_MEMBERS:
            self._refuse(f"has more than {MOST_MEMBERS:,} members")
        self._start, self._tail = start, tail
        at = start
        for _ in range(count):
            member, at = self._member(at)
            if member.name in self._members:
                self._refuse(f"has two members named {member.name!r}")
            self._members[member.name] = member
        if at != tail:
            self._refuse("has a damaged directory")
        self._settle()

    def _member(self, at: int) -> tuple[_Member, int]:
        """The member whose record stands at a place, and the end of that."""
        data = self._data
        if at + _RECORD.size > self._tail or data[at : at + 4] != b"PK\1\2":
            self._refuse("has a damaged directory")
        fields = _RECORD.unpack_from(data, at)
        flags, method, crc, packed, size = fields[3], fields[4], *fields[7:10]
        name_size, more, header = fields[10], fields[11] + fields[12], fields[16]
        end = at + _RECORD.size + name_size + more
        raw = data[at + _RECORD.size : at + _RECORD.size + name_size]
        name = raw.decode("utf-8" if flags & _UTF8 else "cp437", "replace")
        if flags & _ENCRYPTED:
            self._refuse("is encrypted; take its password off first")
        if not name or name.startswith("/") or "\\" in name or ":" in name.split("/")[0]:
            self._refuse(f"has a member with the name {name!r}, which leads elsewhere")
        if "\0" in name or ".." in name.split("/"):
            self._refuse(f"has a member with the name {name!r}, which leads elsewhere")
        local = data[header : header + _HEADER.size]
        if end > self._tail or len(local) < _HEADER.size or local[:4] != b"PK\3\4":
            self._refuse("has a damaged directory")
        its = _HEADER.unpack(local)
        body = header + _HEADER.size + its[9] + its[10]
        again = data[header + _HEADER.size : header + _HEADER.size + its[9]]
        if again != raw or its[3] != method or body + packed > self._start:
            self._refuse(f"says two things of {name!r}")
        record = data[at:end]
        return _Member(name, record, header, body, 0, method, crc, packed, size), end

    def _settle(self) -> None:
        """Find where each member ends; what overlaps is a bomb."""
        ordered = sorted(self._members.values(), key=lambda one: one.header)
        if ordered and ordered[0].header:
            self._refuse("has something before its members")
        ends = [one.header for one in ordered[1:]] + [self._start]
        for member, end in zip(ordered, ends, strict=True):
            if member.body + member.packed > end:
                self._refuse("has members that overlap")
            self._members[member.name] = _Member(
                member.name, member.record, member.header, member.body, end, member.method,
                member.crc, member.packed, member.size,
            )  # fmt: skip

    def _refuse(self, why: str) -> NoReturn:
        raise TrimixError(f"{self._name}: {why}")
