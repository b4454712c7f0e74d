"""Functions of examples, run in batches over the devices of this process."""

import jax
import numpy as np

from parallel.devices import shard


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
            yield _merge(self._mapped(constants, shard(batch)), size)

    def __call__(self, constants, examples):
        """All results, one batch after the other."""
        return joined(self.batches(constants, examples), len(jax.tree.leaves(examples)[0]))


def joined(parts, count):
    """Trees of arrays [b, ...] that follow each other as one of [count, ...], of which no more is held twice
    than a part.

    Args:
      parts: an iterable that makes them as they are asked for.
    """
    whole, start = None, 0
    for part in parts:
        if whole is None:
            whole = jax.tree.map(lambda a: np.empty((count, *a.shape[1:]), a.dtype), part)
        stop = start + len(jax.tree.leaves(part)[0])
        for into, values in zip(jax.tree.leaves(whole), jax.tree.leaves(part), strict=True):
            into[start:stop] = values
        start = stop
    return whole


def one_by_one(function):
    """The function of examples (pytrees, [B, ...]) applied to each as a batch of one, all at once.

    For functions that map over their examples themselves, as solvers with steps of their own for each example
    do: what a denoiser is bound to, a label, is then that of the example at hand.
    """

    def of_one(examples):
        results = function(*jax.tree.map(lambda a: a[None], examples))
        return jax.tree.map(lambda a: a[0], results)

    return lambda *examples: jax.vmap(of_one)(examples)


def _pick(examples, index):
    return jax.tree.map(lambda a: a[index], examples)


def _merge(results, size):
    return jax.tree.map(lambda a: np.asarray(a).reshape(-1, *a.shape[2:])[:size], results)
