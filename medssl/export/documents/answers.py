"""What the record of a run says about a study, in sentences, each with the fields that it comes from.

The model card and the checklists are made of these. A sentence exists only if the record has its fields. Nothing here
names a folder of the user's machine or a group.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from medssl.errors import counted
from medssl.export.documents.record import Record, Stated
from medssl.export.documents.results import RESULTS

__all__ = ["ANSWERS", "answers_of"]


def answers_of(record: Record, names: Sequence[str]) -> list[Stated]:
    """Return the statements of these answers, without those that the record does not have."""
    return [statement for name in names for statement in ANSWERS[name](record)]


def _approach(record: Record) -> list[Stated]:
    r, (backbone, field) = record.run, record.network
    epochs = r.training.epochs
    how = (
        f"An encoder ({backbone}) was pre-trained {'with' if r.training.uses_labels else 'without'} labels by the "
        f"method '{r.method}' for {epochs} epoch{'s' if epochs > 1 else ''}."
        if epochs
        else f"An encoder ({backbone}) was used without further pre-training (method '{r.method}')."
    )
    plugins = ", ".join(f"'{each['name']}'" for each in record.value("plugins.evaluators"))
    text = f"{how} Deep learning; predictions come from the evaluators {plugins} that were fitted with labels."
    return [Stated(text, ("method", field, "pretrain.epochs", "plugins.evaluators"))]


def _task(record: Record) -> list[Stated]:
    target, names = record.run.data.target, ", ".join(record.run.data.target.output_names)
    words = {
        "classes": f"One of {target.outputs} classes is predicted for each image: {names}.",
        "grades": f"One of {target.outputs} ordered grades is predicted for each image: {names}.",
        "findings": f"{target.outputs} findings are predicted for each image, each present or absent: {names}.",
        "quantity": f"A number is predicted for each image, in {names}.",
    }
    return [Stated(words[target.kind], ("data.target",))]


def _source(record: Record) -> list[Stated]:
    facts, data = record.facts, record.run.data
    text = f"The dataset '{record.run.dataset_title}' with {data.images} images."
    if summary := facts.get("summary"):
        text += f" {str(summary).rstrip('.')}."
    return [Stated(text, ("dataset", "data.images"))]


def _counts(record: Record) -> list[Stated]:
    data = record.run.data
    kind = data.group_kind or "group"
    parts = []
    for name, words in (("train", "training"), ("val", "validation"), ("test", "test")):
        groups = f" of {counted(data.groups[name], kind)}" if data.groups else ""
        parts.append(f"{getattr(data, name)} {words} images{groups}")
    unused = f" {data.unused} images were not used." if data.unused else ""
    fields = ("data.train", "data.val", "data.test", "data.unused", *(["data.groups"] if data.groups else []))
    return [Stated(f"{', '.join(parts)}.{unused}", fields)]


def _labels(record: Record) -> list[Stated]:
    labels = record.run.data.labels
    if labels is None:
        return []
    text = f"{labels.train} training and {labels.val} validation labels were used"
    share = "." if labels.fraction == 1 else f", a fraction of {labels.fraction:g}, drawn with seed {labels.seed}."
    return [Stated(text + share, ("data.labels",))]


def _preprocessing(record: Record) -> list[Stated]:
    views, store, expected = record.value("recipe.views"), record.value("data.store"), record.value("encoder")
    side = views["image_size"]
    kind = {1: "grey", 3: "colour"}.get(store.get("channels", 0))
    told = f" They are {kind} images of {store['bits']} bits per channel." if kind else ""
    text = (
        f"Images are resized so that their short side has {side} pixels, cut to the central {side} x {side} pixels, "
        f"and normalised (mean {expected['mean']}, standard deviation {expected['std']}).{told}"
    )
    if record.run.training.epochs:
        text += f" In training they are augmented with the recipe '{views['augmentation']}'."
    return [Stated(text, ("recipe.views", "recipe.augmentation", "data.store", "encoder"))]


def _split(record: Record) -> list[Stated]:
    data = record.run.data
    text = f"Protocol '{data.split}' with seed {record.value('recipe.split.seed')}: {data.split_reason}."
    return [Stated(text, ("data.split", "data.split_reason", "recipe.split", "data.split_sha256"))]


def _disjoint(record: Record) -> list[Stated]:
    data, found = record.run.data, []
    if data.shared_groups is not None:
        kind = data.group_kind or "group"
        shared = data.shared_groups.get("test", 0)
        text = (
            f"No {kind} of the test part has training images."
            if not shared
            else f"{shared} test images belong to a {kind} that also has training images: this is a leak."
        )
        found.append(Stated(text, ("data.shared_groups", "data.group_kind")))
    else:
        found.append(Stated("Groups (patients) are not known, so the parts may share some.", ("data.groups",)))
    if seen := data.seen_before.get("test"):
        text = f"{seen.either} of {seen.images} test images have a duplicate or near-duplicate in an earlier part."
        found.append(Stated(text, ("data.seen_before.test",)))
    return found


def _model(record: Record) -> list[Stated]:
    side, width = record.value("recipe.views.image_size"), record.get("diagnostics.features.feature_dim")
    backbone, field = record.network
    chosen = {key: value for key, value in record.value(f"{record.scores}.selected").items() if key != "tried"}
    settings = ", ".join(f"{key} {_number(v)}" for key, v in chosen.items() if not key.startswith("val_"))
    text = (
        f"Input: {side} x {side} pixels, three channels. Encoder: {backbone} without classifier"
        f"{f', {width} features' if width else ''}. Head: '{record.evaluator}'{f' ({settings})' if settings else ''}. "
        f"Output: {', '.join(record.run.data.target.output_names)}."
    )
    return [
        Stated(text, (field, "recipe.encoder", "recipe.views.image_size", f"{record.scores}.selected", "data.target"))
    ]


def _software(record: Record) -> list[Stated]:
    environment = record.value("environment")
    names = ("python", "torch", "torchvision", "timm", "lightly", "numpy", "scikit-learn")
    listed = [f"{name} {environment[name]}" for name in names if environment.get(name)]
    medssl = next((p["version"] for p in record.value("plugins.evaluators") if p["distribution"] == "medssl"), None)
    text = f"{', '.join([*([f'medssl {medssl}'] if medssl else []), *listed])}, on {environment['device']} in "
    return [Stated(f"{text}{environment['precision']}.", ("environment", "plugins"))]


def _initial(record: Record) -> list[Stated]:
    init = record.run.training.init
    if init is None:
        return [Stated(f"Random weights with seed {record.run.seed}.", ("pretrain.init", "seed"))]
    name = init.source.replace("\\", "/").rpartition("/")[2]
    return [Stated(f"Weights from {name} (sha256 {init.sha256[:16]}...).", ("pretrain.init",))]


def _training(record: Record) -> list[Stated]:
    train, pretrain = record.value("recipe.train"), record.run.training
    if not pretrain.epochs:
        return [Stated("The encoder was not trained in this run.", ("pretrain.epochs",))]
    text = (
        f"{pretrain.epochs} epoch{'s' if pretrain.epochs > 1 else ''} ({pretrain.steps} steps) with batches of "
        f"{train['batch_size']}, optimizer "
        f"{train['optimizer']}, schedule {train['schedule']}, weight decay {train['weight_decay']:g}; options of the "
        "method and of the augmentation are in the recipe."
    )
    return [Stated(text, ("recipe.train", "recipe.method", "recipe.augmentation", "pretrain"))]


def _selection(record: Record) -> list[Stated]:
    selected = record.value(f"{record.scores}.selected")
    by = str(selected.get("chosen_by", "")).replace("_", " ")
    tried = f" among {len(selected['tried'])} values" if "tried" in selected else ""
    text = f"Settings of the head were chosen by {by} on the validation part{tried}. " if by else ""
    text += "No setting was chosen on the test part."
    fields = (f"{record.scores}.selected", "recipe.train.keep")
    compared = record.get("recipe.evaluate.compared") or 1
    if compared == 1:
        return [Stated(text, fields)]
    search = f"Before this run, a search compared {compared} settings on the validation part."
    return [Stated(text, fields), Stated(search, ("recipe.evaluate.compared",))]


def _ensemble(record: Record) -> list[Stated]:
    return [Stated("No ensemble: one encoder with one head.", (record.scores,))]


def _limits(record: Record) -> list[Stated]:
    found = [Stated(f"{text.rstrip('.')}.", ("data.warnings",)) for text in _shared_warnings(record)]
    found += [Stated(note, (f"{record.scores}.notes",)) for note in record.value(f"{record.scores}.notes")]
    return found


def _shared_warnings(record: Record) -> list[str]:
    """Return the warnings without examples, because an example may be the name of a file or a patient."""
    kept = [text.partition(": '")[0] for text in record.run.warnings]
    where = str(record.run.data.directory)
    return [text.replace(where, "the folder of the images") for text in kept]


def _availability(record: Record) -> list[Stated]:
    text = (
        f"All settings are in recipe.yaml (key {record.value('recipe.hash')}), the encoder is in encoder.safetensors "
        "and the fitted heads are in heads.safetensors. medssl itself is open source."
    )
    return [Stated(text, ("recipe", "recipe.hash"))]


def _licence(record: Record) -> list[Stated]:
    licence = record.facts.get("licence")
    return [Stated(f"Licence of the dataset: {licence}.", ("dataset",))] if licence else []


def _base_licence(record: Record) -> list[Stated]:
    """Say under which licence the first weights are, and what it rules out."""
    init = record.run.training.init
    if init is None:
        text = "The encoder started from random weights, so no licence of other weights applies."
        return [Stated(text, ("pretrain.init",))]
    licence, forbids = record.get("encoder.licence"), record.get("encoder.forbids") or ()
    rules = f"; it forbids {', '.join(forbids)}" if forbids else ""
    text = f"Licence of the first weights: {licence or 'not recorded'}{rules}."
    return [Stated(text, ("pretrain.init", "encoder.licence") if licence else ("pretrain.init",))]


def _number(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


ANSWERS: Mapping[str, Callable[[Record], list[Stated]]] = {
    **RESULTS,
    "approach": _approach,
    "availability": _availability,
    "base_licence": _base_licence,
    "counts": _counts,
    "disjoint": _disjoint,
    "ensemble": _ensemble,
    "initial": _initial,
    "labels": _labels,
    "licence": _licence,
    "limits": _limits,
    "model": _model,
    "preprocessing": _preprocessing,
    "selection": _selection,
    "software": _software,
    "source": _source,
    "split": _split,
    "task": _task,
    "training": _training,
}
"""The statements by name, as the lists of items name them."""
