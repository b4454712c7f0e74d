"""What samples are compared with: features of a data set's split, computed once, or moments from a file.

Features of a split are kept in `eval.reference.folder`, in a file of their own for each data set, number of
images and extractor, told apart by digests of all three. A file of another tool (mu, sigma) says nothing of
its origin: what can be checked is, and the rest is told as not known.
"""

import dataclasses
import hashlib
import json
import re
from pathlib import Path

import numpy as np

import data
from components import ConfigError, choose, local_path
from data.sources import parse
from evaluation.features import Extractor, to_bytes
from experiment.create import data_shape
from experiment.run_data import open_splits
from metrics.feature_set import FeatureSet
from metrics.frechet import Moments, covariance_root, moments
from parallel.processes import is_first, wait_for_all
from workdir import archives, strict_json
from workdir.compatibility import differences
from workdir.files import UNREADABLE, checksum, prepare_workdir, replacing
from workdir.partial import Partial
from workdir.records import say

SPLITS = ("train", "test")
# Of more dimensions the moments are left to the metric that asks for them.
MOST_DIMENSIONS = 4096
# What rounding to float32 leaves of symmetry, and of eigenvalues below zero, in parts of the largest number.
ROUNDING = 1e-5
# No network's features are as large; their squares are still finite.
LARGEST = 1e100


@dataclasses.dataclass(frozen=True, eq=False)
class Reference:
    """What samples are compared with.

    Attributes:
      features: metrics.FeatureSet.
      extractor: the Extractor that gives comparable features, fitted where it needs that.
      provenance: dict for JSON of where they come from: it goes with every figure.
      indices: [N] of the split's images, row by row; None where features were read from a file.
    """

    features: FeatureSet
    extractor: Extractor
    provenance: dict
    indices: np.ndarray | None = None


def refusals(config):
    """Lines about the subtree `eval.reference`."""
    settings = config.eval.reference
    if settings.split not in SPLITS:
        try:
            choose(dict.fromkeys(SPLITS), settings.split, "eval.reference.split")
        except ConfigError as error:
            yield str(error)
    if settings.images is not None and settings.images < 2:
        yield f"eval.reference.images={settings.images} must be 2 or more."


def reference(extractor, config, source=None, trained_on=None):
    """The Reference of the subtrees `eval.reference` and `data`.

    Work that was killed goes on where it stopped; a finished one is read, and a damaged file is made anew.

        >>> import tempfile
        >>> from configs import digits
        >>> from evaluation.features import create_extractor
        >>> config = digits.get_config()
        >>> config.eval.features.name = "pixels"
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     config.eval.reference.folder = folder
        ...     reference(create_extractor(config.eval.features), config).features.features.shape
        (1463, 64)

    Args:
      extractor: evaluation.features.Extractor.
      config: the whole config.
      source: data.source.Source of the split `eval.reference.split`, where it is open; None: it is opened
        here, unless a file is named.
      trained_on: {split: identity} of the data that the model was trained on, as its run has recorded it, for
        a file where no source is open.

    Raises:
      ConfigError: a file that cannot be read, or is of another data set, resolution or extractor.
      UserError: images that have no such features.
    """
    settings = config.eval.reference
    if settings.file is not None:
        return _of_file(extractor, config, source, trained_on)
    split = settings.split
    if source is None:
        source = open_splits(config)[split]
    count = len(source) if settings.images is None else min(settings.images, len(source))
    if count < len(source):
        indices = np.sort(np.random.default_rng(0).permutation(len(source))[:count])
    else:
        indices = np.arange(count)
    identity = {
        "extractor": extractor.identity,
        # No part of the extractor's identity, since other figures do not depend on it.
        "spatial": bool(getattr(extractor.feature, "spatial", False)),
        "data": data.identity(config.data, {split: source})[split],
        "split": split,
        "images": count,
        "shape": list(source.shape),
        "pixel_values": source.pixel_values,
    }
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]
    kind, argument = parse(config.data.source)
    word = re.sub(r"[^A-Za-z0-9]+", "_", Path(argument or kind).stem)
    folder = _folder(settings)
    path = folder / f"{word}-{split}-{source.shape[0]}-{extractor.name}-{digest}.npz"
    found = _kept(path, identity)
    if found is None:
        found = _computed(path, identity, extractor, source, indices, config.eval.batch_size)
    fitted_on = identity["data"]["contents"] or digest
    provenance = {"file": str(path), "source": config.data.source, **identity}
    return _as_reference(found, extractor, provenance, indices, fitted_on)


