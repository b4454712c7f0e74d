"""How pure functions are spread over the local devices.

Both helpers use `jax.pmap` with the state as an ordinary replicated array, without a
leading device axis, so that checkpoints, evaluation and sampling see one layout.
"""

import jax
import numpy as np


def train_step(body):
    """Compiles `body(state, images, key) -> (state, metrics)` over all devices.

    The returned function takes images [devices, ...]; the state's buffers are donated.
    """
    return jax.pmap(body, axis_name="batch", in_axes=(None, 0, None), out_axes=(None, None), donate_argnums=0)


def replicate(tree):
    """The tree as arrays that every local device holds, as `train_step` returns them.

    Anything else would compile the step twice, for its first and for its later calls.
    """
    mesh = jax.sharding.Mesh(jax.local_devices(), ("batch",))
    return jax.device_put(tree, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec()))


def shard(x, axis=0):
    """Splits axis `axis` of an array into the leading axis [local devices, ...]."""
    devices = jax.local_device_count()
    share = x.shape[axis] // devices
    return np.moveaxis(x.reshape(*x.shape[:axis], devices, share, *x.shape[axis + 1 :]), axis, 0)


def wait_for_all(name):
    """Returns when every process has come here; at once where there is one alone."""
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(name)


class BatchMap:
    """A function of examples, compiled once and run over the devices of this process in batches.

    Args:
      function: (constants, examples) -> results; examples (NumPy) and results are pytrees
        with one leading axis of examples, constants any pytree.
      batch_size: examples a call over all devices, a multiple of their number.
    """

    def __init__(self, function, batch_size):
        self.batch_size = batch_size
        self._mapped = jax.pmap(function, in_axes=(None, 0), devices=jax.local_devices())

    def batches(self, constants, examples):
        """Yields the results of one batch after the other, as NumPy arrays.

        The last batch is padded with its own first example and the padding cut off, so
        that one compiled program serves all.
        """
        count = len(jax.tree.leaves(examples)[0])
        for start in range(0, count, self.batch_size):
            size = min(self.batch_size, count - start)
            index = start + np.arange(self.batch_size)
            batch = _pick(examples, np.where(index < count, index, start))
            yield _merge(self._mapped(constants, jax.tree.map(shard, batch)), size)

    def __call__(self, constants, examples):
        """All results, concatenated."""
        parts = list(self.batches(constants, examples))
        return jax.tree.map(lambda *arrays: np.concatenate(arrays), *parts)


def _pick(examples, index):
    return jax.tree.map(lambda a: a[index], examples)


def _merge(results, size):
    return jax.tree.map(lambda a: np.asarray(a).reshape(-1, *a.shape[2:])[:size], results)
