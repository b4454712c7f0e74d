"""How pure functions are spread over the local devices.

Both helpers use `jax.pmap` with the state as an ordinary replicated array, without a
leading device axis, so that checkpoints, evaluation and sampling see one layout.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np


def train_step(body, devices=None):
    """Compiles a training.step.TrainStep over these devices, by default all of all processes.

    Returns:
      function (state, batches, key) -> (state, metrics) of batches [local devices, n, b, ...]; the state's
      buffers are donated.
    """

    def on_device(state, batches, key):
        share = jax.tree.leaves(batches)[0].shape[1]
        index = jax.lax.axis_index("batch") * share + jnp.arange(share)
        average = functools.partial(jax.lax.pmean, axis_name="batch")
        gather = functools.partial(jax.lax.all_gather, axis_name="batch", tiled=True)
        return body(state, batches, index, key, average, gather)

    return jax.pmap(
        on_device,
        axis_name="batch",
        in_axes=(None, 0, None),
        out_axes=(None, None),
        donate_argnums=0,
        devices=devices,
    )


def replicate(tree):
    """The tree as arrays that every local device holds, as `train_step` returns them.

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
