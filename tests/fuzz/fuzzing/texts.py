"""Texts: plans, recipes, catalogues, results, tables and settings of encoders, with entries and bytes changed."""

from __future__ import annotations

import csv
import functools
import io
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import yaml
from PIL import Image

from fuzzing.example import example_run
from fuzzing.mutating import ODD, WORDS, damage, vary
from fuzzing.watching import watched

USES = (
    "medssl.cli.options",
    "medssl.train.encoder.building",
    "medssl.study.grid",
    "medssl.report.missing",
    "medssl_encoders.hub",
    "medssl_encoders.open_clip",
    "medssl_encoders.transformers",
    "medssl_datasets.csv",
    "medssl.export.tables",
    "openpyxl",
    "pyarrow.parquet",
    "open_clip",
    "transformers",
    "transformers.models.dinov2",
)
"""Modules that the cases use."""


def check(rng: random.Random, folder: Path) -> None:
    """Write a text and read it as medssl does.

    Raises:
        MedsslError: medssl refuses it.
    """
    rng.choice(_WAYS)(rng, folder)


def _write(rng: random.Random, path: Path, text: str | bytes) -> Path:
    content = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    path.write_bytes(damage(rng, content) if rng.random() < 0.3 else content)
    return path


def _yaml(rng: random.Random, values: Any) -> str:
    try:
        text = yaml.safe_dump(vary(rng, values) if rng.random() < 0.9 else values, allow_unicode=True)
    except (yaml.YAMLError, RecursionError):
        text = "[" * 600
    if rng.random() < 0.1:
        lines = text.splitlines()
        odd = (
            "a: !!python/object/apply:os.system [id]",
            "<<: {a: 1}",
            "- &x [*x]",
            "? [1]",
            "x: !!binary x",
            "x: 2020-13-45",
            "x: 1:2:3",
            "\t",
            "%YAML 2.0",
            "--- \n---",
            "x: !!timestamp 1",
            "x: !!float a",
            "x: !!set {a}",
            "x: !!omap [a: 1]",
            "x: 0o9",
            "x: .nan",
        )
        lines.insert(rng.randrange(len(lines) + 1), rng.choice(odd))
        text = "\n".join(lines)
    return text


def _json(rng: random.Random, values: Any) -> str:
    text = json.dumps(vary(rng, values) if rng.random() < 0.9 else values, ensure_ascii=rng.random() < 0.5)
    if rng.random() < 0.05:
        text = rng.choice(
            (
                text + text,
                "[" * 100_000,
                '{"a":' * 3000,
                text.replace(",", ",,"),
                "9" * 5000,
                "\ufeff" + text,
                '"\\ud800"',
                text[:-1],
            )
        )
    return text


@functools.cache
def _catalog() -> Any:
    from medssl.catalog import load_catalog

    return load_catalog()


# ------------------------------------------------------------------------------------------- plans, recipes, catalogue

_PLAN = {
    "methods": ["dcl", {"plugin": "simclr", "temperature": 0.2}],
    "datasets": ["phantom"],
    "encoders": [{"plugin": "timm", "backbone": "test_resnet"}],
    "evaluators": ["knn", "linear"],
    "baselines": ["random"],
    "on_encoders": ["dcl"],
    "batch_sizes": [16, 32],
    "label_fractions": [0.5, 1],
    "seeds": 2,
    "recipe": "small",
    "settings": {"train": {"epochs": 2}, "views": {"image_size": 32}, "split": {"folds": 3}},
}
_RECIPE = {
    "method": {"plugin": "dcl", "temperature": 0.1},
    "dataset": {"plugin": "folder", "path_pattern": None},
    "encoder": {"plugin": "timm", "backbone": "test_resnet"},
    "evaluators": [{"plugin": "knn"}, {"plugin": "linear"}],
    "readers": {"dicom": {"window": "lung", "frames": "::2"}},
    "train": {"epochs": 2, "batch_size": 16, "learning_rate": 0.1},
    "views": {"image_size": 32, "augmentation": "natural", "crop_scale": [0.2, 1.0]},
    "split": {"seed": 1, "fractions": [0.6, 0.2, 0.2], "protocol": "grouped"},
    "evaluate": {"bootstrap": 100},
    "external": {"leiden": {"path": "x"}},
    "seed": 1,
    "precision": "float32",
}


