"""What the evaluation loops are made of."""
