"""A classifier of noisy images in a workdir: what --mode=import makes of guided-diffusion's, and its reader.

A classifier is no denoiser: nothing is sampled from it, and no run has one. Its gradient,

    d log p(class | x_t) / dx,

is what Dhariwal & Nichol (2021, section 4.1) add to the score of a network of the same process. It lies by
itself in a workdir, as workdir/classifier_file.py has it, with the config of that network's experiment, which
says what process and what noise levels the classifier knows.
"""

import dataclasses
import functools
from pathlib import Path

import jax

from components import ConfigError
from models.adm_classifier import ADMClassifier
from workdir import classifier_file
from workdir.saved_config import CLASSIFIER


@dataclasses.dataclass(frozen=True, eq=False)
class Classifier:
    """A classifier of noisy images, ready for use.

    Attributes:
      network: models.adm_classifier.ADMClassifier.
      params: of the network.
      image_shape: (height, width, channels).
      record: of its file: the experiment's config, and of which file the weights were read.
    """

    network: ADMClassifier
    params: dict
    image_shape: tuple
    record: dict

    @functools.cached_property
    def _apply(self):
        return jax.jit(self.network.apply)

    def logits(self, x, noise):
        """[B, classes] logits, of which the softmax is p(class | x_t); jax differentiates them by x.

        Args:
          x: [B, H, W, C] noisy images, scaled as those of the network that is guided.
          noise: [B] noise levels as that network is shown them: of guided-diffusion's, 0 to 999.

        Raises:
          ValueError: images of another shape.
        """
        if x.shape[1:] != self.image_shape or noise.shape != x.shape[:1]:
            raise ValueError(
                f"x has shape {x.shape} and noise {noise.shape}; they must be "
                f"[B, {', '.join(map(str, self.image_shape))}] and [B]"
            )
        return self._apply({"params": self.params}, x, noise)


def write(workdir, network, params, image_shape, record):
    """Writes the classifier into a workdir, whole or not at all; `load_classifier` gives it back bit for bit.

    Args:
      record: JSON-able dict, kept beside it.
    """
    fields = {
        field.name: getattr(network, field.name)
        for field in dataclasses.fields(network)
        if field.name not in ("parent", "name")
    }
    kept = {**record, "network": fields, "image_shape": image_shape}
    classifier_file.write(Path(workdir) / CLASSIFIER, params, kept)


def load_classifier(workdir):
    """The Classifier in a workdir that --mode=import made.

        classifier = experiment.load_classifier("runs/classifier")
        logits = classifier.logits(x, noise)

    Raises:
      ConfigError: there is none, or its file is damaged.
    """
    path = Path(workdir) / CLASSIFIER
    params, record = classifier_file.read(path)
    try:
        fields = {n: tuple(v) if isinstance(v, list) else v for n, v in record["network"].items()}
        return Classifier(ADMClassifier(**fields), params, tuple(record["image_shape"]), record)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(f"{path} holds no classifier that is known here ({error}).") from None