def _plan(rng: random.Random, folder: Path) -> None:
    from medssl.study.grid import expand
    from medssl.study.plan import read_plan

    path = _write(rng, folder / "plan.yaml", _yaml(rng, {k: v for k, v in _PLAN.items() if rng.random() < 0.7}))
    with watched():
        plan = read_plan(path, _catalog())
        if plan.seeds < 50:
            expand(plan, [], _catalog(), folder)


def _recipe(rng: random.Random, folder: Path) -> None:
    from medssl.cli.options import _recipe_layer
    from medssl.recipe import resolve

    path = _write(rng, folder / "recipe.yaml", _yaml(rng, {k: v for k, v in _RECIPE.items() if rng.random() < 0.7}))
    base = {"method": "dcl", "dataset": "phantom"} if rng.random() < 0.5 else {}
    with watched():
        recipe = resolve(_catalog(), [base, *_recipe_layer(str(path))])
        assert recipe.slug


def _setting(rng: random.Random, folder: Path) -> None:
    from medssl.cli.options import _setting_layer
    from medssl.recipe import resolve

    keys = (
        "method.temperature",
        "train.epochs",
        "views.image_size",
        "split.fractions",
        "encoder.backbone",
        "seed",
        "x",
        "a..b",
        "",
        "readers.dicom.window",
        "evaluators.knn.k",
        "dataset",
        "method",
        "external.a.path",
        "train",
    )
    value = rng.choice(
        (
            str(rng.choice(ODD[:-2])(rng))[:5000],
            "[" * 100,
            "{a: 1}",
            "&a [*a]",
            rng.choice(WORDS),
            "[1, 2]",
            "!!python/name:os.system",
        )
    )
    with watched():
        layer = _setting_layer(f"{rng.choice(keys)}{rng.choice(('=', '=', '=', ''))}{value}")
        resolve(_catalog(), [{"method": "dcl", "dataset": "phantom"}, layer])


@functools.cache
def _registry() -> dict[str, Any]:
    from medssl.catalog.reading import _shipped

    values = yaml.safe_load(_shipped().read_text(encoding="utf-8"))
    return {name: dict(list(v.items())[:4]) if isinstance(v, dict) else v[:3] for name, v in values.items()}


def _catalogue(rng: random.Random, folder: Path) -> None:
    from medssl.catalog import load_catalog
    from medssl.recipe import resolve
    from medssl.study.plan import read_plan

    shipped = _registry()
    own = {name: shipped[name] for name in shipped if rng.random() < 0.5}
    path = _write(rng, folder / "registry.yaml", _yaml(rng, own))
    with watched():
        catalog = load_catalog(path)
        recipe = rng.choice(sorted(catalog.content["recipes"]))
        resolve(catalog, [{"method": "dcl", "dataset": "phantom", "recipe": recipe}])
        for name in catalog.augmentation_names():
            catalog.augmentation(name)
        for name in catalog.plan_names():
            read_plan(name, catalog)


# -------------------------------------------------------------------------------------------------------------- results


def _copied(rng: random.Random, folder: Path, *names: str) -> Path:
    run = folder / "run"
    run.mkdir()
    for name in names:
        shutil.copy(example_run() / name, run / name)
    return run


@functools.cache
def _result_values() -> Any:
    return json.loads((example_run() / "result.json").read_text())


def _result(rng: random.Random, folder: Path) -> None:
    from medssl.results.directory import load_run

    run = folder / "run"
    run.mkdir()
    _write(rng, run / "result.json", _json(rng, _result_values()))
    with watched():
        result = load_run(run)
        result._repr_html_()
        assert result.folder != ""


def _report(rng: random.Random, folder: Path) -> None:
    from medssl.report.missing import find_runs
    from medssl.study.results.summary import summarise

    run = _copied(rng, folder, "splits.json", "predictions.npz")
    _write(rng, run / "result.json", _json(rng, _result_values()))
    study = {"cells": [{"directory": "x", "dataset": "d", "state": "failed", "message": "m"}]}
    _write(rng, folder / "study.json", _json(rng, study))
    with watched():
        results, _ = find_runs([folder])
        summarise(results, _catalog())


