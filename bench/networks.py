"""What networks cost: a call, a training step and its compilation, on images of 32x32x3 at full size.

    python -m bench.networks ddpmpp                                       (another: --help)
    python -m bench.networks ddpmpp --peer "other/python peer.py"

A training step is one call of the network with dropout, the mean square of its error, the gradient, clipped
to norm 1, and Adam. Medians of rounds, with the machine's load before and after, as timings on cores that
others use say little.

The peer is any command that prints "ready" when it has called everything once, then reads "forward" or "step"
from a line of its input, does one of batch 8, and prints its wall and its CPU seconds; the ratios are the
peer's over ours, each round one after the other. CPU seconds are those of all threads of a process: their
ratio says something on busy cores too.
"""

import argparse
import functools
import os
import shlex
import subprocess
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax

from models.ddpm import DDPM
from models.ncsnpp import NCSNpp
from models.unet import UNet
from sde_lib.noise import root_key

SIDE, CHANNELS = 32, 3
FILTERED = {"fir": True, "progressive_input": "residual"}
NETWORKS = {
    "unet": lambda dtype: UNet(CHANNELS, dtype=dtype),
    "ddpm": lambda dtype: DDPM(CHANNELS, dtype=dtype),
    "ddpmpp": lambda dtype: NCSNpp(CHANNELS, dtype=dtype),
    "ddpmpp_deep": lambda dtype: NCSNpp(CHANNELS, blocks=8, dtype=dtype),
    "ncsnpp": lambda dtype: NCSNpp(CHANNELS, **FILTERED, dtype=dtype),
    "ncsnpp_deep": lambda dtype: NCSNpp(CHANNELS, blocks=8, **FILTERED, dtype=dtype),
}


class Peer:
    """A process that times another implementation; see the file's first lines."""

    def __init__(self, command):
        self._process = subprocess.Popen(
            shlex.split(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout.readline().strip() == "ready"

    def seconds(self, part):
        """The wall and CPU time of one forward call or one step."""
        self._process.stdin.write(part + "\n")
        self._process.stdin.flush()
        return tuple(map(float, self._process.stdout.readline().split()))

    def close(self):
        """Ends the process."""
        self._process.stdin.close()
        self._process.wait()


def training_step(network, shape, abstract=False):
    """What a training step changes, (parameters, moments), and the jitted step.

    Args:
      shape: of a batch; abstract: shapes and dtypes in place of arrays.

    Returns:
      (state, step), with step(state, images, keys of examples) -> (state, loss); it takes its state's memory.
    """
    noise = jnp.full(shape[0], 500.0)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(2e-4))

    def call(params, x, keys):
        return network.apply({"params": params}, x, noise, dropout_keys=keys)

    if getattr(network, "rematerialization", "none") == "full":  # as denoisers/network.py has it
        call = jax.checkpoint(call)

    def start():
        params = network.lazy_init(root_key(0), jax.ShapeDtypeStruct(shape, jnp.float32), noise)["params"]
        return params, optimizer.init(params)

    def loss(params, x, keys):
        return jnp.mean(jnp.square(call(params, x, keys) - x))

    @functools.partial(jax.jit, donate_argnums=0)
    def step(state, x, keys):
        params, moments = state
        value, gradients = jax.value_and_grad(loss)(params, x, keys)
        with jax.named_scope("optimizer"):
            updates, moments = optimizer.update(gradients, moments)
            params = optax.apply_updates(params, updates)
        return (params, moments), value

    return (jax.eval_shape(start) if abstract else start()), step


def programs(network, batch):
    """Compiled functions without arguments by name, and the seconds that each took to trace and compile."""
    shape = (batch, SIDE, SIDE, CHANNELS)
    x = jax.random.normal(root_key(1), shape)
    noise = jnp.full(batch, 500.0)
    keys = jax.random.split(root_key(2), batch)
    state, step = training_step(network, shape)
    # The step takes its state's memory, so that the call has parameters of its own.
    params = jax.tree.map(jnp.array, state[0])

    def forward(params, x):
        return network.apply({"params": params}, x, noise)

    seconds = {}

    def compiled(name, function, *arguments):
        begin = time.perf_counter()
        program = function.lower(*arguments).compile()
        seconds[name] = time.perf_counter() - begin
        return program

    call = compiled("forward", jax.jit(forward), params, x)
    train = compiled("step", step, state, x, keys)

    def one_step():
        nonlocal state
        state, value = train(state, x, keys)
        return value

    return {"forward": lambda: call(params, x), "step": one_step}, seconds


def main():
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("network", choices=NETWORKS)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--peer", help="command of a process that times another implementation")
    arguments = parser.parse_args()

    functions, compile_seconds = programs(NETWORKS[arguments.network](arguments.dtype), arguments.batch)
    peer = Peer(arguments.peer) if arguments.peer else None
    times, before = {name: [] for name in functions}, os.getloadavg()[0]
    for name, function in functions.items():
        jax.block_until_ready(function())
        for _ in range(arguments.rounds):
            begin, cpu = time.perf_counter(), time.process_time()
            jax.block_until_ready(function())
            ours = time.perf_counter() - begin, time.process_time() - cpu
            times[name].append((*ours, *(peer.seconds(name) if peer else (np.nan, np.nan))))
    if peer:
        peer.close()

    print(
        f"{arguments.network}, batch {arguments.batch}, {arguments.dtype}, {arguments.rounds} rounds in turn;"
    )
    print(f"load {before:.1f} before and {os.getloadavg()[0]:.1f} after\n")
    print("| | compile, s | images/s | CPU s | peer: images/s | CPU s | ratio | of the rounds | of CPU s |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|")
    for name, rounds in times.items():
        wall, cpu, peers_wall, peers_cpu = np.array(rounds).T
        ours, peers = (arguments.batch / np.median(seconds) for seconds in (wall, peers_wall))
        each = f"{ours:.2f} | {np.median(cpu):.2f} | {peers:.2f} | {np.median(peers_cpu):.2f}"
        ratios = peers_wall / wall
        spread = f"{np.median(ratios):.2f} | {ratios.min():.2f} to {ratios.max():.2f}"
        print(
            f"| {name} | {compile_seconds[name]:.1f} | {each} | {spread} | {np.median(peers_cpu / cpu):.2f} |"
        )


if __name__ == "__main__":
    main()
