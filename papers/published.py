"""What a published table is, as data: rows, columns, figures, and the settings behind each figure.

An override is a path of the config and its value; a dict takes the place of the whole group with a name, the
fields that it does not have as in configs/base.py, as `--config.sampling.predictor="{'name': 'ddim'}"` does.
In the value of a path to a file `{workdir}` is the folder of the run, and `{network}` that of the run without
the row's own overrides of `denoiser`, `loss` and `training`: the network below a head.
"""

import enum
import re
from dataclasses import dataclass, field
from typing import Any


class Mark(enum.Enum):
    """How a figure came here."""

    READ = "v"  # in the paper's own text, or its authors' repository
    SECONDARY = "s"  # in another text, which the table's `source` names


class Metric(enum.Enum):
    """What is printed; the value is the heading."""

    FID = "FID"
    INCEPTION_SCORE = "IS"
    PRECISION = "precision"
    RECALL = "recall"
    BITS_PER_DIM = "bits/dim"  # by the probability-flow ODE
    BOUND = "bits/dim (bound)"  # of a discrete chain


class Checkpoint(enum.Enum):
    """Which one of a training the figure is of. It moves FID by tenths."""

    LAST = "last"
    LEAST_FID = "smallest FID over training"
    LEAST_FID_1000 = "smallest FID of 1,000 samples over training"
    RELEASED = "released by the authors of the model"
    UNSTATED = "not stated"


class Repeats(enum.Enum):
    """How many sets of samples, or of noise, stand behind a figure, and what of them is printed."""

    ONE = "one"
    MEAN_OF_5 = "mean of 5"
    LEAST_OF_3 = "least of 3"

    @property
    def count(self):
        """The number of sets."""
        return {"one": 1, "mean of 5": 5, "least of 3": 3}[self.value]


class Images(enum.Enum):
    """The real images that figures are measured against, or on."""

    TRAINING = "all training images"
    TRAINING_50K = "50,000 training images"
    TEST = "test images"
    UNSTATED = "not stated"


class Code(enum.Enum):
    """Whose Inception network and resizing made the FID."""

    TENSORFLOW_GAN = "tensorflow_gan"
    TTUR = "TTUR"
    PYTORCH_FID = "pytorch-fid"
    ADM = "guided-diffusion"
    STYLEGAN3 = "StyleGAN3's port"
    UNSTATED = "not stated"


@dataclass(frozen=True)
class Protocol:
    """What moves figures and stands in no config.

    Attributes:
      samples: drawn for each FID.
      t_min: where sampling, or the likelihood, stops before the last denoising, as the paper says it.
    """

    samples: int = 50_000
    checkpoint: Checkpoint = Checkpoint.UNSTATED
    repeats: Repeats = Repeats.ONE
    images: Images = Images.UNSTATED
    code: Code = Code.UNSTATED
    t_min: str = "as in the config"


@dataclass(frozen=True)
class Figure:
    """One printed figure, where its text alone is not enough.

    Attributes:
      text: as printed, "3.62 ± .03"; "-" where the paper has none.
      overrides: of this figure alone.
      config: its experiment, where it is neither the row's nor the column's.
      cannot: why this code does not measure it, where it does not.
    """

    text: str
    overrides: dict[str, Any] = field(default_factory=dict)
    config: str | None = None
    cannot: str | None = None


@dataclass(frozen=True)
class Column:
    """A column: what it measures, and its settings.

    Attributes:
      config: the experiment, where the columns of a table are models; else the row has it.
      small: whether it is measured at a small scale.
    """

    title: str
    metric: Metric = Metric.FID
    overrides: dict[str, Any] = field(default_factory=dict)
    config: str | None = None
    small: bool = True


@dataclass(frozen=True)
class Row:
    """A row: its setting and the published figures, in the order of the columns.

    Attributes:
      figures: a text "2.55" or a Figure for each column; "-" where none was printed.
      config: file of configs/ without ending, "vp/cifar10_ddpmpp_continuous"; None: another paper's model,
        which stands there to be compared with.
      mark: where it is not the table's.
      small: whether it is measured at a small scale.
      note: what is peculiar to it; printed.
    """

    label: str
    figures: tuple[str | Figure, ...]
    config: str | None = None
    overrides: dict[str, Any] = field(default_factory=dict)
    mark: Mark | None = None
    small: bool = True
    note: str | None = None


@dataclass(frozen=True)
class Table:
    """A published table.

    Attributes:
      source: paper, table, and where a secondary figure was seen.
      mark: of its figures.
      small: overrides of the training of all rows at a small scale.
      fewer: what levels and steps of samplers are divided by at a small scale.
      note: printed below it.
    """

    title: str
    source: str
    mark: Mark
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    protocol: Protocol = Protocol()
    overrides: dict[str, Any] = field(default_factory=dict)
    small: dict[str, Any] | None = None
    fewer: int = 1
    note: str | None = None

    def __post_init__(self):
        for row in self.rows:
            if len(row.figures) != len(self.columns):
                raise ValueError(f"{self.title}, {row.label}: {len(row.figures)} figures")

    def cells(self):
        """Its Cells, row by row; those of other papers' models among them."""
        for row in self.rows:
            for column, figure in zip(self.columns, row.figures, strict=True):
                yield Cell(self, row, column, figure if isinstance(figure, Figure) else Figure(figure))


@dataclass(frozen=True)
class Cell:
    """One figure of a Table with all that it was made by."""

    table: Table
    row: Row
    column: Column
    figure: Figure

    @property
    def config(self):
        """Its experiment, or None where the figure is another paper's model."""
        return self.figure.config or self.row.config or self.column.config

    @property
    def overrides(self):
        """Of table, column, row and figure, the later ones before the earlier."""
        of = (self.table, self.column, self.row, self.figure)
        return {path: value for part in of for path, value in part.overrides.items()}

    @property
    def mark(self):
        """The row's Mark, or the table's."""
        return self.row.mark or self.table.mark

    @property
    def value(self):
        """The printed number, None where there is none.

        >>> cell = Cell(None, None, None, Figure("≤ 3.75 (3.72)"))
        >>> cell.value
        3.75
        """
        return number(self.figure.text)

    @property
    def name(self):
        """Row and column."""
        return f"{self.row.label} / {self.column.title}"


def number(text):
    """The first number in the text of a figure, or None.

    >>> number("2.85 / 256"), number(".06"), number("-")
    (2.85, 0.06, None)
    """
    found = re.search(r"\d*\.\d+|\d+", text)
    return float(found[0]) if found else None


def sampler(predictor, steps, corrector=None, grid=None, variance="small", **fields):
    """Overrides of `sampling`: groups by name or as a dict, and further fields of it.

    >>> sampler("ddim", 49)["sampling.predictor"], sampler({"name": "ddim", "eta": 0.2}, 9)["sampling.steps"]
    ({'name': 'ddim'}, 9)
    """

    def group(value):
        return {"name": value} if isinstance(value, str | None) else dict(value)

    return {
        "sampling.predictor": group(predictor),
        "sampling.corrector": group(corrector or "none"),
        "sampling.grid": group(grid),
        "sampling.variance": group(variance),
        "sampling.steps": steps,
        **{f"sampling.{name}": value for name, value in fields.items()},
    }


def langevin(snr, steps=1):
    """The corrector of Song et al. (2021), norms averaged over the batch as released."""
    return {"name": "langevin", "snr": snr, "steps": steps, "norm": "batch"}


def split(figures):
    """The texts of a line of figures.

    >>> split("4.98 | 4.88")
    ('4.98', '4.88')
    """
    return tuple(part.strip() for part in figures.split("|"))
