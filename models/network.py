"""What a network is to the rest of the program."""

from typing import Protocol

import jax


class Network(Protocol):
    """A Flax module from noisy images to numbers of the same sides; nothing but this is demanded of it.

    Its dataclass fields are its config fields (the subtree `model`), beside those that the program sets:
    `channels`, of the data, or twice as many where a variance head takes the second half; and, where the
    network has such a field, `classes`, how many the data has (0: it has no labels).

    Seven things are optional:

      features(x, noise, label=None, dropout_keys=None) -> (output, last): the output together with the last
        features [B, H, W, F], of any dtype, that it was read from. Variance heads with a branch of their own
        stand on them (denoisers/heads.py); a network without this method is refused there by name.
      ignores_labels, a constant of the class or a property: True where the output does not depend on the
        label; samples then have none. Left out, it counts as False.
      refusal(image_side, noise_input) -> one line that names the config's fields where this network cannot
        serve images of that side (None where it is not known yet), or that key of
        denoisers.network.NOISE_INPUTS; else None.
      normalized(params) -> params: what becomes of the parameters after each optimizer step, a pure function
        of the tree. With it a network of weights without a size holds them at the size that they start from;
        averages are those of the result.
      augmentation_labels, a field: how many numbers that tell how a training image was augmented
        (data/augmentation.py) the network reads, where it is positive. `__call__` and `features` then take
        one more argument, augmentation=None: [B, augmentation_labels]; None stands for zeros, which mean an
        image as it is. Samples are drawn with None.
      noise_levels: how many levels of a discrete process this network tells apart. Another number in the
        process is refused.
      rematerialization: key of models.layers.REMATERIALIZATIONS. Blocks are the network's own affair; the
        denoiser sees to "full".

    Attributes:
      channels: of the output.
    """

    channels: int

    def __call__(
        self, x: jax.Array, noise: jax.Array, label: jax.Array | None = None, dropout_keys=None
    ) -> jax.Array:
        """The output [B, H, W, channels], float32.

        Args:
          x: [B, H, W, C] noisy images, scaled as the denoiser's parametrization has it.
          noise: [B] the noise level, in the form that `denoiser.noise_input` names.
          label: [B] int32 classes, or None where the data has none.
          dropout_keys: [B] keys, one for each example's dropout; None outside training.
        """