def _split(rng: random.Random, folder: Path) -> None:
    from medssl.data.split.splits import load_split
    from medssl.results.arrays import read_split

    path = _write(rng, folder / "splits.json", _json(rng, json.loads((example_run() / "splits.json").read_text())))
    with watched():
        read_split(path)
        load_split(path)


_EPOCH = {
    "epoch": 0,
    "loss": 1.5,
    "learning_rate": 0.1,
    "images": 64,
    "seconds": 1.0,
    "images_per_second": 64.0,
    "feature_std": 0.9,
    "effective_rank": 3.0,
    "validation": {"accuracy": 0.5},
}


def _history(rng: random.Random, folder: Path) -> None:
    from medssl.results.arrays import read_epochs
    from medssl.results.directory import RunDirectory, read_history

    lines = "\n".join(_json(rng, {**_EPOCH, "epoch": i}) for i in range(3))
    _write(rng, folder / "history.jsonl", lines)
    with watched():
        read_history(RunDirectory(folder))
        read_epochs(folder / "history.jsonl")


def _desk(rng: random.Random, folder: Path) -> None:
    from medssl.data.audit.duplicates import _read
    from medssl.io.identities import revealed
    from medssl.results.privacy import read_desk, restored

    _write(rng, folder / "desk.json", _json(rng, {"directory": "/x", "names": {"path-0123456789": "/x/y"}}))
    cached = {"stamp": [1.0], "equal": [[0, 1]], "near": [[0, 1, 0.5, 3]]}
    _write(rng, folder / "duplicates.json", _json(rng, cached))
    with watched():
        desk = read_desk(folder / "desk.json")
        restored({"a": ["path-0123456789", "b"]}, desk)
        _read(folder / "duplicates.json", [1.0])
        revealed("path-0123456789")


# --------------------------------------------------------------------------------------------------------------- tables


def _table_text(rng: random.Random) -> bytes:
    header = ["path", "label", "group", "site", "part", "age"]
    rows = [header] + [[f"{'ab'[i % 2]}/{i}.png", "ab"[i % 2], f"p{i // 2}", "s", "", str(30 + i)] for i in range(8)]
    for _ in range(rng.choice((0, 1, 1, 3))):
        row = rng.choice(rows)
        row[rng.randrange(len(row))] = str(
            rng.choice(
                (
                    *WORDS,
                    "nan",
                    "1e999",
                    "a|b",
                    '"',
                    "x" * 200_000,
                    "../a/0.png",
                    "/etc/passwd",
                    "a\nb",
                    "path",
                    "1.0",
                    "-1",
                )
            )
        )
    if rng.random() < 0.2:
        rng.choice(rows).append("more")
    if rng.random() < 0.2:
        rng.choice(rows).pop()
    buffer = io.StringIO()
    csv.writer(
        buffer,
        delimiter=rng.choice(",,;\t|"),
        quoting=rng.choice((0, 1, 2)),
        lineterminator=rng.choice(("\n", "\r\n", "\r")),
    ).writerows(rows)
    return buffer.getvalue().encode(
        rng.choice(("utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1")), "replace"
    )


@functools.cache
def _workbook() -> bytes:
    import openpyxl

    book = openpyxl.Workbook()
    for row in (["path", "label"], ["a/0.png", "a"], ["b/1.png", "b"]):
        book.active.append(row)
    buffer = io.BytesIO()
    book.save(buffer)
    return buffer.getvalue()


@functools.cache
def _parquet() -> bytes:
    import pyarrow
    import pyarrow.parquet

    buffer = io.BytesIO()
    pyarrow.parquet.write_table(
        pyarrow.table({"path": ["a/0.png", "b/1.png"], "label": ["a", "b"], "x": [1.5, None]}), buffer
    )
    return buffer.getvalue()


def _images(folder: Path) -> None:
    for i in range(8):
        path = folder / "ab"[i % 2] / f"{i}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("L", (8, 8), i * 30).save(path)


