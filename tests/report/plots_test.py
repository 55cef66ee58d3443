import itertools
import re

import pytest

from mobilebert_jax.report.plots import phase_curves
from mobilebert_jax.report.run_folder import PhaseLog

TEXT_HEIGHT = 7.0
"""Points that a label needs, from the next one up or down."""


def _heights(svg: str) -> list[float]:
    """Where the labels of the first panel's y axis stand, in points, ascending."""
    panel = svg.split('<g id="axes_2">')[0]
    return sorted(float(y) for y in re.findall(r'text-anchor: end[^>]*? y="([\d.]+)"', panel))


@pytest.mark.parametrize("decades", [0.5, 2, 6, 12])
def test_labels_of_a_logarithmic_axis_do_not_lie_over_one_another(decades):
    lines = [{"step": step, "mean": 10 ** (-decades * step / 20)} for step in range(1, 21)]
    svg = phase_curves(PhaseLog("transfer", 20, 8, part_of_run=True, finished=True, lines=tuple(lines)))
    heights = _heights(str(svg))
    assert len(heights) > 1
    assert min(after - before for before, after in itertools.pairwise(heights)) > TEXT_HEIGHT
