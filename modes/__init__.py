"""One command a file: `--mode=X` is modes/X.py."""
