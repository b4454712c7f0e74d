"""Members of zip and tar archives, read by their places in the file and never unpacked to disk.

Avoided on the way: members that overlap or compress to nothing (small files that hold terabytes), names
that climb out of a folder, two members of one name, and tables of contents that are longer than the file
they describe. Formats: PKWARE's APPNOTE 6.3.10, sections 4.3 and 4.5; POSIX ustar.
"""

import dataclasses
import itertools
import re
import struct
import zlib

from importers.refusal import Refusal, shown

_MOST_MEMBERS = 20_000
_END = struct.Struct("<4s4H2LH")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_HEADER = struct.Struct("<4s5H3L2H")
_LONGEST_COMMENT = 2**16
_ENCRYPTED = 0x1
_FULL, _FULL_SHORT = 2**32 - 1, 2**16 - 1  # stands for a number that is in the zip64 record instead
_DAMAGED = "the file is truncated or damaged"


@dataclasses.dataclass(frozen=True, slots=True)
class Member:
    """Where a member's bytes lie: data[start : start + size]; `method` 0 is uncompressed."""

    start: int
    size: int
    unpacked: int
    method: int
    checksum: int


class Zip:
    """The members of a zip archive.

    Args:
      data: bytes or mmap of the whole archive.

    Raises:
      Refusal: no archive, a damaged one, or one made to fill the memory.
    """

    def __init__(self, data):
        self._data, self.members = data, {}
        count, start, size = _table(data)
        if count > _MOST_MEMBERS:
            raise Refusal(f"an archive of {count} members; no network has as many tensors")
        end, extents = start + size, []
        for _ in range(count):
            name, header, member, start = _entry(data, start, end)
            if name in self.members:
                raise Refusal(f"an archive with two members called {shown(name)}: made to confuse readers")
            self.members[name] = member
            extents.append((header, member.start + member.size, name))
        extents.sort()
        for (_, last, name), (first, _, other) in itertools.pairwise(extents):
            if first < last:
                raise Refusal(
                    f"the members {shown(name)} and {shown(other)} overlap: a zip bomb, or a damaged file"
                )

    def size(self, name):
        """Of a member in bytes, or a refusal where it is absent."""
        return self._member(name).unpacked

    def read(self, name):
        """The bytes of an uncompressed member.

        Raises:
          Refusal: there is no such member, it is compressed, or its checksum is another.
        """
        member = self._member(name)
        if member.method or member.size != member.unpacked:
            ratio = member.unpacked / max(member.size, 1)
            raise Refusal(
                f"{shown(name)} is compressed, {ratio:.0f} times: torch writes no such members, and "
                "this may be a zip bomb. If you packed the file yourself, pack it again uncompressed (zip -0)"
            )
        content = self._data[member.start : member.start + member.size]
        if zlib.crc32(content) != member.checksum:
            raise Refusal(f"{shown(name)} does not match its checksum: the file is damaged")
        return content

    def _member(self, name):
        if name not in self.members:
            raise Refusal(f"{shown(name)} is missing in the archive: the file is damaged or incomplete")
        return self.members[name]


def _unpack(form, data, start, signature, what):
    """The fields of a record at a place, after its signature."""
    if start < 0 or start + form.size > len(data):
        raise Refusal(f"{what} of the archive lies outside of the file: {_DAMAGED}")
    fields = form.unpack(data[start : start + form.size])
    if fields[0] != signature:
        raise Refusal(f"{what} of the archive is not where it should be: {_DAMAGED}")
    return fields[1:]


def _table(data):
    """(members, start, size) of the table of contents, which stands at an archive's end."""
    end = data.rfind(b"PK\5\6", max(0, len(data) - _END.size - _LONGEST_COMMENT))
    if end < 0:
        raise Refusal(f"an archive without an end: {_DAMAGED}")
    _, _, _, count, size, start, _ = _unpack(_END, data, end, b"PK\5\6", "the end")
    if _FULL in (size, start) or count == _FULL_SHORT:
        _, place, _ = _unpack(_LOCATOR, data, end - _LOCATOR.size, b"PK\6\7", "the zip64 locator")
        end = place
        *_, count, size, start = _unpack(_END_64, data, place, b"PK\6\6", "the zip64 end")
    if start + size > end or count * _ENTRY.size > size:
        raise Refusal(f"the table of contents of the archive does not fit into it: {_DAMAGED}")
    return count, start, size