def _table(rng: random.Random, folder: Path) -> None:
    from medssl.recipe import options
    from medssl_datasets.csv import Csv

    _images(folder)
    suffix, content = ".csv", b""
    way = rng.random()
    if way < 0.2:
        try:
            suffix, content = rng.choice(((".xlsx", _workbook), (".parquet", _parquet)))
            content = damage(rng, content())
        except ImportError:  # an extra
            suffix, content = ".csv", b""
    content = content or _table_text(rng)
    path = _write(rng, folder / f"table{suffix}", content)
    own = rng.choice(
        (
            {},
            {"group_column": "group"},
            {"target": "quantity", "label_column": "age"},
            {"target": "findings"},
            {"part_column": "part"},
            {"where": ["age >= 32"]},
            {"path_prefix": "../x"},
            {"label_column": "none"},
        )
    )
    with watched():
        Csv.understand(folder, {})
        config = options.build(Csv.Config, {"file": str(path.name), **own}, "dataset")
        Csv(config, folder, {}).index()


def _other_tables(rng: random.Random, folder: Path) -> None:
    from medssl.contracts import Listing, Sample
    from medssl.contracts.targets import Classes
    from medssl.data.group_table import with_groups
    from medssl.export.tables import read_paths
    from medssl_datasets.shared.choosing import parts_of_lists

    _images(folder)
    path = _write(rng, folder / f"train_list{rng.choice(('.csv', '.tsv', '.csv'))}", _table_text(rng))
    names = [f"{'ab'[i % 2]}/{i}.png" for i in range(8)]
    way = rng.randrange(3)
    with watched():
        if way == 0:
            samples = [Sample(id=name, y=0) for name in names]
            listing = Listing(samples=samples, target=Classes(("a", "b")), default_split="random", split_reason="r")
            with_groups(listing, path, folder)
        elif way == 1:
            read_paths([path], {}, rng.choice((None, "path", "x")), rng.choice((None, "group")))
        else:
            parts_of_lists([path], folder, names)


# --------------------------------------------------------------------------------------------------- settings of a hub

_TIMM = {
    "architecture": "test_vit",
    "num_classes": 3,
    "global_pool": "avg",
    "model_args": {"img_size": 64, "act_layer": "GELU"},
    "pretrained_cfg": {
        "input_size": [3, 64, 64],
        "fixed_input_size": True,
        "mean": [0.1, 0.2, 0.3],
        "std": [0.4, 0.5, 0.6],
        "interpolation": "bicubic",
        "license": "mit",
    },
}
_CLIP = {
    "model_cfg": {
        "embed_dim": 8,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 16, "patch_size": 16, "head_width": 8},
    },
    "preprocess_cfg": {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "interpolation": "bicubic"},
}
_MODEL = {
    "model_type": "dinov2",
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
    "mlp_ratio": 2,
    "vision_config": None,
}
_PROCESSOR = {
    "image_mean": [0.1, 0.2, 0.3],
    "image_std": [0.4, 0.5, 0.6],
    "resample": 3,
    "size": {"shortest_edge": 28},
    "crop_size": {"height": 28, "width": 28},
}


def _hub(rng: random.Random, folder: Path) -> None:
    from medssl.train.encoder.building import build_encoder
    from medssl_encoders import _hub as hub
    from medssl_encoders.hub import Hub
    from medssl_encoders.open_clip import OpenClip
    from medssl_encoders.transformers import Transformers

    kind, files = rng.choice(
        (
            (Hub, {"config.json": _TIMM}),
            (OpenClip, {"open_clip_config.json": _CLIP}),
            (Transformers, {"config.json": _MODEL, "preprocessor_config.json": _PROCESSOR}),
        )
    )
    changed = rng.choice(list(files))
    for name, values in files.items():
        text = json.dumps(values)
        _write(rng, folder / name, _json(rng, values)) if name == changed else (folder / name).write_text(text)

    def fetch(_repository: str, names: Any, *_: Any, **__: Any) -> Path:
        return folder / names[0]

    source = kind.of(repository="lab/tiny", weights=None)
    with mock.patch.object(hub, "fetch", fetch), watched(folder):
        card = source.card
        if rng.random() < 0.5:
            build_encoder(source, min(card.image_size or 32, 64), 0)


_WAYS: tuple[Callable[[random.Random, Path], None], ...] = (
    *(_plan, _recipe, _recipe, _setting, _catalogue),
    *(_result, _report, _split, _history, _desk),
    *(_table, _table, _table, _table, _other_tables, _other_tables, _setting, _history, _desk),
    _hub,
)
