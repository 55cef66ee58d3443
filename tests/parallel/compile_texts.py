"""Texts of small programs compiled for 8 CPU devices: `python -m tests.parallel.compile_texts DIR` writes them.

Run by itself, because the number of devices is settled once a process. Beside each text lies what XLA counts in it.
"""

import json
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

LAYERS, ROWS, WIDTH = 5, 64, 32
SHAPE = {"data": 2, "fsdp": 2, "tensor": 2}


def main(folder: Path) -> None:
    """All programs."""
    jax.config.update("jax_num_cpu_devices", 8)
    mesh = Mesh(np.array(jax.devices()).reshape(tuple(SHAPE.values())), tuple(SHAPE))

    def struct(shape, *spec):
        return jax.ShapeDtypeStruct(shape, jnp.float32, sharding=NamedSharding(mesh, PartitionSpec(*spec)))

    weights = struct((LAYERS, WIDTH, WIDTH))
    rows = struct((ROWS, WIDTH), ("data", "fsdp"))
    count = jax.ShapeDtypeStruct((), jnp.int32, sharding=NamedSharding(mesh, PartitionSpec()))

    def layers(weights, x, unroll):
        return jax.lax.scan(lambda x, w: (jnp.tanh(x @ w), None), x, weights, unroll=unroll)[0]

    def walk(weights, x, stop):
        with jax.named_scope("teacher"):
            x = jax.lax.fori_loop(0, stop, lambda i, x: jnp.tanh(x @ weights[i]), x)
        return jax.lax.fori_loop(0, stop, lambda i, x: jnp.sin(x @ weights[i]), x)

    def gathered(weights, x):
        whole = jax.lax.with_sharding_constraint(weights, NamedSharding(mesh, PartitionSpec()))
        return jnp.sum(x @ whole[0])

    programs = {
        "scan": (jax.grad(lambda w, x: jnp.sum(layers(w, x, 1)), (0, 1)), (weights, rows)),
        "unrolled": (jax.grad(lambda w, x: jnp.sum(layers(w, x, LAYERS)), (0, 1)), (weights, rows)),
        "walk": (walk, (weights, rows, count)),
        "mean_over_tensor": (lambda x: x.mean(), (struct((ROWS, WIDTH), None, "tensor"),)),
        "mean_over_fsdp": (lambda x: x.mean(), (struct((ROWS, WIDTH), "fsdp"),)),
        "gather": (gathered, (struct((LAYERS, WIDTH, WIDTH), None, "fsdp"), rows)),
    }
    for name, (function, arguments) in programs.items():
        compiled = jax.jit(function).lower(*arguments).compile()
        (folder / f"{name}.txt").write_text(compiled.as_text())
        (folder / f"{name}.json").write_text(json.dumps(compiled.cost_analysis()))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