def require_file(extractor, config, trained_on=None):
    """The Reference of `eval.reference.file`, or None where none is named.

    Raises:
      ConfigError: the file cannot serve, see `reference`; or the folder of what is computed cannot be made.
    """
    if config.eval.reference.file is not None:
        return _of_file(extractor, config, None, trained_on)
    _folder(config.eval.reference)
    return None


def _folder(settings):
    """The folder of the references, made if it is not there."""
    folder = Path(local_path(settings.folder, "eval.reference.folder"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f'eval.reference.folder="{folder}" cannot be made: {error.strerror}.') from None
    return folder


def _kept(path, identity):
    """The arrays of a file that was finished before; None where there is none, or a damaged one."""
    try:
        found = archives.read(path)
        said = strict_json.loads(str(found.pop("identity", "null")))
        whole = str(found.pop("checksum", "")) == checksum(found)
    except FileNotFoundError:
        return None
    except UNREADABLE as error:
        whole, said = False, str(error)
    if whole and said == identity:
        return found
    say(f"warning: {path} is damaged, and its features are computed anew.")
    return None


def _computed(path, identity, extractor, source, indices, batch_size):
    """Features of images of a source, and what follows from them, written to `path`."""
    prepare_workdir(path.parent, "eval.reference.folder")
    batch_size, constants = min(batch_size, len(indices)), {}
    if extractor.needs_fit:
        images = to_bytes(source.batch(indices)["image"], source.pixel_values)
        extractor = extractor.fitted(images, None)
        constants = {f"constant_{name}": array for name, array in extractor.feature.constants.items()}

    def of_rows(rows):
        images = source.batch(indices[rows])["image"]
        return extractor.features(images, batch_size, pixel_values=source.pixel_values)

    # What the directions are is part of the identity: rows of others are not taken up.
    partial = Partial(path.with_suffix(""), {**identity, "constants": checksum(constants)})
    partial.fill(
        len(indices), batch_size, of_rows, f"{extractor.name} of the reference", "image", "were done"
    )
    found = {**constants, **partial.merged(len(indices))}
    for name, prefix in (("features", ""), ("spatial", "spatial_")):
        if name in found and len(indices) > 1 and found[name].shape[1] <= MOST_DIMENSIONS:
            known = moments(found[name])
            root = covariance_root(known.covariance)
            found.update({f"{prefix}mean": known.mean, f"{prefix}covariance": known.covariance})
            found[f"{prefix}root"] = root
    if is_first():
        with replacing(path) as temporary:
            np.savez(temporary, identity=json.dumps(identity), checksum=checksum(found), **found)
    partial.finish()
    wait_for_all(f"the reference {path.name}")
    return found


def _as_reference(found, extractor, provenance, indices, fitted_on):
    constants = {
        name.removeprefix("constant_"): array for name, array in found.items() if name.startswith("constant_")
    }
    if constants and extractor.needs_fit:
        extractor = extractor.refitted(constants, fitted_on)

    def known(prefix):
        if f"{prefix}mean" not in found:
            return None
        return Moments(
            *(found[prefix + part] for part in ("mean", "covariance")), count, found[f"{prefix}root"]
        )

    count = provenance["images"]
    features = FeatureSet(
        found.get("features"),
        known(""),
        found.get("logits"),
        found.get("spatial"),
        known("spatial_"),
        extractor.name,
    )
    return Reference(features, extractor, provenance, indices)


def _of_file(extractor, config, source, trained_on):
    """The Reference of `eval.reference.file`: one of ours, or with mu and sigma of another tool."""
    field, settings = "eval.reference.file", config.eval.reference
    path = Path(local_path(settings.file, field))
    try:
        found = archives.read(path)
    except FileNotFoundError:
        raise ConfigError(f'{field}="{path}": there is no such file.') from None
    except UNREADABLE as error:
        raise ConfigError(f'{field}="{path}" cannot be read ({error}). Replace the file.') from None
    shown = f'{field}="{path}"'
    if "identity" in found:
        return _of_own_file(shown, path, found, extractor, config, source, trained_on)
    if extractor.needs_fit:
        raise ConfigError(
            f'{shown} holds no principal directions, which eval.features.name="{extractor.name}" needs: name '
            "one that was written into eval.reference.folder, or leave it out."
        )
    if settings.split != "train":
        raise ConfigError(
            f'{shown} does not say of which split it is, and eval.reference.split="{settings.split}" is read '
            "of a file of eval.reference.folder alone: leave it out."
        )
    if "pool_3" in found:  # the features that Song et al. 2021 published beside their code
        held = _checked_features(shown, found["pool_3"])
        features = FeatureSet(held, extractor=extractor.name)
        _require_dimension(shown, held.shape[1:], extractor, data_shape(config))
        count = len(held)
        _require_count(shown, settings, count)
    elif {"mu", "sigma"} <= set(found):
        count = settings.images
        if count is None:
            raise ConfigError(
                f"{shown} does not say of how many images its moments are: set eval.reference.images."
            )
        mean, covariance = _checked_moments(shown, found["mu"], found["sigma"], count)
        _require_dimension(shown, mean.shape, extractor, data_shape(config))
        if extractor.name == "pixels" and (mean.min() < -ROUNDING or mean.max() > 1 + ROUNDING):
            raise ConfigError(
                f"{shown}: mu is between {mean.min():.3g} and {mean.max():.3g}, and features of "
                'eval.features.name="pixels" are in [0, 1]: the file is of other units.'
            )
        features = FeatureSet(moments=Moments(mean, covariance, count), extractor=extractor.name)
    else:
        held = ", ".join(sorted(found))[:200] or "nothing"
        raise ConfigError(f"{shown} holds {held}; statistics of a reference are mu and sigma.")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    provenance = {
        "file": str(path),
        "sha256": digest,
        "images": count,
        "extractor": extractor.identity,
        "note": "the file says neither of which images nor of which extractor its statistics are",
    }
    return Reference(features, extractor, provenance)


def _require_count(shown, settings, count):
    if settings.images not in (None, count):
        raise ConfigError(
            f"{shown} is of {count} images, and eval.reference.images={settings.images}: leave that out, or "
            "name another file."
        )


def _of_own_file(shown, path, found, extractor, config, source, trained_on):
    """The Reference of a file that was written into a folder of references."""
    settings = config.eval.reference
    try:
        identity = strict_json.loads(str(found.pop("identity")))
        if str(found.pop("checksum", "")) != checksum(found):
            raise ValueError("its arrays do not match their checksum")
        said = identity["extractor"]
        differing = sorted(
            name
            for name in said.keys() | extractor.identity
            if said.get(name) != extractor.identity.get(name)
        )
        shape, images = tuple(identity["shape"]), identity["data"]
        count = identity["images"]
    except UNREADABLE as error:
        raise ConfigError(f"{shown} cannot be read ({error}). Replace the file.") from None
    if differing:
        told = ", ".join(f"{n}={said.get(n)} and not {extractor.identity.get(n)}" for n in differing)
        raise ConfigError(f"{shown} is of another extractor than eval.features: {told}.")
    wanted = data_shape(config) if source is None else source.shape
    if wanted is not None and shape != tuple(wanted):
        raise ConfigError(
            f"{shown} is of images {_by(shape)}, and those of data.source are {_by(wanted)}: it is of "
            "another resolution."
        )
    split = identity["split"]
    if settings.split != split:
        raise ConfigError(
            f'{shown} is of the {split} split, and eval.reference.split="{settings.split}": set '
            f"eval.reference.split={split}, or name another file."
        )
    _require_count(shown, settings, count)
    wanted = (trained_on or {}).get(split)
    if source is not None:
        wanted = data.identity(config.data, {split: source})[split]
    differing = [] if wanted is None else list(differences(wanted, images))
    if differing:
        raise ConfigError(
            f'{shown} is of other images than the {split} split of data.source="{config.data.source}": it is '
            f"of another data set ({'; '.join(differing)})."
        )
    fitted_on = images["contents"] or count
    return _as_reference(found, extractor, {"file": str(path), **identity}, None, fitted_on)


def _checked_features(shown, features):
    """Features [N, D] of another tool's file in float32."""
    reason = None
    if features.dtype.kind != "f" or features.ndim != 2 or len(features) < 2:
        reason = f"is {features.dtype} of shape {features.shape}, and must be real [N, D], N at least 2"
    elif not np.isfinite(features).all():
        reason = "is not finite"
    if reason:
        raise ConfigError(f"{shown}: pool_3 {reason}. Replace the file.")
    return np.float32(features)


def _by(shape):
    return "x".join(map(str, shape))


def _require_dimension(shown, found, extractor, shape):
    wanted = (extractor.dimension(shape),)
    if tuple(found) != wanted:
        raise ConfigError(
            f'{shown} has features of {found[0]} numbers, and those of eval.features.name="{extractor.name}" '
            f"have {wanted[0]}: it is of another extractor."
        )


def _checked_moments(shown, mean, covariance, count):
    """The mean [D] and covariance [D, D] of another tool's file in float64.

    Args:
      count: of images, as the config says.

    Raises:
      ConfigError: they are no moments of so many images, to rounding.
    """
    mean, covariance = np.asarray(mean), np.asarray(covariance)
    if mean.dtype.kind != "f" or covariance.dtype.kind != "f":
        raise ConfigError(f"{shown}: mu and sigma must be real numbers. Replace the file.")
    if min(mean.dtype.itemsize, covariance.dtype.itemsize) < 4:
        raise ConfigError(f"{shown}: mu and sigma are of half precision. Replace the file by one in float64.")
    mean, covariance = np.float64(mean), np.float64(covariance)
    reason = None
    if mean.ndim != 1 or mean.size == 0 or covariance.shape != 2 * mean.shape:
        reason = f"are of shapes {mean.shape} and {covariance.shape}, and must be [D] and [D, D]"
    elif not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
        reason = "are not finite"
    elif max(np.abs(mean).max(), np.abs(covariance).max()) > LARGEST:
        reason = f"have numbers above {LARGEST:g}"
    elif np.abs(covariance - covariance.T).max() > ROUNDING * np.abs(covariance).max():
        reason = "are no moments: sigma is not symmetric"
    else:
        eigenvalues = np.linalg.eigvalsh(covariance)
        rank = int((eigenvalues > ROUNDING * eigenvalues[-1]).sum())
        if eigenvalues[-1] <= 0:
            reason = "are no moments of images: sigma has no eigenvalue above zero"
        elif eigenvalues[0] < -ROUNDING * eigenvalues[-1]:
            reason = f"are no moments: sigma has the eigenvalue {eigenvalues[0]:.3g}"
        elif rank >= count:
            raise ConfigError(
                f"{shown}: sigma has {rank} eigenvalues above zero, and of eval.reference.images={count} "
                f"there are {count - 1} at most. Set it to the number of images that the file was made of."
            )
    if reason:
        raise ConfigError(f"{shown}: mu and sigma {reason}. Replace the file.")
    return mean, (covariance + covariance.T) / 2
