"""Loops count as often as they run: against the same program without loops."""

import jax
import jax.numpy as jnp
import pytest

from mobilebert_jax.parallel.hlo_bytes import moved_bytes
from mobilebert_jax.parallel.hlo_collectives import MeshAxes
from mobilebert_jax.parallel.hlo_costs import total, work_of
from mobilebert_jax.parallel.hlo_loops import trip_count
from mobilebert_jax.parallel.hlo_text import parse_module
from tests.parallel.compile_texts import LAYERS, ROWS, SHAPE, WIDTH

SHARE = ROWS // (SHAPE["data"] * SHAPE["fsdp"])
PRODUCT = 2 * SHARE * WIDTH * WIDTH


def loops_of(module):
    return [
        (each.op_name, trip_count(module, computation, each))
        for computation in module.computations.values()
        for each in computation.instructions.values()
        if each.opcode == "while"
    ]


def costs(texts, name, trips=lambda name: 1):
    return total(work_of(texts.module(name)), trips, 1e12, 1e12)


def test_a_scan_costs_what_its_layers_cost_one_by_one(texts):
    scanned, counted = costs(texts, "scan"), texts.counted("unrolled")["flops"]
    assert scanned.flops == pytest.approx(counted, rel=0.02)
    assert texts.counted("scan")["flops"] < 0.5 * counted  # which is why we count ourselves
    assert scanned.matrix_flops == LAYERS * 3 * PRODUCT


def test_all_layers_gradients_are_summed_over_the_batch_s_axes(texts):
    found, axes = costs(texts, "scan").collectives, MeshAxes(SHAPE)
    sums = [(each, runs) for each, runs in found if each.kind == "all-reduce" and each.bytes >= 4 * WIDTH * WIDTH]
    assert {axes.name(each.groups)[0] for each, _ in sums} == {"data+fsdp"}
    assert sum(each.bytes * runs for each, runs in sums) == 4 * LAYERS * WIDTH * WIDTH


def test_the_runs_of_a_scan_are_in_the_text_and_a_traced_bound_s_are_not(texts):
    assert [count for _, count in loops_of(texts.module("scan"))] == [LAYERS, LAYERS]
    names = [name for name, count in loops_of(texts.module("walk")) if count is None]
    assert len(names) == 2 and sum("teacher" in name for name in names) == 1


@pytest.mark.parametrize(("teacher", "student"), [(0, 0), (3, 1), (2, 7)])
def test_an_open_loop_runs_as_often_as_it_is_told(texts, teacher, student):
    found = costs(texts, "walk", lambda name: teacher if "teacher" in name else student)
    assert found.matrix_flops == (teacher + student) * PRODUCT


def test_trips_follow_from_the_condition_where_the_compiler_notes_none(texts):
    text = texts.text("scan").replace('"known_trip_count":{"n":"5"}', '"note":{"n":"5"}')
    assert "known_trip_count" not in text
    assert [count for _, count in loops_of(parse_module(text))] == [LAYERS, LAYERS]


LOOP = """HloModule m
%body (b: (s32[], f32[8])) -> (s32[], f32[8]) {
  %b = (s32[], f32[8]) parameter(0)
  %i = s32[] get-tuple-element(%b), index=0
  %x = f32[8] get-tuple-element(%b), index=1
  %step = s32[] constant(STEP)
  %next = s32[] add(%i, %step)
  ROOT %out = (s32[], f32[8]) tuple(%next, %x)
}
%condition (c: (s32[], f32[8])) -> pred[] {
  %c = (s32[], f32[8]) parameter(0)
  %count = s32[] get-tuple-element(%c), index=0
  %bound = s32[] constant(BOUND)
  ROOT %less = pred[] compare(%count, %bound), direction=LT
}
ENTRY %main (p: f32[8]) -> (s32[], f32[8]) {
  %p = f32[8] parameter(0)
  %first = s32[] constant(FIRST)
  %init = (s32[], f32[8]) tuple(%first, %p)
  ROOT %loop = (s32[], f32[8]) while(%init), condition=%condition, body=%body
}
"""


@pytest.mark.parametrize(
    ("first", "bound", "step", "runs"), [(0, 24, 1, 24), (1, 24, 1, 23), (0, 24, 2, 12), (0, 5, 2, 3), (7, 5, 1, 0)]
)
def test_first_bound_and_step_give_the_trips(first, bound, step, runs):
    text = LOOP.replace("FIRST", str(first)).replace("BOUND", str(bound)).replace("STEP", str(step))
    assert loops_of(parse_module(text)) == [("", runs)]


