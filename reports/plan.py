"""What --mode=plan prints, from what plan.json holds."""

GIB = 2**30


def tables(found):
    """A plan's tables: {"plan": [(what, text), ...]}, and "sweep": [header, row, ...] where there is one.

    Args:
      found: what plan.json holds.
    """
    chip, layout = found["chip"], found["layout"]
    rows = [
        ("devices", f"{found['devices']} x {found['device']}"),
        ("layout", ", ".join(f"{name} {value}" for name, value in layout.items() if value)),
        ("computation", f"{found['dtype']}, rematerialization {found['rematerialization']}"),
        ("parameters", f"{found['parameters']:,}"),
        ("batch", f"{found['batch_size']}, {found['share']} a device"),
    ]
    if chip:
        rows.append(
            (
                "chip",
                f"{chip['flops'] / 1e12:.0f} TFLOP/s of bfloat16, {chip['memory'] / GIB:.0f} GiB at "
                f"{chip['bandwidth'] / 1e9:.0f} GB/s, sends {chip['interconnect'] / 1e9:.0f} GB/s "
                f"({chip['source']})",
            )
        )
    if "training" in found:
        rows += _of_program("step", found["training"], found, found["share"])
    else:
        rows.append(("step", f"does not fit: {found['too_large']}"))
    if "sampling" in found:
        of = found["sampling"]
        if "too_large" in of:
            rows.append(("sampler", f"{of['share']} samples a device do not fit: {of['too_large']}"))
        else:
            calls = f"{of['nfe']} network calls" if of["nfe"] else "calls chosen on the way, one counted"
            rows.append(("sampler", f"{of['share']} samples a device, {calls}"))
            rows += _of_program("sampler", of, found, of["share"])
    largest = found["largest_batch"]
    rows.append(("largest batch", _said_of_largest(largest)))
    tables = {"plan": rows}
    if found["sweep"]:
        header = (
            "chips",
            "images a step",
            "compute, ms",
            "exchange, ms",
            "images/s",
            "chip ms an image",
            "efficiency",
        )
        header += (f"against {found['sweep'][0]['chips']}",)
        tables["sweep"] = [header, *map(_row_of_sweep, found["sweep"])]
    return tables


def _of_program(name, of, found, share):
    """Rows about a program of which a device does `share` examples in a call."""
    rows = [
        (f"{name}: compilation", f"{of['seconds']:.0f} s"),
        (
            f"{name}: FLOPs",
            f"{of['flops'] / 1e9:.4g} GFLOP a device, {of['flops'] / share / 1e9:.4g} an image",
        ),
        (f"{name}: main memory traffic", f"{of['main'] / 1e9:.4g} GB a device"),
        (
            f"{name}: memory",
            f"{of['memory'] / GIB:.2f} of {found['memory_limit'] / GIB:.2f} GiB a device: arguments "
            f"{of['arguments'] / GIB:.2f}, outputs {of['outputs'] / GIB:.2f} of which "
            f"{of['aliased'] / GIB:.2f} in their place, temporaries {of['temporaries'] / GIB:.2f}, code "
            f"{of['code'] / GIB:.2f}",
        ),
    ]
    time = of.get("time")
    if time:
        rows.append(
            (
                f"{name}: roofline",
                f"{1e3 * time['roofline']:.3g} ms by {time['limit']}: arithmetic "
                f"{1e3 * time['arithmetic']:.3g}, main memory {1e3 * time['main_memory']:.3g}; MFU at most "
                f"{100 * time['utilization_bound']:.0f}%",
            )
        )
        if "cycles" in time:
            optimum = f", its optimum {1e3 * of['optimum']:.3g}" if of["optimum"] is not None else ""
            rows.append(
                (
                    f"{name}: XLA's estimate",
                    f"{1e3 * time['cycles']:.3g} ms by {of['cycles'] / 1e6:.4g} million cycles{optimum}; MFU "
                    f"with the exchange {100 * time['utilization']:.0f}%",
                )
            )
    for kind, total in of["collectives"].items():
        size = f"{total['bytes'] / 1e6:.4g} MB in {total['count']}"
        rows.append((f"{name}: {kind}", f"{size}, each device sends {total['sent'] / 1e6:.4g} MB"))
    if time and of["collectives"]:
        rows.append((f"{name}: exchange", f"{1e3 * time['exchange']:.3g} ms without overlap"))
    return rows


def _said_of_largest(largest):
    compiled = ", ".join(largest["compiled"])
    if largest["batch_size"] is None:
        return f"none of {compiled} fits"
    end = f"; {largest['too_large']} does not fit" if largest["too_large"] else ""
    return f"{largest['batch_size']} fits{end} (compiled: {compiled})"


def _row_of_sweep(row):
    rate = row["images"] / (row["compute"] + row["exchange"])
    return (
        str(row["chips"]),
        str(row["images"]),
        f"{1e3 * row['compute']:.4g}",
        f"{1e3 * row['exchange']:.3g}",
        f"{rate:,.0f}",
        f"{1e3 * row['chip_seconds']:.4g}",
        f"{100 * row['efficiency']:.1f}%",
        f"{100 * row['against_first']:.1f}%",
    )
