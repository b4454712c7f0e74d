"""`zip:<path>`: an archive of image files with dataset.json, as `dataset_tool.py` of EDM and EDM2 writes it.

dataset.json, at the top of the archive, has the label of each image:

    {"labels": [["00000/img00000000.png", 6], ["00000/img00000001.png", 9], ...]}

Where it is missing, or its labels are null, there are none: folders are no classes here. All images make up
one set, of which `data.holdout` is held out. Hidden files are left out, and what else is left out is said.
Without `data.image_size` the images get the side of the first one.

The archive is not unpacked. Its table of contents is read once; each image is then read at its place, by any
number of threads at the same time, and compared with the checksum that the table has of it.
"""

import collections
import json
import struct
import unicodedata
import zipfile
import zlib
from pathlib import PurePosixPath

import numpy as np

from data.decode import FORMAT_OF_SUFFIX, decode, recipe
from data.folder import ImageFiles
from data.source import DataError, Decoded, Source, digest
from data.split import split_rows
from workdir import storage

LABELS = "dataset.json"
_SHOWN = 5
_ENCRYPTED = 0x1
# A member begins with this header, then its name and extra fields (PKWARE's APPNOTE, section 4.3.7).
_HEADER = struct.Struct("<4s5H3I2H")
_SIGNATURE = b"PK\x03\x04"


class Archive:
    """The members of a zip archive, read by their places.

    Args:
      path: of the archive.

    Raises:
      DataError: no such file, or no archive.
    """

    def __init__(self, path):
        self.path = path
        try:
            with storage.opened(path) as file, zipfile.ZipFile(file) as archive:
                self.members = {info.filename: info for info in archive.infolist() if not info.is_dir()}
            self._pieces = storage.Pieces(path)
        except FileNotFoundError:
            raise DataError(f'data.source="zip:{path}": there is no such file.') from None
        except (zipfile.BadZipFile, OSError, NotImplementedError, ValueError) as error:
            reason = (str(error).strip() or type(error).__name__).rstrip(".")
            raise DataError(f'data.source="zip:{path}" cannot be read: {reason}. Replace the file.') from None

    def read(self, name):
        """The bytes of a member.

        Raises:
          DataError: it is damaged, or stored in a way that is not read here.
        """
        info = self.members[name]
        inflate = {
            zipfile.ZIP_STORED: bytes,
            zipfile.ZIP_DEFLATED: lambda content: zlib.decompressobj(-15).decompress(content, info.file_size),
        }
        if info.flag_bits & _ENCRYPTED or info.compress_type not in inflate:
            raise DataError(
                f"{name} in {self.path} is encrypted or compressed in a way that is not read here. Write the "
                "archive without (zip -0)"
            )
        try:
            # One reading, where the header has a name and no more, as those of dataset_tool.py.
            size = _HEADER.size + len(name.encode()) + info.compress_size
            piece = self._pieces.read(size, info.header_offset)
            header = _HEADER.unpack(piece[: _HEADER.size])
            start = _HEADER.size + header[-2] + header[-1]
            if start + info.compress_size > size:
                piece += self._pieces.read(start + info.compress_size - size, info.header_offset + size)
            content = inflate[info.compress_type](piece[start : start + info.compress_size])
            sound = header[0] == _SIGNATURE and zlib.crc32(content) == info.CRC
        except (struct.error, zlib.error):
            sound = False
        if not sound:
            raise DataError(
                f"{name} in {self.path} is damaged, or the archive has changed. Replace the archive"
            )
        return content


def _images(archive):
    """The images as [(name, member)] in the order of their names, and lines about what is left out.

    A name is its member's, with Unicode's composed form.
    """
    found, suffixes = [], collections.Counter()
    for member in archive.members:
        path = PurePosixPath(unicodedata.normalize("NFC", member))
        if member == LABELS or any(part.startswith(".") for part in path.parts):
            continue
        if path.suffix.lower() in FORMAT_OF_SUFFIX:
            found.append((path.parts, member))
        else:
            suffixes[path.suffix or "without a suffix"] += 1
    notes = ()
    if suffixes:
        counts = ", ".join(f"{count} {suffix}" for suffix, count in suffixes.most_common(_SHOWN))
        notes = (
            f"left out in {archive.path}: {suffixes.total()} files that are none of "
            f"{' '.join(sorted(FORMAT_OF_SUFFIX))}: {counts}{' and others' * (len(suffixes) > _SHOWN)}",
        )
    return [("/".join(parts), member) for parts, member in sorted(found)], notes


def _labels(archive, members):
    """[N] int32 labels of the images by dataset.json, or None where it gives none.

    Raises:
      DataError: labels that are no whole numbers from 0 on, or images without one.
    """
    if LABELS not in archive.members:
        return None
    source = f'data.source="zip:{archive.path}": {LABELS}'
    try:
        listed = json.loads(archive.read(LABELS))["labels"]
        label_of = None if listed is None else {name: label for name, label in listed}
    except (ValueError, KeyError, TypeError, RecursionError):
        raise DataError(f'{source} must be {{"labels": [[<name>, <label>], ...]}}.') from None
    if label_of is None:
        return None
    missing = [member for member in members if member not in label_of]
    if missing:
        raise DataError(f"{source} has no label of {missing[0]}, nor of {len(missing) - 1} other images.")
    labels = [label_of[member] for member in members]
    wrong = [label for label in labels if type(label) is not int or not 0 <= label < 2**31]
    if wrong:
        raise DataError(f"{source} has the label {wrong[0]!r:.40}; labels must be whole numbers from 0 on.")
    return np.array(labels, np.int32)


def load(path, split, config):
    """The images of one split, in the order of their names.

    Raises:
      DataError: no such archive, no images in it, broken images, or labels that are none.
    """
    archive = Archive(path)
    images, notes = _images(archive)
    if not images:
        looked = ", ".join(sorted(FORMAT_OF_SUFFIX))
        raise DataError(f'data.source="zip:{path}": no images in it. Looked for {looked}.')
    names, members = zip(*images, strict=True)
    labels = _labels(archive, members)
    rows, held_out = split_rows(names, split, config)
    names, members = [names[i] for i in rows], [members[i] for i in rows]
    shown = [f"{member} in {path}" for member in members]
    size = config.image_size or config.crop or _side(archive, images[0][1], config)
    files = ImageFiles(lambda i: archive.read(members[i]), shown, names, config, size)
    checksums = np.array([archive.members[member].CRC for member in members], "<i8")
    return Source(
        Decoded(files.decode, len(names), (size, size, files.channels), config.threads),
        None if labels is None else labels[rows],
        pixel_values=256,
        recipe=recipe(*files.how),
        names=tuple(names),
        sizes=tuple(archive.members[member].file_size for member in members),
        contents=lambda: digest([checksums.tobytes()]),
        notes=(*held_out, *notes),
    )


def _side(archive, member, config):
    """The smaller side of the first image."""
    image = decode(archive.read(member), f"{member} in {archive.path}", None, config.channels or 3, "white")
    return min(image.shape[:2])
