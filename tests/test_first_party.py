"""Every first-party plugin passes the kit that third parties are given."""

import pytest

from medssl import registry
from medssl.conformance import check_plugin

OURS = [plugin for kind in registry.GROUPS for plugin in registry.discover(kind) if plugin.distribution == "medssl"]
LONG = {"dino", "finetune", "lejepa", "mae", "mlp"}  # train longest in every check
NEEDS = {"umap": "umap"}  # packages that do not come with medssl


@pytest.mark.parametrize(
    "plugin",
    [pytest.param(p, id=f"{p.kind}-{p.name}", marks=[pytest.mark.slow] * (p.name in LONG)) for p in OURS],
)
def test_it_keeps_the_contract(plugin):
    if plugin.name in NEEDS:
        pytest.importorskip(NEEDS[plugin.name], reason=f"{plugin.name} needs a package that is not installed")
    check_plugin(plugin.kind, registry.load(plugin))
