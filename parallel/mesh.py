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


def _text(path):
    return jax.tree_util.keystr(path, simple=True, separator="/")


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


def _placed(leaf, sharding):
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


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

    def specs(self, params):
        """PartitionSpecs of parameters."""

        def spec(path, leaf):
            shape = np.shape(leaf)
            dimension = split_dimension(shape, tactic_of(_text(path), self.rules), self.fsdp)
            return PartitionSpec() if dimension is None else PartitionSpec(*(None,) * dimension, "fsdp")

        return jax.tree_util.tree_map_with_path(spec, params)

    def _shardings(self, state):
        """Of a TrainState: what holds an array for each parameter is split like these, the rest is whole."""
        specs, _ = jax.tree_util.tree_flatten_with_path(self.specs(state.params))
        of_parameter = {
            (_text(path), np.shape(leaf)): spec
            for (path, spec), leaf in zip(specs, jax.tree.leaves(state.params), strict=True)
        }

        def sharding(path, leaf):
            # ema/decay_0.999/Conv_0/kernel ends in a parameter's path.
            ends = ((_text(path[start:]), np.shape(leaf)) for start in range(len(path)))
            spec = next((of_parameter[end] for end in ends if end in of_parameter), PartitionSpec())
            return NamedSharding(self.mesh, spec)

        return jax.tree_util.tree_map_with_path(sharding, state)

    def described(self, params):
        """A line on how so many of the parameters (arrays or ShapeDtypeStructs) are split."""
        mesh = f"a mesh of {self.mesh.shape['data']} x {self.fsdp} devices (data x fsdp)"
        leaves = list(zip(jax.tree.leaves(params), jax.tree.leaves(self.specs(params)), strict=True))
        split = [leaf.size for leaf, spec in leaves if spec]
        if not split:
            return f"{mesh}: every device holds all parameters"
        share = sum(split) / sum(leaf.size for leaf, _ in leaves)
        return (
            f"{mesh}: {len(split)} of {len(leaves)} arrays, {share:.1%} of the parameters, are split into "
            f"{self.fsdp}; every device holds the others"
        )

    def unfit(self, params):
        """Lines about rules that do nothing, or cannot be followed, for these parameters."""
        arrays = [(_text(path), leaf.shape) for path, leaf in jax.tree_util.tree_leaves_with_path(params)]
        for pattern, _ in self.rules:
            if not any(re.search(pattern, path) for path, _ in arrays):
                some = ", ".join(path for path, _ in arrays[:: max(len(arrays) // 3, 1)][:3])
                yield f"training.sharding: {pattern!r} is found in no parameter's path; some are {some}."
        for path, shape in arrays:
            tactic = tactic_of(path, self.rules)
            if ":" in tactic and self.fsdp > 1 and split_dimension(shape, tactic, self.fsdp) is None:
                yield (
                    f"training.sharding: {tactic} cannot split {path} of shape {shape} into "
                    f"training.fsdp={self.fsdp} parts."
                )

    def place(self, state):
        """The state's arrays, equal on all processes, on the devices, where those of `template` are."""

        def put(leaf, sharding):
            if getattr(leaf, "sharding", None) == sharding:
                return leaf
            leaf = np.asarray(leaf)
            return jax.make_array_from_callback(leaf.shape, sharding, lambda index: leaf[index])

        return jax.tree.map(put, state, self._shardings(state))

    def split(self, batches):
        """Batches [n, b, ...] of this process as arrays [n, batch, ...] of all processes."""
        sharding = NamedSharding(self.mesh, PartitionSpec(None, AXES))
        return jax.tree.map(lambda a: jax.make_array_from_process_local_data(sharding, a), batches)

    def template(self, state):
        """See parallel/devices.py."""
        return jax.tree.map(_placed, state, self._shardings(state))

    def templates(self, state, batches, key):
        """See parallel/devices.py."""
        split, whole = (
            NamedSharding(self.mesh, spec) for spec in (PartitionSpec(None, AXES), PartitionSpec())
        )
        batches = jax.tree.map(lambda a: _placed(a, split), batches)
        return self.template(state), batches, _placed(key, whole)

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

    def total(self, tree):
        """The tree itself, which was made from arrays of all shares."""
        return tree

    def to_save(self, state):
        """The state as it is: each process saves the shards of its own devices."""
        return state

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
