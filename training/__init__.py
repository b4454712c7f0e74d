"""What the loops are made of: state, step, devices, checkpoints and records."""
