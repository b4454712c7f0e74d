"""What a config reproduces, as facts: each experiment has them once, as PAPER, for its reader and --list."""

from typing import NamedTuple


class Paper(NamedTuple):
    """The published experiment behind a config.

    Attributes:
      paper: authors and year.
      row: table and row, or figure, or section.
      data: what is modelled, with the images' side.
      parameters: of the network that are trained, as counted in the authors' code; fixed random features
        are none. None: not known.
      published: the figures that it should reach, with what they were measured by; None: the paper has none.
      seen: where the figures were read: "paper" or "code" (the authors' own), "quoted" in another text, or
        "memory", which nobody checked.
    """

    paper: str
    row: str
    data: str
    parameters: int | None
    published: str | None
    seen: str = "paper"
