"""These tests need extras (`parity`; Model Garden by hand): they are left out where those are not installed."""

import importlib.util

NEEDS = {
    "transformers_test.py": ("torch", "transformers"),
    "journey_test.py": ("torch", "transformers"),
    "tokenizers_test.py": ("transformers",),
}
collect_ignore = [file for file, names in NEEDS.items() if not all(map(importlib.util.find_spec, names))]
