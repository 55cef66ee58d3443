"""These tests need extras (`parity`; Model Garden by hand): they are left out where those are not installed."""

import importlib.util

if not all(importlib.util.find_spec(name) for name in ("torch", "transformers")):
    collect_ignore = ["transformers_test.py", "journey_test.py"]
