"""The evaluator `sample_quality`: FID and its kin, of samples against reference statistics.

Every combination of a checkpoint, an average, a sampler and a seed is a setting of its own. Its samples are
drawn in parts by number, and of each its features are kept rather than the image, so that a killed
evaluation goes on; what is finished stays with all that it depends on.

How figures of several settings are read: the last checkpoint is chosen by nobody, and its figure unbiased;
the minimum over checkpoints, which papers print, is a choice by the figure itself. So is the best of several
seeds, beside which their mean stands.
"""

import copy
import dataclasses
import functools
from typing import Any

import numpy as np

import metrics
from components import ConfigError, UserError
from evaluation import reference as references
from evaluation.evaluator import Evaluator, Figure, Kept, model_identity, sampling_identity
from evaluation.features import create_extractor
from evaluation.held_out import LeftOut
from evaluation.quality_settings import READS, refusals, settings_of, with_sampler
from experiment.create import data_shape, read_files, resolved
from experiment.draw import NumberedSamples
from experiment.load import load
from metrics import FeatureSet
from parallel.processes import wait_for_all
from workdir import archives, storage
from workdir.checkpoints import Checkpoints
from workdir.compatibility import trained_on
from workdir.files import UNREADABLE
from workdir.partial import Partial
from workdir.records import say

# The figures of which one is the best of several; the others have no best, or it is not their largest.
BEST = {
    **dict.fromkeys(("fid", "fd_dinov2", "frechet_distance", "sfid", "fid_infinity", "kid"), min),
    "inception_score": max,
}
# One bar says nothing, and more than these cannot be read.
LEAST_BARS, MOST_BARS = 2, 8
# In the place of the number of reference images before the data is open.
MANY = 10**9
_ARRAYS = ("features", "logits", "spatial")


def require_steps(config, workdir):
    """Raises UserError where the workdir has no checkpoint of one of `eval.sample_quality.steps`."""
    wanted = set(config.eval.sample_quality.steps)
    if not wanted:
        return
    checkpoints = Checkpoints(workdir, resolved(config), read_only=True)
    try:
        there = checkpoints.all_steps()
    finally:
        checkpoints.close()
    if not wanted <= set(there):
        raise UserError(
            f"eval.sample_quality.steps={config.eval.sample_quality.steps}: in {workdir}/checkpoints are the "
            f"steps {sorted(there)}. Train with checkpoint.keep_every to keep more."
        )


def _trained_on(record):
    """{split: identity} of the data that a model was trained on last, or None where that is not known."""
    return trained_on(record)[-1] if record else None


def require_reference(config, record=None):
    """Raises ConfigError where weights of `eval.features` or the file of `eval.reference` cannot serve, or a
    metric takes what they do not give.

    Args:
      record: of the run's checkpoint, which says what data it was trained on.
    """
    extractor = create_extractor(config.eval.features)
    found = references.require_file(extractor, config, _trained_on(record))
    reference = found and found.features
    _require_measurable(unmeasurable(config, extractor, reference, data_shape(config)))


def _require_measurable(without):
    if without:
        name, reason = next(iter(without.items()))
        raise ConfigError(f"eval.sample_quality.metrics names {name}: {reason}. Leave it out.")


def unmeasurable(config, extractor, reference=None, shape=None):
    """{name: why} of those of `eval.sample_quality.metrics` that cannot be, whatever is drawn.

    Args:
      reference: FeatureSet; None: of images enough, by the extractor.
      shape: [H, W, C] of the images, where it is known.
    """
    names, count = config.eval.sample_quality.metrics, config.eval.sample_quality.num_samples
    wanted = {metrics.METRICS[name].generated for name in names}
    asks = not wanted <= {"features", "moments"} and not extractor.needs_fit
    kinds = extractor.kinds(shape) if asks else ("features",)

    def stand_in(count):
        found = {kind: np.broadcast_to(np.float32(0), (count, 1)) for kind in kinds}
        return FeatureSet(**found, extractor=extractor.name)

    reasons = {n: metrics.METRICS[n].lacks(reference or stand_in(MANY), stand_in(count)) for n in names}
    return {
        name: f"there is no {name} of these samples: {reason}" for name, reason in reasons.items() if reason
    }


def reference_of(config, data=None, extractor=None, record=None):
    """The evaluation.reference.Reference of the config.

    Args:
      data: RunData, where it is open; extractor: Extractor of `eval.features`, where it is made.
      record: of the run's checkpoint, which says what data it was trained on.
    """
    split = config.eval.reference.split
    source = data and (data.train if split == "train" else data.test)
    extractor = extractor or create_extractor(config.eval.features)
    return references.reference(extractor, config, source, _trained_on(record))


