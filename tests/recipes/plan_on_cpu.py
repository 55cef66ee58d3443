"""`mobilebert` for a topology whose devices are 8 of this machine's CPU: everything of `plan` but libtpu.

python -m tests.recipes.plan_on_cpu plan --config=... --topology=v5e:2x4
"""

import sys

import jax

from mobilebert_jax.cli.main import main
from mobilebert_jax.recipes import plan

if __name__ == "__main__":
    jax.config.update("jax_num_cpu_devices", 8)
    plan.topology_devices = lambda topology: jax.devices()[: topology.devices]
    sys.exit(main(sys.argv[1:]))
