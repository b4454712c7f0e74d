"""What an evaluator is, and what it is handed."""

import dataclasses
import functools
import hashlib
import json
import math
from pathlib import Path

import numpy as np

from components import UserError
from denoisers.gaussian_mixture import GaussianMixture
from evaluation.features import create_extractor
from evaluation.held_out import HeldOut, LeftOut, subset
from experiment.draw import NumberedSamples
from experiment.load import Run
from experiment.run_data import RunData, data_of
from parallel.processes import is_first, wait_for_all
from workdir import storage, strict_json
from workdir.files import UNREADABLE, checksum, replacing, write_json
from workdir.partial import Partial
from workdir.provenance import project_version
from workdir.records import say

# A full covariance of more dimensions takes minutes to factor.
LARGEST_GAUSSIAN = 4096
GAUSSIAN_IMAGES = 20_000
# Of `sampling`, what changes no sample.
SIZES = ("num_samples", "batch_size", "png", "largest_bias")


@dataclasses.dataclass(frozen=True)
class Figure:
    """One line of the report.

    Attributes:
      name: what was measured, of what; value: with its standard error or interval; note: what it depends on.
    """

    name: str
    value: str
    note: str = ""


class Evaluator:
    """One measurement of a model. A class of its own file for each, and a row of EVALUATORS.

    Attributes:
      name: in `eval.evaluators`, and of its entry in metrics.json.
      reads: which of "data" (a data set) and "samples" (drawn as `sampling` says) it reads of a network.
      keeps_itself: whether it keeps what is finished by itself, rather than its entry being kept whole.
    """

    name = ""
    reads = ()
    keeps_itself = False

    def needs(self, config):
        """What it reads of a network with this config, as in `reads`."""
        return self.reads

    def refusals(self, config):
        """Lines about the fields of the config that it reads."""
        return ()

    def settings(self, config):
        """JSON-able: the fields on which its figures depend, beside the model, the data and the samples."""
        return {}

    def require_files(self, config, workdir=None, record=None):
        """Raises UserError for what only files can tell is wrong, before any evaluator begins or in a check.

        Args:
          workdir: of the run, and record: of its checkpoint; None: there is none yet.
        """

    def measure(self, evaluation):
        """Its entry of metrics.json: a dict for JSON. Every process calls it.

        Args:
          evaluation: Evaluation.

        Raises:
          TooFew: there are too few examples for any of its figures.
        """
        raise NotImplementedError

    def figures(self, entry):
        """Yields a Figure for each number of an entry that is shown."""
        return ()

    def panels(self, entry):
        """Bars: dict from a title to a dict from a label to (value, how far it reaches).

        That is a standard error, 0 where there is none, or what a 95% interval has (below, above) the value.
        """
        return {}

    def pictures(self, entry, workdir, folder):
        """Yields (name of a file, name of a function of reports/figures.py, its arguments).

        Args:
          workdir: Path of the run; folder: Path of the results.
        """
        return ()


