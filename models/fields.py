"""What several networks refuse of their fields, each by name."""

DTYPES = ("float32", "bfloat16")
# Deeper networks take longer to trace and compile than anyone waits.
MOST_BLOCKS = 500


def refuse_unknown(network, **choices):
    """Raises ValueError for a field that holds none of its choices."""
    for field, known in choices.items():
        if getattr(network, field) not in known:
            raise ValueError(f'{field}="{getattr(network, field)}" must be one of {", ".join(known)}')


def refuse_too_deep(network):
    """Raises ValueError for more than MOST_BLOCKS residual blocks on the way down."""
    if network.blocks * len(network.multipliers) > MOST_BLOCKS:
        raise ValueError(
            f"blocks={network.blocks} with {len(network.multipliers)} multipliers are more than "
            f"{MOST_BLOCKS} residual blocks on the way down"
        )


def missing_side(network, image_side):
    """The line of a network whose attention names sides that images of that side never have, or None."""
    sides = [image_side]
    for _ in network.multipliers[1:] if image_side else ():
        sides.append(-(-sides[-1] // 2))
    missing = [side for side in network.attention if image_side and side not in sides]
    if missing:
        return (
            f"model.attention={network.attention}: side {missing[0]} does not occur; an image of side "
            f"{image_side} has {tuple(sides)} with {len(sides)} multipliers."
        )
    return None
