"""`folder:<path>`: image files of any size in class folders, resized to `data.image_size`.

<path>/<class>/*.png, or images directly in <path>, which then have no labels. Where <path> has `train` beside
`val` (`valid`, `validation`) or `test`, in any case, each holding such a tree, these are the splits; `train`
alone is the training set, of which `data.holdout` is held out as of any other tree.

Links are followed, each real folder once in a tree. Hidden files and folders are left out (`._x.png` of
macOS, `.ipynb_checkpoints`, `.thumbs`); what else is left out is said.
"""

import collections
import dataclasses
import os
import stat
import unicodedata
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from components import ConfigError
from data.decode import FORMAT_OF_SUFFIX, decode, preparation, recipe
from data.source import DataError, Decoded, Source, digest
from data.split import split_rows

TRAIN = {"train", "training"}
VALIDATION = {"val", "valid", "validation"}
TEST = {"test", "testing"}
_SHOWN = 5


@dataclasses.dataclass(frozen=True)
class _Tree:
    """The images below a folder, in the order of their names.

    Attributes:
      paths, names: of the images; names are relative to the folder, with / and in Unicode's composed form,
        for file systems that store it otherwise.
      sizes: in bytes.
      notes: lines about what was left out.
    """

    paths: tuple[Path, ...]
    names: tuple[str, ...]
    sizes: tuple[int, ...]
    notes: tuple[str, ...]


def _unreadable(error):
    raise DataError(f"{error.filename} cannot be read: {error.strerror}. Mend or remove it.")


def _walk(root, left_out):
    """(path, name as parts) of all files below a folder that are not hidden; links are followed.

    Each real folder is entered once, so that no loop of links is endless and no image is met twice.
    """
    entered = {os.path.realpath(root)}
    for folder, below, files in os.walk(root, onerror=_unreadable, followlinks=True):
        enter = []
        visible = [name for name in below if not name.startswith(".")]
        # Real folders before links to them, whose names they keep.
        for name in sorted(visible, key=lambda name: (os.path.islink(os.path.join(folder, name)), name)):
            path = Path(folder, name)
            real = os.path.realpath(path)
            if real in entered:
                left_out["links to folders that are there already"].append(str(path))
            else:
                entered.add(real)
                enter.append(name)
        below[:] = enter
        parts = Path(folder).relative_to(root).parts
        yield from ((Path(folder, name), (*parts, name)) for name in files if not name.startswith("."))


def _scan(root):
    """The _Tree below a folder.

    Raises:
      DataError: a folder or a link that leads nowhere.
    """
    found, suffixes, left_out = [], collections.Counter(), collections.defaultdict(list)
    for path, parts in _walk(root, left_out):
        if path.suffix.lower() not in FORMAT_OF_SUFFIX:
            suffixes[path.suffix or "without a suffix"] += 1
            continue
        try:
            status = path.stat()
        except OSError as error:
            _unreadable(error)
        if not stat.S_ISREG(status.st_mode):
            left_out["pipes, sockets or devices"].append(str(path))
            continue
        found.append((tuple(unicodedata.normalize("NFC", part) for part in parts), path, status.st_size))
    found.sort(key=lambda entry: entry[0])
    notes = [
        f"left out: {', '.join(names[:_SHOWN])}{' and more' * (len(names) > _SHOWN)}, {len(names)} {what}"
        for what, names in left_out.items()
    ]
    if suffixes:
        counts = ", ".join(f"{count} {suffix}" for suffix, count in suffixes.most_common(_SHOWN))
        notes.append(
            f"left out in {root}: {suffixes.total()} files that are none of "
            f"{' '.join(sorted(FORMAT_OF_SUFFIX))}: {counts}{' and others' * (len(suffixes) > _SHOWN)}"
        )
    return _Tree(
        tuple(path for _, path, _ in found),
        tuple("/".join(parts) for parts, _, _ in found),
        tuple(size for _, _, size in found),
        tuple(notes),
    )


def _holds_images(folder):
    files = _walk(folder, collections.defaultdict(list))
    return any(path.suffix.lower() in FORMAT_OF_SUFFIX for path, _ in files)


