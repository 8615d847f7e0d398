"""Encoders from a hub that a test serves, and every way in which a hub fails: one clear sentence each."""

from __future__ import annotations

import json
import time

import pytest
import timm
import torch
from safetensors.torch import save

from medssl.catalog import load_catalog
from medssl.errors import CheckpointError, MedsslError, OptionError
from medssl.recipe import choose, resolve
from medssl.train.encoder.building import build_encoder
from medssl_encoders import _hub
from medssl_encoders.hub import Hub
from medssl_encoders.open_clip import OpenClip
from medssl_encoders.transformers import Transformers

PLACE = "/lab/tiny/resolve/main/"
CONFIG = {
    "architecture": "test_vit",
    "global_pool": "avg",
    "pretrained_cfg": {
        "input_size": [3, 64, 64],
        "mean": [0.1, 0.2, 0.3],
        "std": [0.4, 0.5, 0.6],
        "interpolation": "bicubic",
        "license": "cc-by-nc-4.0",
    },
}


@pytest.fixture(scope="module")
def published():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        return timm.create_model("test_vit", img_size=64, global_pool="avg")


@pytest.fixture
def served(hub, published):
    hub.files[PLACE + "config.json"] = json.dumps(CONFIG).encode()
    hub.files[PLACE + "model.safetensors"] = save(published.state_dict())
    return hub


def tiny(**options):
    return Hub.of(repository="lab/tiny", **options)


def test_repository_in_timms_format_is_loaded_with_its_card(served, published):
    source = tiny()
    card = source.card
    assert card.preprocessing.mean == (0.1, 0.2, 0.3)
    assert (card.preprocessing.interpolation, card.image_size, card.pooling) == ("bicubic", 64, "mean")
    assert (card.licence, card.forbids) == ("cc-by-nc-4.0", ("commercial use",))
    encoder = build_encoder(source, 64, seed=0).eval()
    x = torch.randn(2, 3, 64, 64)
    expected = published.eval().forward_head(published.forward_features(x), pre_logits=True)
    torch.testing.assert_close(encoder(x), expected)
    assert encoder.origin["source"] == "lab/tiny on the Hugging Face hub"
    served.asked.clear()
    build_encoder(tiny(), 64, seed=0)
    assert served.asked == []  # from the cache, without a question


def test_name_on_the_command_line_sets_repository_and_size(served):
    recipe = resolve(load_catalog(), [{"method": "none", "dataset": "phantom", "encoder": "hub:lab/tiny"}])
    assert (recipe.views.image_size, recipe.network, recipe.encoder.loader) == (64, "hub:lab/tiny", "hub")
    assert recipe.initial_weights == "lab/tiny"


def test_repository_without_config_is_said(hub, published):
    hub.files[PLACE + "model.safetensors"] = save(published.state_dict())
    with pytest.raises(OptionError, match=r"lab/tiny has no config\.json.*not in timm's format.*encoder\.architecture"):
        _ = tiny().card


def test_config_of_another_library_is_said(hub):
    hub.files[PLACE + "config.json"] = b'{"model_type": "dinov2"}'
    with pytest.raises(OptionError, match=r"names no network of timm.*transformers:OWNER/NAME"):
        _ = tiny().card


def test_config_that_is_no_json_is_said(hub):
    hub.files[PLACE + "config.json"] = b"<html>Sign in to this network</html>"
    with pytest.raises(CheckpointError, match=r"config\.json of lab/tiny cannot be read.*sent something else.*Delete"):
        _ = tiny().card


def test_weights_of_another_network_name_the_tensors(served):
    served.files[PLACE + "model.safetensors"] = save(timm.create_model("test_resnet").state_dict())
    with pytest.raises(CheckpointError, match=r"do not fit.*missing: cls_token, pos_embed.*unexpected: "):
        build_encoder(tiny(), 64, seed=0)


