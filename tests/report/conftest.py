"""Runs made up of real ids, a real split and invented features, so that a report has something of everything."""

import copy
import hashlib
import json
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from medssl.catalog import load_catalog
from medssl.data.split.splits import make_split
from medssl.evaluation.metrics import metric_facts
from medssl.evaluation.pooling import PoolingChoice, score_groups
from medssl.evaluation.scoring import score
from medssl.recipe import resolve
from medssl.results.directory import SCHEMA, RunDirectory
from medssl.results.pictures import Card, FeatureMap, Neighbours, Pictures, write_pictures

METHOD = "mae"  # a method whose module is quick to import


@lru_cache
def base(patients=4, images=3):
    """A recipe, its dataset's samples and its split."""
    dataset = {"plugin": "phantom", "patients_per_class": patients, "images_per_patient": images, "size": 32}
    layer = {"method": METHOD, "dataset": dataset, "evaluators": ["knn", "linear"], "views": {"image_size": 32}}
    small = {"evaluate": {"bootstrap": 50}, "train": {"batch_size": 4}, "encoder": {"backbone": "vit_tiny_patch16_224"}}
    recipe = resolve(load_catalog(), [layer, small])
    plugin = recipe.dataset.plugin(recipe.dataset.config, Path(), {})
    listing = plugin.index()
    split = make_split(listing, recipe.split, "grouped")
    return recipe, plugin, {sample.id: sample for sample in listing.samples}, split


def made_run(
    folder,
    *,
    method=METHOD,
    seed=0,
    batch_size=4,
    accuracy=0.7,
    fraction=1.0,
    epochs=4,
    patients=4,
    images=3,
    warnings=(),
    collapsed=None,
    directory=None,
    protocol=None,
    total=None,
    unit=None,
):
    """Write a run directory and return its result; with a ``unit``, there are scores of patients too."""
    recipe, plugin, samples, split = base(patients, images)
    values = copy.deepcopy(recipe.to_dict())
    if method != METHOD:
        values["method"] = {"plugin": method}
    values["seed"] = seed
    values["train"]["batch_size"], values["train"]["epochs"] = batch_size, max(1, epochs)
    values["evaluate"] |= {"unit": unit} if unit else {}
    values["split"]["label_fraction"], values["split"]["protocol"] = fraction, protocol
    digest = hashlib.sha256(json.dumps([values, accuracy, total]).encode()).hexdigest()[:10]
    place = RunDirectory(Path(folder) / f"phantom-{method}-{digest}")
    place.claim(values)
    split.save(place.splits)
    generator = np.random.default_rng([seed, batch_size, *map(ord, method)])
    features = made_features(samples, split, accuracy, generator)
    np.savez(place.features, **features)
    ids, label = features["test_id"], features["test_y"]
    names = list(plugin.index().target.names)
    proba = {name: made_predictions(label, len(names), accuracy, generator) for name in ("knn", "linear")}
    np.savez(place.predictions, id=ids, y=label, **proba)
    write_pictures(place.pictures, made_pictures(features, proba, names, generator))
    write_history(place, epochs, generator)
    target = plugin.index().target
    groups = np.array([samples[name].group for name in ids])
    evaluations = {
        name: {
            **score(target, label, rows, groups, recipe.evaluate, seed),
            "selected": {},
            "notes": [],
        }
        for name, rows in proba.items()
    }
    for name, rows in proba.items() if unit else ():
        choice = PoolingChoice("mean", "setting")
        evaluations[name]["per_group"] = score_groups(target, label, rows, groups, choice, recipe.evaluate, seed)
    origin = {"name": method, "distribution": "medssl", "version": "0.1.0"}
    return place.finish(
        {
            "schema": SCHEMA,
            "method": method,
            "dataset": "phantom",
            "seed": seed,
            "recipe": {**values, "hash": digest},
            "plugins": {"method": origin, "dataset": origin, "evaluators": [origin]},
            "environment": {"python": "3.11", "device": "cpu", "gpu": []},
            "data": {
                "directory": str(directory or folder),
                "images": total or len(samples),
                "train": len(split.train),
                "val": len(split.val),
                "test": len(split.test),
                "target": target.to_dict(),
                "groups": dict(split.group_count),
                "group_kind": "patient",
                "split": protocol or "grouped",
                "split_reason": "why",
                "split_sha256": split.sha256,
                "store": {"key": str(total)},
                "warnings": list(warnings),
            },
            "pretrain": {"epochs": epochs, "steps": 8, "seconds": 3.0, "images_per_second": 9.0, "final_loss": 1.0},
            "metrics": metric_facts(target),
            "evaluations": evaluations,
            "diagnostics": {"features": {"effective_rank": 9.5, "feature_std": 0.7, "collapsed": collapsed}},
            "seconds": 75.0,
        }
    )


def made_features(samples, split, accuracy, generator):
    arrays = {}
    centres = np.random.default_rng(0).normal(size=(4, 8)) * 3 * accuracy
    for part in ("train", "val", "test"):
        ids = getattr(split, part)
        label = np.array([samples[name].y for name in ids])
        arrays |= {f"{part}_id": np.array(ids), f"{part}_y": label}
        arrays[f"{part}_x"] = (centres[label] + generator.normal(size=(len(ids), 8))).astype(np.float32)
    return arrays


JPEG = b"\xff\xd8\xff a picture"


def made_pictures(features, proba, classes, generator):
    """A picture of everything, and a map on which classes lie apart."""
    ids, label = features["test_id"].tolist(), features["test_y"]
    cards = [Card(id=name, label=classes[own]) for name, own in zip(ids, label, strict=True)]
    training = [Card(id=name, label=classes[0]) for name in features["train_id"].tolist()[:2]]
    near = Neighbours(query=cards[0], found=tuple(replace(card, right=True, note="cosine 0.90") for card in training))
    xy = generator.normal(size=(len(ids), 2)) + label[:, None]
    return Pictures(
        plain={card.id: JPEG for card in (*cards, *training)},
        samples=tuple(training),
        views=((JPEG, JPEG), (JPEG, JPEG)),
        augmentation="crop_scale 0.2 to 1",
        neighbours=(near,),
        mistakes={name: (replace(cards[1], note=f"wrong by {name}", right=False),) for name in proba},
        sheet=JPEG,
        side=64,
        columns=25,
        map=FeatureMap(how="t-SNE", ids=tuple(ids), label=tuple(label.tolist()), xy=xy, of=len(ids)),
    )


def made_predictions(label, classes, accuracy, generator):
    """Probabilities whose largest is right about as often as wanted."""
    proba = generator.dirichlet(np.ones(classes), len(label))
    wanted = np.where(generator.random(len(label)) < accuracy, label, (label + 1) % classes)
    rows, best = np.arange(len(label)), proba.argmax(1)
    proba[rows, best], proba[rows, wanted] = proba[rows, wanted], proba[rows, best].copy()
    return proba


def write_history(place, epochs, generator):
    lines = []
    for epoch in range(epochs):
        validation = {"val_knn": 0.5 + 0.3 * epoch / epochs} if epoch % 2 else {}
        rank = 4 + epoch + generator.random()
        lines.append({"epoch": epoch, "loss": 5 / (epoch + 1), "effective_rank": rank, "validation": validation})
    if lines:
        place.history.write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture(scope="session")
def make_run_in():
    """Write one run below a folder."""
    return made_run


@pytest.fixture
def make_run(tmp_path):
    """Write one run below ``runs`` of the test's folder."""

    def make(**options):
        return made_run(tmp_path / "runs", **options)

    return make
