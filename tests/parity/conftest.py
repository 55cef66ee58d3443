"""These tests need the extra `parity`: they are left out where it is not installed."""

import importlib.util

if not all(importlib.util.find_spec(name) for name in ("torch", "transformers")):
    collect_ignore_glob = ["*_test.py"]
