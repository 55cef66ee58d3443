"""Which layers suffer from 8 bits: each is quantized alone, and what the model then says is compared."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from mobilebert_jax.models.pretrained import from_pretrained
from mobilebert_jax.quantization.calibration import make_recipe
from mobilebert_jax.quantization.recipe import STATIC, WEIGHT_ONLY, Recipe
from mobilebert_jax.quantization.sensitivity import PARTS, Switches, off, switchable, switched, switching
from mobilebert_jax.recipes.calibration import Wanted, read_samples
from mobilebert_jax.recipes.exam import Asked, Said, agreement, change, head_of, make_exam
from mobilebert_jax.recipes.quantize import fitting
from mobilebert_jax.recipes.samples import EXAMPLES
from mobilebert_jax.text.tokenizer import load_tokenizer
from mobilebert_jax.utils.types import Batch, Params

Row = dict[str, Any]


def measure_sensitivity(model: str | Path, asked: Asked, method: str, calibration: str = "") -> dict[str, Any]:
    """`rows` of all layers, the most sensitive first, and of all together; `score`: of the model in float32.

    A row: `layer` (a parameter's name), `block` (its number; -1 outside the stack), `part` ("weights", "activations";
    of `all`, "both"), `change` (root mean square of the logits' difference over their deviation), `agreement` with
    float32 (see `exam.agreement`), `score` and `lost` points.

    `calibration`: of `static`, training examples of the task, by default those of `asked.dataset`.

    Raises:
        UserError: as `make_exam` and `read_samples`.
    """
    exam = make_exam(model, asked)
    network, params = from_pretrained(model, head=head_of(asked.task))
    wanted = fitting(network, asked.task, Wanted(EXAMPLES, asked.sequence_length, asked.columns, asked.bad_rows))
    given = calibration or asked.dataset
    samples = read_samples(given, asked.task, model, load_tokenizer(model), wanted) if method == STATIC else {}
    recipe = make_recipe(network, params, method, samples)
    computing = switching(network, recipe)

    @jax.jit
    def forward(params: Params, switches: Switches, batch: Batch) -> Any:
        inputs = batch["input_ids"], batch["attention_mask"], batch["token_type_ids"]
        return computing.apply({"params": switched(params, switches, recipe)}, *inputs).replace(encoder=None)

    def said(switches: Switches) -> Said:
        return exam(lambda batch: forward(params, switches, batch))

    plain = said(off(params))
    rows = []
    for row, switches in tqdm(_turns(params, recipe), desc="layers", unit="layer", leave=False):
        found = said(switches)
        figures = {"change": change(plain, found), "agreement": agreement(plain, found), "score": found.score}
        rows.append({**row, **figures, "lost": plain.score - found.score})
    rows.sort(key=lambda row: (row["layer"] != "all", -row["change"]))
    return {"task": asked.task, "method": method, "score": plain.score, "answers": len(plain.answers), "rows": rows}


def _turns(params: Params, recipe: Recipe) -> list[tuple[Row, Switches]]:
    """Everything at once, each part of all layers, then every part of every layer alone."""
    whole = {name: np.ones_like(own) for name, own in off(params).items()}
    parts = PARTS[:1] if recipe.method == WEIGHT_ONLY else PARTS
    turns = [({"layer": "all", "block": -1, "part": "both"}, whole)]
    for place, part in enumerate(parts):
        own = off(params)
        for switches in own.values():
            switches[:, place] = 1
        turns.append(({"layer": "all", "block": -1, "part": part}, own))
        for name, count in switchable(params).items():
            if part != PARTS[0] and not name.endswith("kernel"):
                continue  # what a table meets are ids
            for block in range(count):
                own = off(params)
                own[name][block, place] = 1
                turns.append(({"layer": name, "block": block if count > 1 else -1, "part": part}, own))
    return turns
