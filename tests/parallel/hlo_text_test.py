import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobilebert_jax.parallel.hlo_text import Shape, parse_module, parse_shapes
from mobilebert_jax.utils.errors import UserError

TEXT = """HloModule jit_step, is_scheduled=true

%region_0.1 (x: f32[], y: f32[]) -> f32[] {
  %x = f32[] parameter(0)
  %y = f32[] parameter(1)
  ROOT %add.3 = f32[] add(%x, %y)
}

ENTRY %main.9_spmd (param.1: bf16[4,8], param.2: s32[]) -> (f32[4], s32[]) {
  %param.1 = bf16[4,8]{1,0:T(8,128)(2,1)S(1)} parameter(0), sharding={devices=[8,1]<=[8]}
  %param.2 = s32[]{:T(128)} parameter(1)
  %zero = f32[] constant(-0.5)
  %reduce.5 = f32[4]{0} reduce(%param.1, %zero), dimensions={1}, to_apply=%region_0.1, metadata={op_name="jit(step)/a (b)/sum" stack_frame_id=3}
  ROOT %tuple.6 = (f32[4]{0}, /*index=1*/s32[]{:T(128)}) tuple(%reduce.5, %param.2)
}
"""  # noqa: E501


def test_computations_instructions_and_what_they_call():
    module = parse_module(TEXT)
    assert module.entry == "main.9_spmd" and list(module.computations) == ["region_0.1", "main.9_spmd"]
    main = module.computations[module.entry]
    assert main.root.name == "tuple.6" and main.root.operands == ("reduce.5", "param.2")
    assert {number: each.name for number, each in main.parameters.items()} == {0: "param.1", 1: "param.2"}
    reduce = main.instructions["reduce.5"]
    assert reduce.opcode == "reduce" and reduce.called == ("region_0.1",) and reduce.op_name == "jit(step)/a (b)/sum"
    assert reduce.attribute("dimensions") == "{1}" and reduce.attribute("nothing") == ""
    assert [user.name for user in main.users["param.2"]] == ["tuple.6"]
    assert main.instructions["zero"].inside == "-0.5" and main.instructions["zero"].operands == ()


def test_shapes_have_type_sizes_and_memory():
    main = parse_module(TEXT).computations["main.9_spmd"]
    assert main.instructions["param.1"].shapes == (Shape("bf16", (4, 8), 1),)
    assert main.root.shapes == (Shape("f32", (4,)), Shape("s32", ()))
    assert Shape("bf16", (4, 8)).bytes == 64 and Shape("pred", (3,)).bytes == 3 and Shape("s4", (3, 2)).bytes == 3
    assert Shape("f32", ()).elements == 1 and Shape("token", ()).bytes == 0 and Shape("f8e4m3fn", (7,)).bytes == 7


@given(st.lists(st.tuples(st.sampled_from(["f32", "bf16", "s8", "u32"]), st.lists(st.integers(0, 99), max_size=4))))
def test_a_tuple_s_arrays_come_in_order(arrays):
    text = ", ".join(f"{dtype}[{','.join(map(str, dims))}]{{{0}:T(8,128)(2,1)}}" for dtype, dims in arrays)
    assert parse_shapes(f"({text})") == tuple(Shape(dtype, tuple(dims)) for dtype, dims in arrays)


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "has no ENTRY"), ("ENTRY %a () -> f32[] {\n  nonsense\n}", "not a line of"), (TEXT[:200], "has no ENTRY")],
)
def test_a_text_that_is_no_program_is_refused(text, message):
    with pytest.raises(UserError, match=message):
        parse_module(text)


def test_compiled_programs_are_read_whole(texts):
    for name in ("scan", "walk", "gather"):
        module, text = texts.module(name), texts.text(name)
        assert sum(len(each.instructions) for each in module.computations.values()) == text.count(" = ")
        assert all(
            called in module.computations
            for each in module.computations.values()
            for line in each.instructions.values()
            for called in line.called
        )