def _layout(root, source):
    """({split: folder}, notes): the folders of the splits; {} where the tree has none of its own.

    Raises:
      DataError: a layout that can be read in two ways.
    """
    folders = sorted(f for f in root.iterdir() if f.is_dir() and not f.name.startswith("."))
    kinds = {"train": TRAIN, "validation": VALIDATION, "test": TEST}
    named = {kind: [f for f in folders if f.name.lower() in names] for kind, names in kinds.items()}
    for several in named.values():
        if len(several) > 1:
            raise DataError(
                f"{source} has {' and '.join(f.name for f in several)}: keep one of them in {root}."
            )
    named = {kind: found[0] for kind, found in named.items() if found}
    others = [f for f in folders if f not in named.values() and _holds_images(f)]
    if not named or (list(named) != ["train"] and len(named) + len(others) == 1):
        return {}, ()
    if "train" not in named or (len(named) == 1 and others):
        shown = ", ".join(f"{f.name}/" for f in [*named.values(), *others][:_SHOWN])
        raise DataError(
            f"{source} has {shown}: these are neither classes nor splits. Splits are train/ with test/ or "
            "val/; a class needs another name."
        )
    held_out = named.get("test", named.get("validation"))
    if held_out and os.path.realpath(held_out) == os.path.realpath(named["train"]):
        raise DataError(f"{source}: {held_out.name}/ and {named['train'].name}/ are one folder.")
    loose = [f.name for f in root.iterdir() if f.suffix.lower() in FORMAT_OF_SUFFIX and f.is_file()]
    unused = [f"{f.name}/" for f in folders if f not in (named["train"], held_out)] + sorted(loose)
    notes = []
    if unused:
        more = " and more" * (len(unused) > _SHOWN)
        notes.append(f"left out beside the splits in {root}: {', '.join(unused[:_SHOWN])}{more}")
    if held_out is None:
        return {"train": named["train"]}, tuple(notes)
    return {"train": named["train"], "test": held_out}, (f"held out is {held_out.name}/ of {root}", *notes)


def _class_of(name):
    """The name of an image's class: its folder within the tree."""
    return name.rpartition("/")[0]


def load(path, split, config):
    """The images of one split, in the order of their file names.

    Raises:
      ConfigError: data.image_size is not set.
      DataError: no such folder, no images in it, broken images, or a layout that can be read in two ways.
    """
    source = f'data.source="folder:{path}"'
    if config.image_size is None:
        raise ConfigError(f"{source} needs data.image_size, the side that images are resized to.")
    root = Path(path)
    if not root.is_dir():
        raise DataError(f"{source}: there is no such folder.")
    splits, notes = _layout(root, source)
    trees = {name: _scan(folder) for name, folder in (splits or {"train": root}).items()}
    for name, tree in trees.items():
        if not tree.names:
            looked = ", ".join(sorted(FORMAT_OF_SUFFIX))
            raise DataError(f"{source}: no images in {splits.get(name, root)}. Looked for {looked}.")
    tree = trees.get(split, trees["train"])
    rows, held_out = range(len(tree.names)), ()
    if "test" not in trees:
        rows, held_out = split_rows(tree.names, split, config)
    paths, names = [tree.paths[i] for i in rows], [tree.names[i] for i in rows]
    files = ImageFiles(lambda i: paths[i].read_bytes(), paths, names, config)
    # Of both splits, so that a class has one number in each of them.
    classes = sorted({_class_of(name) for tree in trees.values() for name in tree.names})
    number = {name: i for i, name in enumerate(classes)}
    labels = np.array([number[_class_of(name)] for name in files.names], np.int32)
    shape = (config.image_size, config.image_size, files.channels)
    return Source(
        Decoded(files.decode, len(files.names), shape, config.threads),
        labels if len(classes) > 1 else None,
        pixel_values=256,
        recipe=recipe(*files.how),
        label_names=tuple(classes) if len(classes) > 1 else None,
        names=tuple(files.names),
        sizes=tuple(tree.sizes[i] for i in rows),
        contents=files.digest,
        notes=(*held_out, *notes, *(note for tree in trees.values() for note in tree.notes)),
    )


class ImageFiles:
    """Image files by number; a checksum of each that was read is kept, for the identity of the set.

    Args:
      read: number -> bytes.
      paths: of the files, for messages; names: in their set; config: the subtree `data`.
      size: side of the images, by default as the config has it.
    """

    def __init__(self, read, paths, names, config, size=None):
        self.names, self.channels = names, config.channels or 3
        self.how = preparation(config, size or config.image_size, self.channels)
        self._bytes_of, self._paths, self._threads = read, paths, config.threads
        self._checksums = np.full(len(paths), -1, np.int64)

    def _read(self, i):
        try:
            content = self._bytes_of(i)
        except OSError as error:
            raise DataError(f"{self._paths[i]} cannot be used: {error.strerror}. Mend or remove it") from None
        self._checksums[i] = zlib.crc32(content)
        return content

    def decode(self, i):
        """The image of that number, uint8 [size, size, channels]."""
        return decode(self._read(i), self._paths[i], *self.how)

    def digest(self):
        """A digest of the bytes of all files; those that were not decoded yet are read."""
        with ThreadPoolExecutor(self._threads) as pool:
            list(pool.map(self._read, np.flatnonzero(self._checksums < 0)))
        return digest([self._checksums.astype("<i8").tobytes()])