def _digest(described):
    """Of what JSON can say, whatever the order of its names."""
    text = json.dumps(strict_json.plain(described), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class Kept:
    """Finished figures in files by what they depend on: the same command takes them up.

    Args:
      folder: where they lie, `<name>-<digest of what they depend on>.json`.
    """

    def __init__(self, folder):
        self.folder = storage.path(folder)

    def path(self, name, identity, suffix=".json"):
        """Of the file for what depends on this JSON-able identity."""
        return self.folder / f"{name}-{_digest(identity)}{suffix}"

    def __call__(self, name, identity, measure):
        """The dict that `measure()` returns, or returned before; either way as JSON has it."""
        path = self.path(name, identity)
        found = self._read(path)
        # No process may write before all have looked.
        wait_for_all(f"{name} kept")
        if found is not None:
            return found
        try:
            measured = measure()
        except UserError:
            # The same command, twice at once: where the other is done, it has removed what both had begun.
            found = self._read(path)
            if found is None:
                raise
            return found
        if is_first():
            storage.make_folder(self.folder)
            write_json(path, {"entry": measured, "digest": _digest(measured)})
        return strict_json.loads(strict_json.dumps(measured))

    def _read(self, path):
        try:
            found = strict_json.loads(storage.read_text(path))
            if found["digest"] != _digest(found["entry"]):
                raise ValueError("its content is not what was written")
            return found["entry"]
        except FileNotFoundError:
            return None
        except (*UNREADABLE, RecursionError) as error:
            say(f"warning: {path} cannot be read ({error}); its figures are measured anew.")
            return None

    def arrays(self, name, identity, arrays):
        """Keeps arrays by name in an .npz file, the path of which is returned."""
        path = self.path(name, identity, ".npz")
        if is_first():
            storage.make_folder(self.folder)
            with replacing(path) as temporary:
                np.savez_compressed(temporary, **arrays)
        return path


@dataclasses.dataclass(frozen=True, eq=False)
class Evaluation:
    """A Run that is evaluated, and what several evaluators have in common; each part is made when it is read.

    Attributes:
      run: Run; folder: Path of the results.
      opened: RunData of the run, where it is at hand; drawn: its NumberedSamples, where they are.
    """

    run: Run
    folder: Path
    opened: RunData | None = None
    drawn: NumberedSamples | None = None

    @property
    def config(self):
        return self.run.config

    @property
    def experiment(self):
        return self.run.experiment

    @property
    def params(self):
        return self.run.params

    @property
    def kept(self):
        return Kept(self.folder / "evaluated")

    @functools.cached_property
    def data(self):
        """RunData; opens the data set."""
        return self.opened or data_of(self.run)

    @functools.cached_property
    def held_out(self):
        """{"image": [N, ...], "label": [N] where there are labels} of the held-out split."""
        return self.examples("test")

    def examples(self, split):
        """The first `eval.max_images` of a fixed shuffle of a split, "test" or "train"."""
        source = self.data.train if split == "train" else self.data.test
        return subset(source, self.config.eval.max_images)

    @functools.cached_property
    def scaled(self):
        """HeldOut of the held-out images; of a mixture, exact samples."""
        experiment = self.experiment
        if experiment.mixture is None:
            return HeldOut.from_experiment(experiment, self.held_out)
        return HeldOut.of_mixture(experiment, self.config.eval.max_images)

    @functools.cached_property
    def gaussian(self):
        """The Gaussian of the dequantized training images, in the model's range.

        None where there are too many dimensions, or too few images for a covariance.
        """
        experiment, source = self.experiment, self.data.train
        dimension = math.prod(experiment.shape)
        if dimension > LARGEST_GAUSSIAN or len(source) < 2 * dimension:
            say(f"no Gaussian is fitted: {len(source)} training images of {dimension} dimensions")
            return None
        images = subset(source, max(GAUSSIAN_IMAGES, 2 * dimension))["image"]
        spacing = (2.0 if experiment.transform.centered else 1.0) / experiment.transform.pixel_values
        return GaussianMixture.fit(
            np.asarray(experiment.transform.to_model(images)), noise_variance=spacing**2 / 12
        )

    @functools.cached_property
    def samples(self):
        """NumberedSamples of the config."""
        return self.drawn or NumberedSamples(self.experiment, self.config.sampling)

    @functools.cached_property
    def extractor(self):
        """Extractor of `eval.features`; reads its weights."""
        return create_extractor(self.config.eval.features)

    @functools.cached_property
    def _model_identity(self):
        return model_identity(self.run)

    def identity(self, evaluator):
        """What an evaluator's entry depends on, for JSON: another model, data or setting has another."""
        found = {"evaluator": evaluator.name, "model": self._model_identity}
        found["settings"] = {"max_images": self.config.eval.max_images, **evaluator.settings(self.config)}
        needs = evaluator.needs(self.config)
        if "data" in needs and self.experiment.mixture is None:
            found["data"] = self.data.record()
        if "samples" in needs:
            found["sampling"] = sampling_identity(self.config.sampling, self.samples)
        return strict_json.plain(found)

    def partial(self, evaluator):
        """The Partial in which an evaluator keeps its rows until its entry is kept, when it is removed."""
        return Partial(self.folder / evaluator.name, self.identity(evaluator))

    def entry(self, evaluator):
        """The evaluator's entry of metrics.json, measured now or before; figures left out are named in it."""

        def measure():
            left_out = LeftOut()
            entry = {}
            with left_out(evaluator.name):
                entry = evaluator.measure(self)
            reasons = {**entry.pop("left_out", {}), **left_out.reasons}
            return {**entry, "left_out": reasons}

        if evaluator.keeps_itself:
            return strict_json.loads(strict_json.dumps(measure()))
        entry = self.kept(evaluator.name, self.identity(evaluator), measure)
        self.partial(evaluator).finish()
        return entry


def model_identity(run):
    """What tells the model of a Run from any other, for JSON."""
    config, experiment = run.config, run.experiment
    return {
        "version": project_version(),
        "step": run.checkpoint["step"],
        "parameters": checksum(run.params),
        "seed": config.seed,
        "sde": repr(experiment.sde),
        "transform": repr(experiment.transform),
        **{name: config[name].to_dict() for name in ("denoiser", "model", "mixture")},
    }


def sampling_identity(config, samples):
    """What tells these samples from any other, for JSON; not how many.

    Args:
      config: the subtree `sampling`; samples: its NumberedSamples.
    """
    described = {name: value for name, value in config.to_dict().items() if name not in SIZES}
    return {**described, "sampler": checksum(samples.sampler)}