STACK = """HloModule m
%taken (a: f32[24,8,16], i: s32[]) -> f32[8,16] {
  %a = f32[24,8,16] parameter(0)
  %i = s32[] parameter(1)
  %z = s32[] constant(0)
  %one = f32[1,8,16] dynamic-slice(%a, %i, %z, %z), dynamic_slice_sizes={1,8,16}
  ROOT %layer = f32[8,16] bitcast(%one)
}
%put (a: f32[24,8,16], x: f32[1,8,16], i: s32[]) -> f32[24,8,16] {
  %a = f32[24,8,16] parameter(0)
  %x = f32[1,8,16] parameter(1)
  %i = s32[] parameter(2)
  %z = s32[] constant(0)
  ROOT %new = f32[24,8,16] dynamic-update-slice(%a, %x, %i, %z, %z)
}
%nested (a: f32[24,8,16], i: s32[]) -> f32[8,16] {
  %a = f32[24,8,16] parameter(0)
  %i = s32[] parameter(1)
  %flat = f32[24,128] bitcast(%a)
  %back = f32[24,8,16] bitcast(%flat)
  ROOT %inner = f32[8,16] fusion(%back, %i), kind=kLoop, calls=%taken
}
ENTRY %main (s: f32[24,8,16], v: f32[1,8,16], i: s32[]) -> f32[24,8,16] {
  %s = f32[24,8,16] parameter(0)
  %v = f32[1,8,16]{2,1,0:S(1)} parameter(1)
  %i = s32[]{:S(1)} parameter(2)
  %take = f32[8,16] fusion(%s, %i), kind=kLoop, calls=%taken
  %twice = f32[8,16] fusion(%s, %i), kind=kOutput, calls=%nested
  %copy = f32[8,16]{1,0:S(1)} copy(%take)
  ROOT %done = f32[24,8,16] fusion(%s, %v, %i), kind=kLoop, calls=%put
}
"""


def test_of_a_stack_only_the_layer_moves_and_of_on_chip_memory_nothing():
    module = parse_module(STACK)
    main = module.computations["main"]
    layer = 8 * 16 * 4
    moved = {name: moved_bytes(module, main, each) for name, each in main.instructions.items()}
    assert moved == {"s": 0, "v": 0, "i": 0, "take": 2 * layer, "twice": 2 * layer, "copy": layer, "done": layer}


SCATTERED = """HloModule m
%add (x: f32[], y: f32[]) -> f32[] {
  %x = f32[] parameter(0)
  %y = f32[] parameter(1)
  ROOT %z = f32[] add(%x, %y)
}
%all-reduce-scatter.1 (g: f32[64,32], i: s32[]) -> f32[8,32] {
  %g = f32[64,32] parameter(0)
  %i = s32[] parameter(1)
  %zero = s32[] constant(0)
  %sum = f32[64,32] all-reduce(%g), channel_id=3, replica_groups=[1,8]<=[8], to_apply=%add
  ROOT %own = f32[8,32] dynamic-slice(%sum, %i, %zero), dynamic_slice_sizes={8,32}
}
ENTRY %main (g: f32[64,32], i: s32[]) -> (f32[8,32], f32[64,32]) {
  %g = f32[64,32] parameter(0)
  %i = s32[] parameter(1)
  %scattered = f32[8,32] fusion(%g, %i), kind=kCustom, calls=%all-reduce-scatter.1
  %whole = f32[64,32] all-reduce(%g), channel_id=4, replica_groups=[1,8]<=[8], to_apply=%add
  ROOT %out = (f32[8,32], f32[64,32]) tuple(%scattered, %whole)
}
"""


def test_a_sum_of_which_each_device_keeps_a_part_is_a_reduce_scatter():
    found = total(work_of(parse_module(SCATTERED)), lambda name: 1, 1.0, 1.0).collectives
    assert [(each.kind, each.bytes, runs) for each, runs in found] == [
        ("reduce-scatter", 64 * 32 * 4, 1.0),
        ("all-reduce", 64 * 32 * 4, 1.0),
    ]


def test_a_conditional_costs_what_its_costliest_branch_does():
    def choose(which, x):
        return jax.lax.cond(which, lambda x: x @ x @ x, lambda x: x @ x, x)

    compiled = jax.jit(choose).lower(True, jax.ShapeDtypeStruct((8, 8), jnp.float32)).compile()
    found = total(work_of(parse_module(compiled.as_text())), lambda name: 1, 1e12, 1e12)
    assert found.matrix_flops == 2 * 2 * 8**3