def _entry(data, start, end):
    """(name, place of its header, Member, place of the next entry) of the entry at a place of the table."""
    fields = _unpack(_ENTRY, data, start, b"PK\1\2", "an entry in the table of contents")
    _, _, flags, method, _, _, checksum, size, unpacked, named, extra, comment, _, _, _, header = fields
    start += _ENTRY.size
    if start + named + extra + comment > end:
        raise Refusal(f"the table of contents of the archive ends too early: {_DAMAGED}")
    raw = data[start : start + named]
    unpacked, size, header = _large(data[start + named : start + named + extra], unpacked, size, header)
    name = _safe(str(raw, "utf-8", "replace"))
    if flags & _ENCRYPTED:
        raise Refusal(f"{shown(name)} is encrypted")
    *_, named_here, extra_here = _unpack(_HEADER, data, header, b"PK\3\4", f"the header of {shown(name)}")
    first = header + _HEADER.size
    if data[first : first + named_here] != raw:
        raise Refusal(f"{shown(name)} has another name where it stands: made to confuse readers, or damaged")
    first += named_here + extra_here
    if first + size > len(data):
        raise Refusal(f"{shown(name)} is {size} bytes long, more than the file has left: {_DAMAGED}")
    return name, header, Member(first, size, unpacked, method, checksum), start + named + extra + comment


def _large(extra, *numbers):
    """Numbers of 32 bits, of which those that are full stand in the zip64 field (id 1), in their order."""
    place, field = 0, b""
    while place + 4 <= len(extra):
        kind, length = struct.unpack("<2H", extra[place : place + 4])
        if kind == 1:
            field = extra[place + 4 : place + 4 + length]
        place += 4 + length
    if len(field) < 8 * numbers.count(_FULL):
        raise Refusal(f"a size in the archive is missing: {_DAMAGED}")
    values = iter(struct.unpack(f"<{len(field) // 8}Q", field[: len(field) // 8 * 8]))
    return [next(values) if number == _FULL else number for number in numbers]


def _safe(name):
    """A member's name, refused where it leads out of the archive's folder."""
    if name.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", name) or ":" in name or "\0" in name:
        raise Refusal(f"a member called {shown(name)} leads out of the archive: made to overwrite files")
    return name


_BLOCK = 512
_MOST_BLOCKS = 100


def tar_members(data):
    """The bytes of the files in an uncompressed tar archive, by name; PAX headers are passed over.

    Raises:
      Refusal: a damaged archive, links in it, or names that lead out of it.
    """
    members, place = {}, 0
    for _ in range(_MOST_BLOCKS):
        header = data[place : place + _BLOCK]
        if not header.strip(b"\0"):
            return members
        if len(header) < _BLOCK:
            break
        name, kind = str(header[:100].split(b"\0")[0], "utf-8", "replace"), header[156:157]
        name = _safe(name.removeprefix("./"))
        size = _octal(header[124:136])
        if int(_octal(header[148:156])) != sum(header[:148]) + sum(header[156:]) + 8 * ord(" "):
            raise Refusal(f"the header of {shown(name)} does not match its checksum: {_DAMAGED}")
        if place + _BLOCK + size > len(data):
            raise Refusal(f"{shown(name)} is {size} bytes long, more than the file has left: {_DAMAGED}")
        if kind not in (b"0", b"\0", b"5", b"x", b"g"):
            raise Refusal(f"{shown(name)} is a link or a device, not a file: made to reach other files")
        if kind in (b"0", b"\0"):
            if name in members:
                raise Refusal(f"an archive with two members called {shown(name)}: made to confuse readers")
            members[name] = data[place + _BLOCK : place + _BLOCK + size]
        place += _BLOCK + -(-size // _BLOCK) * _BLOCK
    raise Refusal(f"a tar archive that does not end, or has more than {_MOST_BLOCKS} members: {_DAMAGED}")


def _octal(field):
    text = field.strip(b" \0")
    if not re.fullmatch(rb"[0-7]{1,11}", text):
        raise Refusal(f"a number in the tar archive is none: {_DAMAGED}")
    return int(text, 8)
