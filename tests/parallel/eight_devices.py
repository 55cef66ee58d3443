"""Every program under every preset on eight devices of the CPU, against one; a process of its own, for its flags.

python -m tests.parallel.eight_devices FILE writes {program: {preset: {"error": ..., "collectives": [...]}}} there.
"""

import contextlib
import dataclasses
import functools
import json
import os
import sys
from pathlib import Path
from unittest import mock

if __name__ == "__main__":
    os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"

import jax
import numpy as np

from mobilebert_jax.models import attention
from mobilebert_jax.models.heads import MobileBertForPreTraining
from mobilebert_jax.models.initialise import logical_axes
from mobilebert_jax.models.tpu_attention import tpu_attention
from mobilebert_jax.objectives.terms import term_mean
from mobilebert_jax.parallel.layout import Layout
from mobilebert_jax.parallel.mesh import MeshShape, make_mesh
from mobilebert_jax.parallel.rules import PRESETS
from mobilebert_jax.training.alone import AloneProgram
from mobilebert_jax.training.program import accumulate, control_at
from mobilebert_jax.training.stages import Plan
from mobilebert_jax.utils.placement import TEACHER as TEACHER_NETWORK
from mobilebert_jax.utils.placement import active
from tests.parallel.collectives import collectives
from tests.training.cases import (
    ALONE,
    BLOCK,
    COEFFICIENTS,
    EVERYTHING,
    EXAMPLES,
    HEADS,
    LOCAL,
    PREFIX,
    STUDENT,
    TEACHER,
    batch,
    block_stage,
    local_stage,
    network,
    whole_stage,
)
from tests.training.quick import quick_jit

PRETRAINING = {"masked_lm": 1.0, "next_sentence": 1.0}
PROGRAMS = {
    "teacher": (
        AloneProgram(MobileBertForPreTraining(TEACHER), PRETRAINING),
        whole_stage(PRETRAINING, weights=()),
        TEACHER,
    ),
    "block": (BLOCK, block_stage(1), STUDENT),
    "prefix": (PREFIX, block_stage(2, lower=0.3), STUDENT),
    "local": (LOCAL, local_stage(), STUDENT),
    "everything": (EVERYTHING, whole_stage(COEFFICIENTS | HEADS), STUDENT),
    "distillation": (ALONE, whole_stage(HEADS, weights=()), STUDENT),
}
MESHES = {
    "dp": MeshShape(),
    "fsdp": MeshShape(fsdp=4),
    "tensor": MeshShape(tensor=4),
    "fsdp_tensor": MeshShape(replica=2, data=1, fsdp=2, tensor=2),
}
SMALL = 64
ACCUMULATION = {"dp": 1, "fsdp": 1, "tensor": 2, "fsdp_tensor": 2}
"""Two microbatches where the mesh leaves each device more than one example; the teacher's dropout would be another."""


FUSED = ("distillation",)
"""Programs whose attention is a kernel's on eight devices, and plain on one."""


def fused():
    """Every attention without maps is a kernel's, whatever the device."""
    kernel = functools.partial(tpu_attention, interpret=True)
    return mock.patch.object(attention, "fused_kernel", lambda *_, **__: kernel)


def layout_of(preset):
    """The preset on all devices, for the teacher too; nearly every parameter is split where a rule says so."""
    return Layout(make_mesh(MESHES[preset]), PRESETS[preset], PRESETS[preset], SMALL)


def placed(layout, cfg, seed, which):
    params = network(cfg, seed)
    axes = logical_axes(MobileBertForPreTraining(cfg))
    return jax.device_put(params, layout.shardings(axes, params, which))


def compiled(name, layout, accumulation=1):
    """(the compiled gradients and means of one program on one batch, its arguments)."""
    program, stage, cfg = PROGRAMS[name]
    control, examples = control_at(Plan((stage,)), 0), batch()
    params, teacher = network(cfg, 2), network(TEACHER, 1)
    if layout:
        params, teacher = placed(layout, cfg, 2, "trained"), placed(layout, TEACHER, 1, TEACHER_NETWORK)
        control, examples = layout.put_whole(control), layout.put_batch(examples, EXAMPLES)

    def gradients(trained, rest, teacher, batch, control):
        with active(layout), fused() if name in FUSED and layout else contextlib.nullcontext():
            counts = program.counts(batch)
            rng = jax.random.key(0)
            grads, sums = accumulate(program, trained, rest, teacher, batch, counts, control, rng, accumulation)
            return grads, {term: term_mean(value, counts[term]) for term, value in sums.items()}

    arguments = (*program.cut(params, stage.top), teacher, examples, control)
    return quick_jit(gradients).lower(*arguments).compile(), arguments


def relative_error(found, expected):
    """The worst leaf's distance over its norm, leaves below a tenth of the whole measured against that tenth."""
    found, expected = ([np.float64(leaf) for leaf in jax.tree.leaves(tree)] for tree in (found, expected))
    whole = np.linalg.norm([np.linalg.norm(leaf) for leaf in expected])
    pairs = zip(found, expected, strict=True)
    return max(np.linalg.norm(a - b) / max(np.linalg.norm(b), whole / 10) for a, b in pairs)


def main():
    report = {}
    for name in PROGRAMS:
        alone, arguments = compiled(name, None)
        expected, report[name] = alone(*arguments), {}
        for preset in MESHES:
            program, arguments = compiled(name, layout_of(preset), 1 if name == "teacher" else ACCUMULATION[preset])
            found = program(*arguments)
            report[name][preset] = {
                "error": max(relative_error(*pair) for pair in zip(found, expected, strict=True)),
                "collectives": [dataclasses.asdict(each) for each in collectives(program.as_text())],
            }
    Path(sys.argv[1]).write_text(json.dumps(report))


if __name__ == "__main__":
    main()