class Drawn:
    """Features of numbered samples of one sampler.

    Args:
      experiment: Experiment; sampling: the subtree `sampling`; extractor: Extractor.
      batch_size: of the extractor, over the devices of this process.
    """

    def __init__(self, experiment, sampling, extractor, batch_size):
        self.samples = NumberedSamples(experiment, sampling)
        self.extractor = extractor
        self._transform, self._batch_size = experiment.transform, batch_size

    def with_seed(self, seed):
        """The same with other draws; nothing is compiled anew."""
        other = copy.copy(self)
        other.samples = self.samples.with_seed(seed)
        return other

    def __call__(self, params, numbers):
        """(uint8 images [n, H, W, C] with the data's pixel values, dict of arrays [n, ...]) of samples."""
        drawn = self.samples.numbered(params, numbers)
        images = self._transform.to_pixels(drawn.x)
        found = self.extractor.features(images, self._batch_size, pixel_values=self._transform.pixel_values)
        return images, {**{name: found[name] for name in _ARRAYS if name in found}, "nfe": drawn.nfe}


def feature_set(arrays, extractor):
    """The FeatureSet of what `Drawn` found."""
    found = {name: arrays[name] for name in _ARRAYS if name in arrays}
    return FeatureSet(**found, extractor=extractor.name)


def figures_of(names, reference, generated):
    """metrics.measure, for a user.

    Raises:
      UserError: features that are not finite, or not comparable.
    """
    try:
        return metrics.measure(names, reference, generated)
    except ValueError as error:
        raise UserError(f"eval.sample_quality.metrics: {error}.") from None


@dataclasses.dataclass(frozen=True, eq=False)
class _Measurement:
    """What all Settings have in common."""

    config: Any
    folder: Any
    reference: Any

    def __call__(self, setting, drawn, run):
        """The dict of one Setting: its figures and pictures, measured now or before."""
        quality, kept = self.config.eval.sample_quality, Kept(self.folder / "evaluated")
        drawing = {
            "model": model_identity(run),
            "seed": setting.seed,
            "sampling": sampling_identity(with_sampler(self.config, setting.sampler).sampling, drawn.samples),
            "extractor": self.reference.extractor.identity,
            # No part of the extractor's identity, since other figures do not depend on it.
            "spatial": bool(getattr(self.reference.extractor.feature, "spatial", False)),
        }
        count = quality.num_samples
        shown = count if quality.keep_images else min(quality.pictures, count)
        keep = quality.keep_features
        rows = Partial(kept.path("sample_features", drawing, ".npz").with_suffix(""), drawing, keep=keep)
        images = Partial(self.folder / "sample_pictures", drawing)
        # Wherever the same statistics lie.
        statistics = {k: v for k, v in self.reference.provenance.items() if k not in ("file", "source")}
        what = {"reference": statistics, "n": count, "metrics": list(quality.metrics), "shown": shown}
        identity = {**drawing, **what}

        def measure():
            arrays = _fill(rows, images, drawn, run.params, count, shown)
            if keep:
                rows.finish(arrays)
            generated = feature_set(arrays, self.reference.extractor)
            # Of many samples that takes minutes after the last progress bar.
            say(f"computing {', '.join(quality.metrics)} of {count} samples")
            found = figures_of(quality.metrics, self.reference.features, generated)
            entry = {"step": run.checkpoint["step"], "average": setting.average, "sampler": setting.sampler}
            nfe = float(arrays["nfe"].mean())
            name = pictures.name if shown else None
            return {**entry, "seed": setting.seed, "nfe": nfe, "figures": found, "pictures": name}

        pictures = kept.path("sample_pictures", identity, ".npz")
        entry = kept("sample_quality", identity, measure)
        if shown and not _is_whole(pictures):
            _fill_pictures(images, drawn, run.params, shown)
            content = {**images.merged(shown), "pixel_values": run.experiment.transform.pixel_values}
            kept.arrays("sample_pictures", identity, content)
        if not keep:
            rows.finish()
        images.finish()
        return entry


def _fill(rows, images, drawn, params, count, shown):
    """Arrays [count, ...] of the samples 0..count-1, the first `shown` of which stay as images."""

    def of_rows(numbers):
        pixels, found = drawn(params, numbers)
        first = numbers < shown
        if first.any():
            images.add(numbers[first], {"images": pixels[first]})
            images.save()
        return found

    batch = drawn.samples.batch_size
    rows.fill(count, batch, of_rows, "sample quality", "sample", "were drawn")
    return rows.merged(count)


def _fill_pictures(images, drawn, params, shown):
    """The first `shown` samples as images: nothing to do, unless a kill or damage came between."""

    def of_pictures(numbers):
        return {"images": drawn(params, numbers)[0]}

    images.fill(shown, drawn.samples.batch_size, of_pictures, "pictures", "sample", "were drawn")


