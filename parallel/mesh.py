"""The training step on a mesh of devices: one program over all of them, parameters whole or split.

The mesh has two axes. Examples are split over both. Parameters, optimizer state and averages are whole along
`data`, and split along `fsdp` as pairs (pattern, tactic) say: a device then holds a part of each, gathers the
parameters for its share of the batch, and gets back the sum of its part of the gradient (fully sharded data
parallelism; Rajbhandari et al. 2020, ZeRO stage 3). What a step draws belongs to examples, so that a run is
the same on every mesh.
"""

import dataclasses
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from parallel.devices import replicate

AXES = ("data", "fsdp")
EXAMPLES = PartitionSpec(AXES)


def tactic_of(path, rules):
    """The tactic of the first pattern (a regular expression) found in a parameter's path, else "fsdp".

    >>> tactic_of("ResidualBlock_0/GroupNorm_0/scale", (("GroupNorm|bias", "replicated"),))
    'replicated'
    """
    return next((tactic for pattern, tactic in rules if re.search(pattern, path)), "fsdp")


def split_dimension(shape, tactic, parts):
    """Which dimension of an array is split into so many parts, or None.

    With "fsdp" it is the largest that they divide, the last of equal ones; with "fsdp:1" the one named.

    >>> split_dimension((3, 3, 64, 128), "fsdp", 8), split_dimension((3, 3, 64, 128), "fsdp:2", 8)
    (3, 2)
    >>> split_dimension((3, 3, 3, 3), "fsdp", 8) is None
    True
    """
    if tactic == "replicated" or parts == 1:
        return None
    chosen = range(len(shape)) if tactic == "fsdp" else [int(tactic.removeprefix("fsdp:"))]
    possible = [d for d in chosen if d < len(shape) and shape[d] % parts == 0]
    return max(possible, key=lambda d: (shape[d], d), default=None)


@dataclasses.dataclass(frozen=True)
class Mesh:
    """Devices as a mesh; see the module.

    Attributes:
      fsdp: devices over which parameters are split, a divisor of their number.
      rules: pairs (pattern, tactic).
      devices: of the mesh; None: all of all processes.
    """

    fsdp: int = 1
    rules: tuple = ()
    devices: Any = None

    @property
    def mesh(self):
        """The jax.sharding.Mesh."""
        devices = np.array(self.devices or jax.devices()).reshape(-1, self.fsdp)
        return jax.sharding.Mesh(devices, AXES, axis_types=(AxisType.Auto,) * 2)

    def specs(self, tree):
        """PartitionSpecs of parameters, or of a tree that holds arrays like them: a TrainState."""

        def spec(path, leaf):
            path = jax.tree_util.keystr(path, simple=True, separator="/")
            shape = np.shape(leaf)
            dimension = split_dimension(shape, tactic_of(path, self.rules), self.fsdp)
            if dimension is None or path.startswith("loss_history"):
                return PartitionSpec()
            return PartitionSpec(*(None,) * dimension, "fsdp")

        return jax.tree_util.tree_map_with_path(spec, tree)

    def _shardings(self, tree):
        # A key is an array to JAX and no array to NumPy; nothing of a TrainState is one.
        return jax.tree.map(lambda spec: NamedSharding(self.mesh, spec), self.specs(tree))

    def place(self, state):
        """The state's arrays, equal on all processes, on the devices."""

        def put(leaf, sharding):
            leaf = np.asarray(leaf)
            return jax.make_array_from_callback(leaf.shape, sharding, lambda index: leaf[index])

        return jax.tree.map(put, state, self._shardings(state))

    def split(self, batches):
        """Batches [n, b, ...] of this process as arrays [n, batch, ...] of all processes."""
        sharding = NamedSharding(self.mesh, PartitionSpec(None, AXES))
        return jax.tree.map(lambda a: jax.make_array_from_process_local_data(sharding, a), batches)

    def templates(self, state, batches, key):
        """See parallel/devices.py."""

        def placed(leaf, sharding):
            return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

        split, whole = (
            NamedSharding(self.mesh, spec) for spec in (PartitionSpec(None, AXES), PartitionSpec())
        )
        state = jax.tree.map(placed, state, self._shardings(state))
        return state, jax.tree.map(lambda a: placed(a, split), batches), placed(key, whole)

    def compile(self, body):
        """A training.step.TrainStep compiled: (state, batches, key) -> (state, metrics); takes the state's
        buffers.
        """
        mesh = self.mesh

        def step(state, batches, key):
            shardings = self._shardings(state)
            index = jnp.arange(jax.tree.leaves(batches)[0].shape[1])
            index = jax.lax.with_sharding_constraint(index, NamedSharding(mesh, EXAMPLES))
            state, metrics = body(state, batches, index, key, self)
            whole = NamedSharding(mesh, PartitionSpec())
            return jax.lax.with_sharding_constraint((state, metrics), (shardings, whole))

        return jax.jit(step, donate_argnums=0)

    def averaged(self, function):
        """See parallel/shares.py."""

        def call(params, examples):
            specs = self.specs(params)
            mapped = jax.shard_map(
                lambda params, examples: self._on_share(function, specs, params, examples),
                mesh=self.mesh,
                in_specs=(specs, EXAMPLES),
                out_specs=((PartitionSpec(), EXAMPLES), specs),
                check_vma=False,
            )
            return mapped(params, examples)

        return call

    def _on_share(self, function, specs, params, examples):
        def gathered(param, spec):
            if not spec:
                return param
            return jax.lax.all_gather(param, "fsdp", axis=len(spec) - 1, tiled=True)

        def mean(gradient, spec):
            if not spec:
                return jax.lax.pmean(gradient, AXES)
            part = jax.lax.psum_scatter(gradient, "fsdp", scatter_dimension=len(spec) - 1, tiled=True)
            return jax.lax.pmean(part, "data") / self.fsdp

        (loss, losses), gradient = function(jax.tree.map(gathered, params, specs), examples)
        return (jax.lax.pmean(loss, AXES), losses), jax.tree.map(mean, gradient, specs)

    def gather(self, tree):
        """The tree itself: within the step an array is of all shares already."""
        return tree

    def host(self, tree):
        """The tree as NumPy arrays, on every process: one array after the other crosses the devices."""

        def read(leaf):
            if leaf.is_fully_addressable or leaf.is_fully_replicated:
                return np.asarray(leaf)
            return np.asarray(multihost_utils.process_allgather(leaf, tiled=True))

        return jax.tree.map(read, tree)

    def local(self, tree):
        """The tree whole on every device of this process, as evaluation and sampling take it."""
        return replicate(self.host(tree))
