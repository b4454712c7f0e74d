"""What a file of strangers is refused with, and how much of one is shown in a message."""

import reprlib

from components import UserError


class RefusedFile(UserError):
    """A file that is not read: damaged, of an unknown form, or one that could run code or fill the memory."""


class Refusal(ValueError):
    """Why a part of a file is refused, in one line without the file's name; `load` adds the name."""


def shown(thing):
    """Text or a number that a file holds, made fit for a message: one line of ASCII, some 80 characters."""
    text = thing if isinstance(thing, str) else repr(thing) if isinstance(thing, int | float) else None
    return type_name(thing) if text is None else ascii(text[:80])[1:-1][:80]


def brief(value):
    """A value of a JSON file as Python writes it, at most some 80 characters of it."""
    return reprlib.repr(value)[:80]


def type_name(thing):
    """The name of a thing's type, for a message."""
    return type(thing).__name__
