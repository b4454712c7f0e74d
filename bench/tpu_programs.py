"""What networks cost on a TPU, from programs compiled ahead of time: no TPU is needed.

    pip install libtpu
    python -m bench.tpu_programs block_32 block_16 block_8 block_4 --batch 128
    python -m bench.tpu_programs block_32 --batch 128 --blocks 2 --rematerialization none blocks
    python -m bench.tpu_programs ddpm --rematerialization none blocks full

A block is a residual block of DDPM++ at that side, or a few of them, with the gradients by weights and input;
a network is its whole training step (bench/networks.py). parallel/program_text.py says what is counted.
Compilation is what takes long here: about a second for each convolution of a program in bfloat16 at batch 8,
five at batch 64, and three times as much in float32.
"""

import argparse
import os
import time

# Before jax is imported: libtpu asks for the machine's metadata, and finds none.
os.environ |= {"TPU_SKIP_MDS_QUERY": "1", "TPU_WORKER_HOSTNAMES": "localhost"}
os.environ |= {"TPU_ACCELERATOR_TYPE": "v5litepod-4", "JAX_PLATFORMS": "cpu"}

import jax
import jax.numpy as jnp
from jax.experimental import topologies

from bench.networks import CHANNELS, NETWORKS, SIDE, training_step
from models.layers import rematerialized
from models.song_layers import ResidualBlock
from parallel.program_text import KINDS, costs
from sde_lib.noise import root_key

# Side and channels of the levels of DDPM and DDPM++ on CIFAR-10.
BLOCKS = {"block_32": (32, 128), "block_16": (16, 256), "block_8": (8, 256), "block_4": (4, 256)}


def keys_of_examples(batch):
    """Their shape and dtype."""
    return jax.eval_shape(lambda: jax.random.split(root_key(0), batch))


def block_program(name, batch, dtype, rematerialization, blocks):
    """A jitted function, value and gradients of blocks in a row, and its arguments as shapes and dtypes."""
    side, features = BLOCKS[name]
    block = rematerialized(ResidualBlock, rematerialization)(
        features, 0.1, jnp.dtype(dtype), skip_rescale=True
    )
    image = jax.ShapeDtypeStruct((batch, side, side, features), dtype)
    level = jax.ShapeDtypeStruct((batch, 512), dtype)
    keys = keys_of_examples(batch)
    params = [jax.eval_shape(block.init, root_key(0), image, level, keys)["params"]] * blocks

    def value_and_gradients(params, image, level, keys, cotangent):
        def call(params, image, level):
            for of_block in params:
                image = block.apply({"params": of_block}, image, level, keys)
            return image

        call = jax.checkpoint(call) if rematerialization == "full" else call
        value, back = jax.vjp(call, params, image, level)
        return value, back(cotangent)

    return jax.jit(value_and_gradients), (params, image, level, keys, image)


def step_program(name, batch, dtype, rematerialization, blocks):
    """A jitted training step of a network, and its arguments as shapes and dtypes."""
    fields = {"blocks": blocks} if blocks else {}
    if rematerialization != "none":
        fields["rematerialization"] = rematerialization
    network = NETWORKS[name](dtype).clone(**fields)
    shape = (batch, SIDE, SIDE, CHANNELS)
    state, step = training_step(network, shape, abstract=True)
    return step, (state, jax.ShapeDtypeStruct(shape, jnp.float32), keys_of_examples(batch))


def compiled(function, arguments, device):
    """The program for that device, and the seconds that it took."""
    on_device = jax.sharding.SingleDeviceSharding(device)
    placed = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=on_device), arguments)
    begin = time.perf_counter()
    program = function.lower(*placed).compile()
    return program, time.perf_counter() - begin


def row(name, program, seconds):
    """A line of the table."""
    of_kinds = costs(program.as_text())
    total = {what: sum(cost[what] for cost in of_kinds.values()) for what in ("flops", "bytes", "cycles")}
    shares = [
        " / ".join(f"{100 * of_kinds[kind][what] / total[what]:.0f}" for what in total) for kind in KINDS
    ]
    memory = program.memory_analysis().temp_size_in_bytes / 2**20
    sums = f"{total['flops'] / 1e9:.0f} | {total['bytes'] / 1e9:.2f} | {total['cycles'] / 1e6:.2f}"
    return f"| {name} | {seconds:.0f} | {memory:.0f} | {sums} | {' | '.join(shares)} |"


def main():
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("programs", nargs="+", choices=(*BLOCKS, *NETWORKS))
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--blocks", type=int, help="of a network at each level, or in a row")
    parser.add_argument("--dtype", nargs="+", default=["bfloat16"])
    parser.add_argument("--rematerialization", nargs="+", default=["none"])
    arguments = parser.parse_args()
    device = topologies.get_topology_desc("v5e:2x2", platform="tpu").devices[0]
    print(f"batch {arguments.batch}, one chip of a TPU v5e; of the kinds: % of FLOPs / bytes / cycles\n")
    print(f"| program | compile, s | MiB between | GFLOP | GB | million cycles | {' | '.join(KINDS)} |")
    print("|---|" + "--:|" * (5 + len(KINDS)))
    for name in arguments.programs:
        for dtype in arguments.dtype:
            for kind in arguments.rematerialization:
                shared = name, arguments.batch, dtype, kind
                if name in BLOCKS:
                    program = block_program(*shared, arguments.blocks or 1)
                else:
                    program = step_program(*shared, arguments.blocks)
                print(row(f"{name}, {dtype}, {kind}", *compiled(*program, device)), flush=True)


if __name__ == "__main__":
    main()
