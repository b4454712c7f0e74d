"""What a file of strangers is refused with, and how much of one is shown in a message."""

from components import UserError


class RefusedFile(UserError):
    """A file that is not read: damaged, of an unknown form, or one that could run code or fill the memory."""


class Refusal(ValueError):
    """Why a part of a file is refused, in one line without the file's name; `load` adds the name."""


def shown(thing):
    """Text that a file holds, made fit for a message: one line of ASCII, 80 characters at most."""
    text = (
        thing if isinstance(thing, str) else repr(thing) if isinstance(thing, int) else type(thing).__name__
    )
    return ascii(text[:80])[1:-1][:80]
