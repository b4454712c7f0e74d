"""Published tables, and the commands that reproduce them."""
