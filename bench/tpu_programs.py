"""What a network's training step costs on a TPU, from programs compiled ahead of time: no TPU is needed.

    pip install libtpu
    python -m bench.tpu_programs ddpmpp [--batch 128] [--dtype bfloat16] [--rematerialization none blocks]

For each kind of rematerialization: the memory that lives between arguments and outputs, the floating-point
operations, and the bytes that the program's instructions read and write, by what they belong to. An
instruction belongs to the convolutions or to attention where its fusion holds a product, else to the norms or
the optimizer where its operation was made there, else to the rest (activations, sums, resampling, copies).
The bytes are those of all operands and results, whether they pass the chip's main memory or stay in its
own, so that the shares say more than the sums.
"""

import argparse
import math
import os
import re
import time
from collections import defaultdict

# Before jax is imported: libtpu asks for the machine's metadata, and finds none.
os.environ |= {"TPU_SKIP_MDS_QUERY": "1", "TPU_WORKER_HOSTNAMES": "localhost"}
os.environ |= {"TPU_ACCELERATOR_TYPE": "v5litepod-4", "JAX_PLATFORMS": "cpu"}

import jax
import jax.numpy as jnp
from jax.experimental import topologies

from bench.networks import CHANNELS, NETWORKS, SIDE, training_step
from sde_lib.noise import root_key

BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s32": 4, "u32": 4, "f32": 4, "s64": 8, "f64": 8}
KINDS = ("convolutions", "norms", "attention", "optimizer", "rest")


def sizes(text):
    """Bytes of all arrays in a type as the program writes it, tuples included."""
    found = re.findall(r"\b([a-z]+[0-9]*)\[([0-9,]*)\]", text)
    counts = [(kind, math.prod(int(n) for n in shape.split(",") if n)) for kind, shape in found]
    return sum(BYTES.get(kind, 0) * count for kind, count in counts)


def kind_of(line, with_products):
    """Which of KINDS an instruction belongs to."""
    called = re.search(r"calls=%?([\w.-]+)", line)
    if " convolution(" in line or " dot(" in line or (called and called[1] in with_products):
        return "attention" if "ttention" in line else "convolutions"
    name = re.search(r'op_name="([^"]*)"', line)
    name = name[1].lower() if name else ""
    for kind, word in (("norms", "norm"), ("attention", "attention"), ("optimizer", "optimizer")):
        if word in name:
            return kind
    return "rest"


def traffic(text):
    """{kind: bytes} read and written by the instructions of a compiled program's entry."""
    with_products, computation, entry = set(), None, []
    for line in text.splitlines():
        header = re.match(r"(ENTRY )?%?([\w.-]+) \(.*\{$", line)
        if header:
            computation = "ENTRY" if header[1] else header[2]
        elif " convolution(" in line or " dot(" in line:
            with_products.add(computation)
        if computation == "ENTRY" and " = " in line:
            entry.append(line)
    results = {}
    by_kind = defaultdict(int)
    for line in entry:
        name, value = line.strip().removeprefix("ROOT ").split(" = ", 1)
        end = value.index(")") if value.startswith("(") else value.index(" ")
        results[name.lstrip("%")] = sizes(value[: end + 1])
        operation = re.search(r" ([\w-]+)\(", value[end:])
        if not operation or operation[1] in (
            "parameter",
            "constant",
            "tuple",
            "get-tuple-element",
            "bitcast",
        ):
            continue
        operands = re.findall(r"%([\w.-]+)", value[end:].split(", metadata")[0].split("calls=")[0])
        moved = results[name.lstrip("%")] + sum(results.get(operand, 0) for operand in operands)
        by_kind[kind_of(line, with_products)] += moved
    return by_kind


def main():
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("network", choices=NETWORKS)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--rematerialization", nargs="+", default=["none", "blocks", "full"])
    arguments = parser.parse_args()
    device = topologies.get_topology_desc("v5e:2x2", platform="tpu").devices[0]
    on_device = jax.sharding.SingleDeviceSharding(device)
    print(f"{arguments.network}, batch {arguments.batch}, {arguments.dtype}, one chip of a TPU v5e\n")
    columns = " | ".join(KINDS)
    print(f"| rematerialization | compile, s | GiB between | TFLOP | GB moved | {columns} |")
    print("|---|" + "--:|" * (4 + len(KINDS)))
    for kind in arguments.rematerialization:
        network = NETWORKS[arguments.network](arguments.dtype).clone(rematerialization=kind)
        shape = (arguments.batch, SIDE, SIDE, CHANNELS)
        state, step = training_step(network, shape, abstract=True)
        given = (state, jax.ShapeDtypeStruct(shape, jnp.float32))
        keys = jax.eval_shape(lambda: jax.random.split(root_key(0), arguments.batch))
        given = jax.tree.map(
            lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=on_device), (*given, keys)
        )
        begin = time.perf_counter()
        program = step.lower(*given).compile()
        seconds = time.perf_counter() - begin
        memory, cost = program.memory_analysis(), program.cost_analysis()
        by_kind = traffic(program.as_text())
        total = sum(by_kind.values())
        shares = " | ".join(f"{by_kind[name] / total:.0%}" for name in KINDS)
        figures = f"{memory.temp_size_in_bytes / 2**30:.2f} | {cost['flops'] / 1e12:.2f} | {total / 1e9:.0f}"
        print(f"| {kind} | {seconds:.0f} | {figures} | {shares} |", flush=True)


if __name__ == "__main__":
    main()
