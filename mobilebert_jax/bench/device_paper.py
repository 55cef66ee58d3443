"""What the paper measured on a phone, to stand beside `bench device`."""

from typing import Any

SMALLER, FASTER = 4.3, 5.5
"""MobileBERT against BERT_BASE by parameters and by time, Sun et al. 2020, abstract."""

SETTING = "TensorFlow Lite, 4 threads of a Pixel 4"
LENGTH = 128

PAPER: dict[str, dict[str, Any]] = {
    "mobilebert": {"parameters": 25.3e6, "flops": 5.7e9, "ms": 62.0},
    "mobilebert_tiny": {"parameters": 15.1e6, "flops": 3.1e9, "ms": 40.0},
    "mobilebert_no_opt": {"parameters": 25.3e6, "flops": 5.7e9, "ms": 192.0},
    "bert_base": {"parameters": 109e6, "flops": 22.5e9, "ms": 342.0},
}
"""Its GLUE table: parameters, operations and latency of `LENGTH` tokens in float32."""
BYTES = 4
"""Of a parameter, in float32."""
