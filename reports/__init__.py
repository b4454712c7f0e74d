"""Pictures, plots and figures that stand next to the numbers."""
