from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import medssl
from medssl.errors import OptionError
from medssl.export.formats import exported_network, real_images

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


@pytest.fixture(scope="module")
def model(finished):
    return medssl.load_model(finished)


def test_the_exported_network_predicts_what_the_run_predicts(model, images):
    shown = real_images(model, [images], 8)
    files = sorted(images.rglob("*.png"))
    files = files[:: len(files) // 8][:8]
    with torch.no_grad():
        found = exported_network(model, "linear")(shown).numpy()
    expected = model.predict(files, evaluator="linear", precision="float32").values
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("evaluator", [None, "linear"])
def test_a_file_agrees_with_torch_for_batches_of_any_size(model, tmp_path, evaluator):
    import onnxruntime

    from medssl.export.onnx import export_onnx

    (check,) = export_onnx(model, tmp_path / "m.onnx", evaluator=evaluator)
    assert check.max_difference < 1e-4
    assert check.opset == 20
    assert json.loads((tmp_path / "m.json").read_text())["checks"][0]["images"] == check.images
    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    network, generator = exported_network(model, evaluator), torch.Generator().manual_seed(0)
    for n in (1, 3, 17):
        x = torch.rand(n, 3, 24, 24, generator=generator)
        with torch.no_grad():
            np.testing.assert_allclose(session.run(None, {"images": x.numpy()})[0], network(x).numpy(), atol=1e-4)


def test_a_vote_of_neighbours_has_no_such_form(model, tmp_path):
    from medssl.export.onnx import export_onnx

    with pytest.raises(OptionError, match="'knn' has no form of standard layers"):
        export_onnx(model, tmp_path / "m.onnx", evaluator="knn")
    assert not (tmp_path / "m.onnx").exists()