def _is_whole(path):
    """Whether pictures that were kept can be read. Process 0 alone writes them, once all have looked."""
    try:
        archives.read(path, ("images", "pixel_values"))
    except UNREADABLE:
        return False
    finally:
        wait_for_all("pictures kept")
    return True


def sample_quality(run, config, folder, data=None, extractor=None, reference=None):
    """The figures of all Settings of `eval.sample_quality`.

    Args:
      run: Run, of a workdir where several checkpoints or averages are measured.
      config: the whole config, resolved; folder: Path of the results.
      data: RunData; None: opened where the reference statistics need it.
      extractor: Extractor of `eval.features`; None: made here.
      reference: of `reference_of`, where it is at hand.

    Returns:
      dict for JSON: `n`, `extractor`, `reference` (provenance), `settings` with the figures of each, and
      `summary`; see `summarized`.

    Raises:
      ConfigError, UserError: a checkpoint or weights that are not there; what the extractor or statistics
        refuse.
    """
    require_steps(config, run.workdir)
    found = reference or reference_of(config, data, extractor, run.checkpoint)
    extractor = found.extractor
    _require_measurable(unmeasurable(config, extractor, found.features, run.experiment.shape))
    measurement = _Measurement(config, folder, found)

    @functools.lru_cache(maxsize=1)
    def model(step, average):
        if step is None and average is None:
            return run
        chosen = config.copy_and_resolve_references()
        if step is not None:
            chosen.restore.step = step
        if average is not None:
            chosen.restore.average = average
        return load(run.workdir, chosen, READS)

    @functools.lru_cache(maxsize=1)
    def sampler(text):
        changed = with_sampler(config, text)
        experiment = dataclasses.replace(run.experiment, files=read_files(changed, ("sampling",)))
        return Drawn(experiment, changed.sampling, extractor, config.eval.batch_size)

    settings = [
        {
            "name": _column(s, config, extractor.name),
            **measurement(s, sampler(s.sampler).with_seed(s.seed), model(s.step, s.average)),
        }
        for s in settings_of(config)
    ]
    return {
        "n": config.eval.sample_quality.num_samples,
        "extractor": extractor.identity,
        "reference": found.provenance,
        "settings": settings,
        "summary": [
            {**found, "name": f"{found['name']}, {extractor.name}"} for found in summarized(settings)
        ],
    }


def _column(setting, config, extractor):
    """By what a Setting stands beside those of other runs: what was asked for, and whose features."""
    quality = config.eval.sample_quality
    asked = (
        setting.sampler or "sampler of the config",
        f"step {setting.step}" if setting.step is not None else "",
        f"seed {setting.seed}" if quality.seeds else "",
        extractor,
    )
    return _named(*filter(None, asked), average=setting.average)


def summarized(settings):
    """What several checkpoints and seeds of one sampler and average come to, by figure.

    Returns:
      list of dicts: `sampler`, `average`, `figure`; at the `last` step and at the `best` one {"step", "mean",
      "standard_deviation", "best", "seeds"} over seeds. The best step is that with the best mean; its figure
      is biased by the choice. Of figures that are not in BEST there is no best: None.
    """
    result = []
    for sampler, average in dict.fromkeys((s["sampler"], s["average"]) for s in settings):
        own = [s for s in settings if (s["sampler"], s["average"]) == (sampler, average)]
        steps = sorted({s["step"] for s in own})
        for figure in dict.fromkeys(name for s in own for name in s["figures"]):
            best = BEST.get(figure)
            if not all("value" in s["figures"].get(figure, {}) for s in own) or len(own) < 2:
                continue

            def over_seeds(step, figure=figure, best=best, own=own):
                values = [s["figures"][figure]["value"] for s in own if s["step"] == step]
                spread = {"standard_deviation": float(np.std(values, ddof=1))} if len(values) > 1 else {}
                found = {"step": step, "mean": float(np.mean(values)), **spread}
                return {**found, "best": best(values) if best else None, "seeds": len(values)}

            by_step = [over_seeds(step) for step in steps]
            chosen = best(by_step, key=lambda found: found["mean"]) if best else None
            name = _named(figure, sampler or "sampler of the config", average=average)
            named = {"name": name, "sampler": sampler, "average": average, "figure": figure}
            named["checkpoints"] = len(steps)
            result.append({**named, "last": by_step[-1], "best": chosen})
    return result


