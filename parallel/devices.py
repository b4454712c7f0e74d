"""How pure functions are spread over the local devices.

`jax.pmap` takes the state as an ordinary replicated array, without a leading device axis, so that
checkpoints, evaluation and sampling see one layout.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from parallel.shares import Named


@dataclasses.dataclass(frozen=True)
class Pmap:
    """One program a device, with whole parameters on each; examples are split over all of them.

    Attributes:
      devices: None: all of all processes.
    """

    devices: Any = None

    def place(self, state):
        """The state on the devices of this process; see `replicate`."""
        return replicate(state)

    def split(self, batches):
        """Batches [n, b, ...] of this process as arrays [local devices, n, share, ...]."""
        return shard(batches, axis=1)

    def template(self, state):
        """The state, of what has a shape and a dtype, as it is to be restored; `place` takes what comes."""
        return state

    def templates(self, state, batches, key):
        """The arguments of a compiled step as shapes, with which `lower` needs no arrays.

        Args:
          state, batches [n, batch, ...], key: trees of what has a shape and a dtype, of all devices.
        """
        devices = len(self.devices or jax.devices())

        def split(a):
            return jax.ShapeDtypeStruct((devices, a.shape[0], a.shape[1] // devices, *a.shape[2:]), a.dtype)

        return state, jax.tree.map(split, batches), key

    def compile(self, body):
        """A training.step.TrainStep compiled: (state, batches, key) -> (state, metrics), with batches as
        `split` gives them; takes the state's buffers.
        """

        def on_device(state, batches, key):
            share = jax.tree.leaves(batches)[0].shape[1]
            index = jax.lax.axis_index("batch") * share + jnp.arange(share)
            return body(state, batches, index, key, Named("batch"))

        return jax.pmap(
            on_device,
            axis_name="batch",
            in_axes=(None, 0, None),
            out_axes=(None, None),
            donate_argnums=0,
            devices=self.devices,
        )

    def described(self, params):
        """A line on how the parameters lie on devices; none where there is nothing to say."""
        return ""

    def unfit(self, params):
        """Lines about what cannot be for these parameters."""
        return []

    def to_save(self, state):
        """The state as a checkpoint takes it, with the arrays of `template`."""
        return self.host(state)

    def host(self, tree):
        """The tree as NumPy arrays."""
        return jax.device_get(tree)

    def local(self, tree):
        """The tree itself, which is whole on every device of this process."""
        return tree


def replicate(tree):
    """The tree as arrays that every local device holds, as a step under `jax.pmap` returns them.

    Anything else would compile the step twice, for its first and for its later calls.
    """
    mesh = jax.sharding.Mesh(jax.local_devices(), ("batch",))
    return jax.device_put(tree, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec()))


def shard(tree, axis=0):
    """Splits axis `axis` of every array of a tree into the leading axis [local devices, ...]."""
    devices = jax.local_device_count()

    def split(x):
        share = x.shape[axis] // devices
        return np.moveaxis(x.reshape(*x.shape[:axis], devices, share, *x.shape[axis + 1 :]), axis, 0)

    return jax.tree.map(split, tree)


def uneven(field, size, count=None):
    """A line, if the config field's size does not divide by the devices.

    Args:
      count: number of devices; by default those of this process.
    """
    count = count or jax.local_device_count()
    if size < 1:
        yield f"{field}={size} must be positive."
    elif size % count:
        yield (
            f"{field}={size} does not divide by the {count} devices. "
            f"Use {max(size // count, 1) * count} or {-(-size // count) * count}."
        )
