"""Compiling is most of these tests' time, so what runs once is compiled with as little optimisation as XLA offers."""

import functools

import jax

OPTIONS = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
    "xla_cpu_use_fusion_emitters": False,
}


@functools.cache
def known_options():
    """`OPTIONS`, or none of them where this XLA or this kind of device does not know one."""
    try:
        jax.jit(lambda: 0, compiler_options=OPTIONS)()
    except jax.errors.JaxRuntimeError:
        return {}
    return OPTIONS


def quick_jit(function, **options):
    """`jax.jit`, compiled in a quarter of the time."""
    return jax.jit(function, compiler_options=known_options(), **options)