def test_other_channels_are_refused_before_anything_is_read(served):
    changed = {**CONFIG, "pretrained_cfg": {**CONFIG["pretrained_cfg"], "input_size": [1, 64, 64]}}
    served.files[PLACE + "config.json"] = json.dumps(changed).encode()
    with pytest.raises(OptionError, match=r"takes images of 1 channels.*medssl gives every encoder three"):
        resolve(load_catalog(), [{"method": "none", "dataset": "phantom", "encoder": "hub:lab/tiny"}])


def test_size_that_it_cannot_take_is_said(served):
    with pytest.raises(OptionError, match=r"cannot take images of 40 x 40 px.*--image-size"):
        build_encoder(tiny(), 40, seed=0)


def test_name_that_is_no_repository_is_said(hub):
    with pytest.raises(OptionError, match=r"'a/b/c' is not the name of a repository.*It has the form owner/name"):
        _ = Hub.of(repository="a/b/c").card


# ------------------------------------------------------------------------------------------------------- a hub fails


def failure(source) -> str:
    start = time.monotonic()
    with pytest.raises(MedsslError) as caught:
        build_encoder(source, 64, seed=0)
    assert time.monotonic() - start < 60
    text = str(caught.value)
    assert "--init FILE" in text
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    ("status", "code", "token", "words"),
    [
        (404, "RepoNotFound", None, "The hub has no such repository, or it is private"),
        (401, "RepoNotFound", None, "The hub has no such repository, or it is private"),
        (403, "GatedRepo", None, "Request it at https://huggingface.co/lab/tiny, then log in with `hf auth login`"),
        (401, "GatedRepo", None, "grant access on request"),
        (403, "GatedRepo", "hf_abc", "Your access token has no access to it. Request access at"),
        (403, None, "hf_abc", "Your access token has no access to it"),
        (401, None, "hf_abc", "The hub refused your access token"),
        (429, None, None, "too many requests"),
        (500, None, None, "The hub reports an error of its own (500)"),
        (503, None, None, "The hub reports an error of its own (503)"),
    ],
)
def test_answer_that_is_an_error_is_said_in_words(served, monkeypatch, status, code, token, words):
    served.fails, served.code = status, code
    monkeypatch.setattr("time.sleep", lambda _: None)  # the hub's client waits between its attempts
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    assert words in failure(tiny(architecture="test_vit"))


def test_gate_of_the_catalogue_says_where_access_is_requested(hub):
    hub.fails, hub.code = 403, "GatedRepo"
    choice = choose("encoder", "uni", {}, load_catalog())
    with pytest.raises(CheckpointError, match=r"Request it at https://huggingface\.co/MahmoodLab/UNI, then log in"):
        choice.plugin(choice.config, choice.facts)._fetch_weights(["model.safetensors"])


@pytest.mark.parametrize("loader", [Hub, Transformers, OpenClip])
@pytest.mark.parametrize(
    ("status", "words"),
    [(404, "no such repository"), (403, "grant access on request"), (429, "too many requests"), (500, "(500)")],
)
def test_every_loader_says_why_it_has_no_settings(hub, monkeypatch, loader, status, words):
    """Without the settings of the repository, before the network is built."""
    hub.fails = status
    monkeypatch.setattr("time.sleep", lambda _: None)
    with pytest.raises(MedsslError) as caught:
        _ = loader.of(repository="lab/tiny").card
    assert words in str(caught.value)


@pytest.fixture
def _at_once(monkeypatch):
    """The hub's client waits a second before each of its five attempts."""
    wait = time.sleep
    monkeypatch.setattr(time, "sleep", lambda seconds: wait(min(seconds, 0.01)))


@pytest.mark.usefixtures("_at_once")
def test_a_download_that_broke_off_is_completed_later(served, published):
    served.short = True
    assert "The download ended" in failure(tiny(architecture="test_vit", arguments={"global_pool": "avg"}))
    served.short = False
    encoder = build_encoder(tiny(architecture="test_vit", arguments={"global_pool": "avg"}), 64, seed=0)
    assert torch.equal(encoder.network.cls_token, published.cls_token)


