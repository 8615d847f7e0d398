from __future__ import annotations

import json

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file

import medssl
from medssl.catalog import load_catalog
from medssl.errors import OptionError
from medssl.export.documents.record import Record
from medssl.export.formats import exported_network, real_images
from medssl.export.hub import export_hub


@pytest.mark.parametrize("evaluator", [None, "linear"])
def test_timm_loads_the_folder_and_computes_the_same(finished, tmp_path, evaluator):
    model = medssl.load_model(finished)
    record = Record.of(finished, load_catalog())
    written = export_hub(model, tmp_path, record, evaluator=evaluator)
    assert [path.name for path in written] == ["model.safetensors", "config.json", "README.md"]
    loaded = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    x = real_images(model, [], 4)
    network = exported_network(model, evaluator)
    config = timm.data.resolve_model_data_config(loaded)
    mean, std = (torch.tensor(config[name])[:, None, None] for name in ("mean", "std"))
    with torch.no_grad():
        found, expected = loaded((x - mean) / std), network(x)
    found = found.softmax(1) if evaluator else found
    np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=1e-4)
    values = json.loads((tmp_path / "config.json").read_text())
    assert values.get("label_names", ["bright", "dark"]) == ["bright", "dark"]


def test_a_predictor_with_two_layers_is_no_classifier_of_timm(finished, tmp_path):
    with pytest.raises(OptionError, match="not a single linear layer"):
        export_hub(medssl.load_model(finished), tmp_path, Record.of(finished, load_catalog()), evaluator="mlp")


@pytest.mark.slow
def test_the_card_of_a_small_stem_says_how_to_load_it(images, tmp_path):
    run = medssl.run(
        "random",
        "folder",
        place=medssl.Place(data_dir=images, output=tmp_path),
        encoder={"backbone": "resnet10t", "stem": "small"},
        views={"image_size": 24},
        split={"protocol": "random"},
        evaluate={"bootstrap": 0, "baseline": False},
        evaluators=["linear"],
    )
    model = medssl.load_model(run)
    export_hub(model, tmp_path / "hub", Record.of(run, load_catalog()))
    text = (tmp_path / "hub" / "README.md").read_text()
    code = text.partition("```python\n")[2].partition("```")[0]
    space: dict[str, object] = {}
    exec(code.replace("model.safetensors", str(tmp_path / "hub" / "model.safetensors")), space)
    x = real_images(model, [], 2)
    network = exported_network(model, None)
    with torch.no_grad():
        found = space["model"](x * network.scale - network.shift)
        np.testing.assert_allclose(found.numpy(), network(x).numpy(), atol=1e-5)
    assert load_file(tmp_path / "hub" / "model.safetensors").keys() == network.body.state_dict().keys()
