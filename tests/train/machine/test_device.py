"""Device, precision and layout: what is chosen, and that the reason says why."""

from __future__ import annotations

import importlib.metadata
import json

import pytest
import torch
from torch import nn

from medssl.errors import OptionError
from medssl.train.machine import device as module
from medssl.train.machine.device import (
    Precision,
    choose_device,
    choose_layout,
    choose_precision,
    describe_environment,
    native_bfloat16,
)

CPU, CUDA, MPS = torch.device("cpu"), torch.device("cuda"), torch.device("mps")


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _=None: "Test GPU")


def test_auto_takes_the_processor_where_there_is_no_gpu(no_gpu):
    assert choose_device("auto") == CPU


def test_auto_prefers_cuda(two_gpus):
    assert choose_device("auto") == CUDA
    assert choose_device("cuda:1") == torch.device("cuda:1")


@pytest.mark.parametrize(("name", "word"), [("cuda", "no CUDA"), ("cuda:0", "no CUDA"), ("mps", "no Apple GPU")])
def test_absent_device_is_an_error_that_names_the_way_out(no_gpu, name, word):
    with pytest.raises(OptionError, match=rf"{word}.*--device cpu"):
        choose_device(name)


def test_gpu_number_out_of_range_says_how_many_there_are(two_gpus):
    with pytest.raises(OptionError, match=r"GPU number 2 does not exist.*has 2"):
        choose_device("cuda:2")


@pytest.mark.parametrize("name", ["cdua", "cuda:x", "cpu:0", "", "cuda:-1"])
def test_unknown_device_is_refused(name):
    with pytest.raises(OptionError, match="no device named"):
        choose_device(name)


def test_mistyped_device_gets_the_closest_name():
    with pytest.raises(OptionError, match="Did you mean 'cuda'"):
        choose_device("cudaa")


@pytest.mark.parametrize(
    ("flag", "expected"), [("amx_bf16", torch.bfloat16), ("avx512_bf16", torch.bfloat16), ("avx2", None)]
)
def test_processor_gets_bfloat16_only_where_it_is_native(monkeypatch, flag, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {flag: True, "cpu_name": "x"}, raising=False)
    chosen = choose_precision("auto", CPU)
    assert chosen.dtype == expected
    assert (flag if expected else "no bfloat16 instructions") in chosen.reason


def test_older_pytorch_reads_the_flags_of_the_system(monkeypatch, tmp_path):
    file = tmp_path / "cpuinfo"
    file.write_text("processor\t: 0\nflags\t\t: fpu avx512_bf16 sse2\n\nprocessor\t: 1\nflags\t\t: fpu\n")
    content = module._read_cpuinfo(file)
    assert content == {"processor": "0", "flags": "fpu avx512_bf16 sse2"}
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    monkeypatch.setattr(module, "_read_cpuinfo", lambda: content)
    assert native_bfloat16() == "avx512_bf16"
    monkeypatch.setattr(module, "_read_cpuinfo", dict)
    assert native_bfloat16() is None


def test_no_processor_file_is_no_error(tmp_path):
    assert module._read_cpuinfo(tmp_path / "none") == {}


@pytest.mark.parametrize(
    ("capability", "dtype"),
    [((9, 0), torch.bfloat16), ((8, 6), torch.bfloat16), ((7, 5), torch.float16), ((6, 1), None)],
)
def test_gpu_gets_what_its_tensor_cores_have(two_gpus, monkeypatch, capability, dtype):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    chosen = choose_precision("auto", CUDA)
    assert chosen.dtype == dtype
    assert "Test GPU" in chosen.reason


def test_asking_for_emulated_bfloat16_is_allowed_and_says_what_it_costs(monkeypatch):
    monkeypatch.setattr(module, "native_bfloat16", lambda: None)
    chosen = choose_precision("bfloat16", CPU)
    assert chosen.dtype == torch.bfloat16
    assert "slower" in chosen.reason


def test_float16_needs_cuda():
    with pytest.raises(OptionError, match=r"float16 cannot be used on cpu.*bfloat16 or float32"):
        choose_precision("float16", CPU)


def test_unknown_precision_gets_the_closest_name():
    with pytest.raises(OptionError, match="Did you mean 'bfloat16'"):
        choose_precision("bfloat", CPU)


@pytest.mark.parametrize("name", ["float32", "bfloat16"])
def test_autocast_computes_in_the_precision_and_full_in_float32(name):
    precision = choose_precision(name, CPU)
    layer, x = nn.Linear(2, 2), torch.zeros(1, 2)
    with precision.autocast():
        assert layer(x).dtype == getattr(torch, name)
        with precision.full():
            assert layer(x).dtype == torch.float32
    assert precision.name == name


def test_only_float16_on_cuda_scales_its_loss():
    assert not Precision(None, "", "cpu").scaler().is_enabled()
    assert not Precision(torch.bfloat16, "", "cuda").scaler().is_enabled()
    if torch.cuda.is_available():
        assert Precision(torch.float16, "", "cuda").scaler().is_enabled()


def test_layout_is_applied_to_convolutions():
    network = nn.Conv2d(3, 8, 3)
    layout = choose_layout(CPU)
    layout.apply(network, CPU)
    assert network.weight.is_contiguous(memory_format=torch.channels_last)
    assert layout.name == "channels_last"
    assert choose_layout(MPS).name == "contiguous"


def test_environment_names_versions_without_importing(monkeypatch):
    found = describe_environment()
    assert found["torch"] == importlib.metadata.version("torch")
    assert found["cpu_count"] >= 1
    assert json.loads(json.dumps(found)) == found
    monkeypatch.setattr(module, "_PACKAGES", ("no-such-package",))
    assert describe_environment()["no-such-package"] is None