@pytest.mark.slow
def test_slow_hub_is_given_up(served, monkeypatch):
    monkeypatch.setattr(_hub, "_PATIENCE", 0.2)
    monkeypatch.setattr("huggingface_hub.file_download._ETAG_RETRY_TIMEOUT", 0.3)  # its second attempt
    served.slow = 0.6
    assert "The hub did not answer in time" in failure(tiny(architecture="test_vit"))


@pytest.mark.usefixtures("_at_once")
def test_half_a_download_is_said(served):
    served.short = True
    assert "The download ended before the file was complete" in failure(tiny(architecture="test_vit"))


def test_other_bytes_are_said(served):
    served.files[PLACE + "model.safetensors"] = b"<html>Sign in to this network</html>" * 10
    with pytest.raises(CheckpointError, match=r"model\.safetensors cannot be read.*Copy or download it again"):
        build_encoder(tiny(architecture="test_vit"), 64, seed=0)


def test_pickle_with_code_is_refused(served, tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    torch.save({"model": Trap()}, tmp_path / "w.bin")
    del served.files[PLACE + "model.safetensors"]
    served.files[PLACE + "pytorch_model.bin"] = (tmp_path / "w.bin").read_bytes()
    with pytest.raises(CheckpointError, match=r"could run code.*medssl encoder convert"):
        build_encoder(tiny(), 64, seed=0)
    assert not (tmp_path / "ran").exists()


def test_file_that_was_brought_needs_no_hub(hub, published, tmp_path):
    hub.fails = 500
    (tmp_path / "w.safetensors").write_bytes(save(published.state_dict()))
    source = tiny(architecture="test_vit", arguments={"global_pool": "avg"}, weights=tmp_path / "w.safetensors")
    encoder = build_encoder(source, 64, seed=0)
    assert torch.equal(encoder.network.cls_token, published.cls_token)
    assert hub.asked == []


# ------------------------------------------------------------------------------------------------- the other libraries


def test_transformers_repository_is_loaded_with_its_card(hub):
    library = pytest.importorskip("transformers")
    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": 14, "image_size": 56}
    model = library.Dinov2Model(library.Dinov2Config(**small)).eval()
    hub.files[PLACE + "config.json"] = json.dumps(model.config.to_dict()).encode()
    hub.files[PLACE + "preprocessor_config.json"] = json.dumps(
        {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6], "crop_size": {"height": 42}, "resample": 3}
    ).encode()
    hub.files[PLACE + "model.safetensors"] = save(dict(model.state_dict()))
    source = Transformers.of(repository="lab/tiny")
    assert (source.card.image_size, source.card.preprocessing.mean) == (42, (0.1, 0.2, 0.3))
    assert source.card.preprocessing.interpolation == "bicubic"
    encoder = build_encoder(source, 42, seed=0).eval()
    x = torch.randn(2, 3, 42, 42)
    with torch.no_grad():
        torch.testing.assert_close(encoder(x), model(pixel_values=x).pooler_output)
        assert encoder.dense(x).shape == (2, 32, 3, 3)


def test_open_clip_repository_is_loaded_with_its_card(hub):
    pytest.importorskip("open_clip")
    settings = {"embed_dim": 16, "vision_cfg": {"timm_model_name": "test_vit", "timm_pool": "", "image_size": 64}}
    described = {"model_cfg": settings, "preprocess_cfg": {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}}
    hub.files[PLACE + "open_clip_config.json"] = json.dumps(described).encode()
    first = build_encoder(OpenClip.of(settings=settings, weights=None), 64, seed=3)
    whole = {f"visual.{name}": value for name, value in first.network.state_dict().items()}
    hub.files[PLACE + "open_clip_model.safetensors"] = save({**whole, "text.positions": torch.zeros(3)})
    source = OpenClip.of(repository="lab/tiny")
    assert (source.card.image_size, source.card.preprocessing.std) == (64, (0.4, 0.5, 0.6))
    encoder = build_encoder(source, 64, seed=0).eval()
    x = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(encoder(x), first.eval()(x))
    assert encoder.feature_dim == 16
    trunk = build_encoder(OpenClip.of(repository="lab/tiny", embedding=False), 64, seed=0)
    assert trunk.feature_dim == 64