class SampleQuality(Evaluator):
    name = "sample_quality"
    keeps_itself = True

    def needs(self, config):
        return () if config.eval.reference.file is not None else ("data",)

    def refusals(self, config):
        return refusals(config)

    def require_files(self, config, workdir=None, record=None):
        if workdir is not None:
            require_steps(config, workdir)
        require_reference(config, record)

    def measure(self, evaluation):
        config = evaluation.config
        say(f"features of samples: {described(evaluation.extractor.identity)}")
        data = evaluation.data if self.needs(config) else None
        entry = sample_quality(evaluation.run, config, evaluation.folder, data, evaluation.extractor)
        left_out = LeftOut()
        for setting in entry["settings"]:
            for name, found in setting["figures"].items():
                if "left_out" in found and name not in left_out.reasons:
                    left_out.add(name, found["left_out"])
        return {**entry, "left_out": left_out.reasons}

    def figures(self, entry):
        for setting, name, found in _values(entry):
            figure = f"{name}, {_of_setting(setting)}"
            yield Figure(figure, with_interval(found), f"{_how(entry, found)}, NFE {setting['nfe']:g}")
        for found in entry["summary"]:
            what = _named(f"  {found['figure']}", found["sampler"], average=found["average"])
            last, best, count = found["last"], found["best"], found["checkpoints"]
            same = count > 1 and best == last
            which = (
                f"last checkpoint{f', also the best of {count}' if same else ''}"
                if count > 1
                else "all seeds"
            )
            yield Figure(f"{what}, {which}", _over_seeds(last), f"n={entry['n']}, step {last['step']}")
            if count > 1 and best is not None and not same:
                note = f"n={entry['n']}, step {best['step']}, chosen by this figure"
                yield Figure(f"{what}, best of {count} checkpoints", _over_seeds(best), note)

    def panels(self, entry):
        panels = {}
        for setting, name, found in _values(entry):
            title = f"{name} (n={entry['n']}, {entry['extractor']['name']})"
            low, high = found.get("interval", (found["value"],) * 2)
            bar = (found["value"], (found["value"] - low, high - found["value"]))
            panels.setdefault(title, {})[_of_setting(setting)] = bar
        return {title: bars for title, bars in panels.items() if LEAST_BARS <= len(bars) <= MOST_BARS}

    def pictures(self, entry, workdir, folder):
        for number, setting in enumerate(entry["settings"]):
            path = folder / "evaluated" / (setting["pictures"] or "")
            if path.is_file():
                with storage.opened(path) as file, np.load(file) as found:
                    arguments = (found["images"][:64], int(found["pixel_values"]))
                suffix = f"_{number}" if len(entry["settings"]) > 1 else ""
                yield f"sample_quality{suffix}.png", "samples_figure", arguments


def _values(entry):
    """(setting, name of a figure, its entry) of all figures that there are."""
    for setting in entry["settings"]:
        for name, found in setting["figures"].items():
            if "value" in found:
                yield setting, name, found


def _how(entry, found):
    """Of how many samples a figure is, by which features, against what, as text."""
    n, used = found.get("n", entry["n"]), found.get("n_reference")
    reference = described_reference(entry["reference"])
    if used is not None and used < entry["reference"]["images"]:
        reference = f"{used} of {reference}"
    text = f"n={n}, {described(entry['extractor'])}, against {reference}"
    dimensions = found.get("dimensions", 0)
    if n <= dimensions:
        text += f"; biased by the few samples for {dimensions} dimensions"
    return text


def _named(*parts, average=None):
    return ", ".join(part for part in (*parts, average and f"average {average}") if part)


def _of_setting(setting):
    """What tells a Setting from the others of its entry, as text."""
    numbers = f"step {setting['step']}", f"seed {setting['seed']}"
    return _named(setting["sampler"], *numbers, average=setting["average"])


def described(extractor):
    """An extractor's identity as one text: inception (resize tf1, ...)."""
    own = [
        f"{name} {str(value)[:12]}"
        for name, value in extractor.items()
        if name != "name" and value is not None
    ]
    return extractor["name"] + (f" ({', '.join(own)})" if own else "")


def described_reference(provenance):
    """Where reference statistics come from as one text."""
    if "split" in provenance:
        source = provenance.get("source") or provenance["file"]
        return f"{provenance['images']} {provenance['split']} images of {source}"
    return f"{provenance['images']} images of {provenance['file']}"


def with_interval(entry, digits=4):
    """A metric's value as text, with the interval that it has."""
    text = f"{entry['value']:.{digits}g}"
    if "interval" in entry:
        low, high = entry["interval"]
        text += f" [{low:.{digits}g}, {high:.{digits}g}]"
    return text


def _over_seeds(found):
    if found["seeds"] == 1:
        return f"{found['mean']:.4g}"
    mean, seeds = f"{found['mean']:.4g} ± {found['standard_deviation']:.2g}", found["seeds"]
    of_seeds = f"{mean} (deviation over {seeds} seeds)"
    return of_seeds if found["best"] is None else f"{of_seeds}, best of them {found['best']:.4g}"
