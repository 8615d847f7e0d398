"""A finished run as a model: its encoder with its fitted heads, for new images.

n images, F features, O outputs of the target, S side length of an image in pixels.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medssl.catalog import load_catalog
from medssl.contracts import Predictor, RestoreContext, Sample, Target
from medssl.contracts.kinds import EVALUATOR
from medssl.data.listing import index
from medssl.data.store.store import Store
from medssl.data.views import PlainViews
from medssl.discovery import load_plugin
from medssl.errors import CheckpointError, DataError, MedsslError, OptionError, did_you_mean
from medssl.evaluation.features import extract
from medssl.export.decisions import Decision
from medssl.export.embedding import TrainedEncoder, load_encoder, open_views
from medssl.export.images import ImagesLike, as_dataset
from medssl.export.likeness import Likeness
from medssl.export.predicted import NewPredictions
from medssl.io.files import checksum
from medssl.results.directory import RunDirectory, RunResult, load_run
from medssl.results.heads import Heads, read_heads
from medssl.train.encoder.building import Encoder
from medssl.train.machine.device import choose_layout
from medssl.train.machine.machine import Machine
from medssl.train.machine.memory import kept_memory

__all__ = ["TrainedModel", "load_model", "true_text", "validation_loss"]

_BATCH = 256  # images per call of a predictor of images, as in a run
_CLOSE = 1e-4  # difference between predictions of one head that rounding on another machine can explain


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """The encoder and the fitted heads of a run.

    Attributes:
        run: The result of the run.
        encoder: Its encoder with preprocessing.
        heads: Its fitted heads.
        likeness: Its training images as a reference.
    """

    run: RunResult
    encoder: TrainedEncoder
    heads: Heads
    likeness: Likeness

    @property
    def evaluators(self) -> tuple[str, ...]:
        """Names of the predictors that can be used."""
        return tuple(self.heads.by_name)

    def choose_evaluator(self, name: str | None = None) -> str:
        """Return the name of a predictor.

        Args:
            name: ``None``: the one with the lowest log loss (for a quantity, squared error) on the validation part;
                the first if none has one.

        Raises:
            OptionError: The run has no such predictor, or it was not kept.
        """
        if name is None:
            if not self.heads.by_name:
                raise CheckpointError(f"{self.run.path} has no usable head: {self._why_not()} Run it with others.")
            return min(self.evaluators, key=partial(validation_loss, self.run))
        if name in self.heads.by_name:
            return name
        if name in self.heads.left_out:
            raise OptionError(f"'{name}' cannot predict new images: {self.heads.left_out[name]}. {self._usable()}")
        raise OptionError(f"the run has no predictor '{name}'.{did_you_mean(name, self.evaluators)} {self._usable()}")

    @kept_memory()
    def predict(
        self,
        images: ImagesLike,
        *,
        evaluator: str | None = None,
        groups: Sequence[str | None] | Callable[[str], str | None] | None = None,
        neighbours: int = 3,
        data_dir: Path | str | None = None,
        catalog: Path | None = None,
        device: str = "auto",
        precision: str | None = None,
        on_bad_image: Literal["fail", "skip"] = "fail",
        allow_other: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> NewPredictions:
        """Predict new images.

        For the images of the test part, in the order of ``predictions.npz``, the predictions equal those of the run on
        the same machine bit for bit. In another order or number they differ by rounding.

        Args:
            images: As for :func:`medssl.embed`.
            evaluator: Name of a predictor of the run; ``None``: see :meth:`choose_evaluator`.
            groups: The group (patient) of each image, or a function of its path; ``None``: as the dataset says.
            neighbours: Number of nearest training images to name.
            data_dir: Where a named dataset lies, as for :func:`medssl.embed`.
            catalog: A catalogue file of the user's own, merged over medssl's.
            device: ``auto``, ``cpu``, ``cuda``, ``mps``.
            precision: ``auto``, ``float32``, ``bfloat16`` or ``float16``; ``None``: as in the run's recipe.
            on_bad_image: ``fail``: an image that cannot be read is an error; ``skip``: it is left out.
            allow_other: Also predict images with other channels or another depth than the training images.
            progress: Called with the number of images read and n.

        Raises:
            DataError: There is no image, one cannot be read, or they have other channels or another depth than the
                training images.
            OptionError: The run has no such predictor.
            CheckpointError: The head cannot be restored.
        """
        name = self.choose_evaluator(evaluator)
        machine = Machine.choose(device, precision or str(self.run.recipe["precision"]))
        known = load_catalog(catalog)
        readers = self.encoder.readers(known)  # with the options of the run: the same window of DICOM files
        dataset = as_dataset(images, known, None if data_dir is None else Path(data_dir), readers)
        samples = list(index(dataset).samples)
        if not samples:
            raise DataError("no image was given, so there is nothing to predict. Give image files or folders.")
        choose_layout(machine.device).apply(self.encoder, machine.device)
        predictor = self._restore(name, machine)
        with TemporaryDirectory(prefix="medssl-") as cache:
            store, views = open_views(
                self.encoder,
                dataset,
                samples,
                machine,
                cache=Path(cache),
                on_bad_image=on_bad_image,
                progress=progress,
            )
            if not allow_other:
                _require_same_kind(self.run, store)
            x = extract(self.encoder, views, len(store), precision=machine.precision)
            of_images = self.heads.by_name[name].needs == "images"
            values = _predict_images(predictor, views, len(store)) if of_images else predictor.predict(x)
        by_id = {sample.id: sample for sample in samples}
        given = [by_id[each] for each in store.ids]
        whose = _groups(given, groups)
        found = x.numpy(), values.numpy(), None if of_images else _of_groups(predictor, x, whose)
        return self._described(name, given, store, found, whose, neighbours)

    def _described(
        self,
        name: str,
        samples: Sequence[Sample],
        store: Store,
        found: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32] | None],
        groups: Sequence[str | None],
        neighbours: int,
    ) -> NewPredictions:
        (x, values, own), target, like = found, self.run.data.target, self.likeness
        scores = self.run.evaluations[name]
        of_groups = scores.get("per_group", {})
        distance = like.distances(x)
        near = like.nearest(x, min(max(0, neighbours), len(like.ids)))
        truth = self.run.features()["train"].y
        return NewPredictions(
            target=target,
            evaluator=name,
            images=tuple(_shown(sample.id) for sample in samples),
            groups=tuple(groups),
            values=values,
            decision=Decision.of(target, scores),
            group_decision=Decision.of(target, of_groups if "operating_points" in of_groups else scores),
            pooling=of_groups.get("pooling", {}).get("name", "mean"),
            of_groups=own,
            distances=distance,
            shares_beyond=like.shares_beyond(distance),
            threshold=like.threshold,
            nearest=np.array(like.ids, dtype=str)[near],
            nearest_values=np.array([true_text(target, y) for y in truth], dtype=str)[near],
            left_out=tuple(map(str, store.skipped)),
        )

    def restored(self, name: str) -> Predictor:
        """Return the predictor of this name, on the CPU, in float32.

        Raises:
            CheckpointError: It cannot be restored.
        """
        self.encoder.to("cpu")
        return self._restore(name, Machine.choose("cpu", "float32"))

    def _restore(self, name: str, machine: Machine) -> Predictor:
        head = self.heads.by_name[name]
        _, plugin = load_plugin(EVALUATOR.name, head.evaluator)
        encoder = Encoder(
            copy.deepcopy(self.encoder.network),
            backbone_name=self.encoder.header["backbone"],
            image_size=self.encoder.image_size,
            feature_dim=self.encoder.feature_dim,
            in_channels=self.encoder.in_channels,
            source=self.encoder.source,
        )
        context = RestoreContext(
            target=self.run.data.target,
            encoder=encoder.eval(),
            feature_dim=self.encoder.feature_dim,
            autocast=machine.precision.autocast,
        )
        try:
            predictor: Predictor = plugin.restore(head.kept, context)
            if head.example is not None and not _close(predictor.predict(self.heads.examples), head.example):
                raise ValueError("it predicts other values for the examples than when it was fitted")
        except MedsslError:
            raise
        except Exception as error:  # whatever a plugin raises on data that it does not know
            raise CheckpointError(
                f"the head '{name}' of {self.run.path} cannot be restored: {str(error) or type(error).__name__}. It "
                f"was fitted by {head.package}. Install that version, or run again with --force."
            ) from error
        return predictor

    def _usable(self) -> str:
        return f"Give one of: {', '.join(self.evaluators) or 'none was kept'}."

    def _why_not(self) -> str:
        reasons = "; ".join(f"'{name}': {why}" for name, why in self.heads.left_out.items())
        return f"{reasons}." if reasons else "none of its evaluators predicts."


def validation_loss(run: RunResult, evaluator: str) -> float:
    """Return the log loss of a predictor on the validation part, or the squared error; infinity if it has none."""
    selected = run.evaluations[evaluator]["selected"]
    return float(selected.get("val_log_loss", selected.get("val_squared_error", float("inf"))))


def load_model(run: RunResult | Path | str) -> TrainedModel:
    """Load the encoder and the fitted heads of a run, to predict new images.

    Args:
        run: The result of the run, or its folder.

    Raises:
        CheckpointError: There is no finished run, it has no heads, or its files do not belong together.
    """
    result = run if isinstance(run, RunResult) else load_run(run)
    directory = RunDirectory(result.path)
    heads = read_heads(directory.heads)
    if directory.encoder.is_file() and checksum(directory.encoder) != heads.encoder:
        raise CheckpointError(
            f"the heads of {result.path} belong to another encoder: encoder.safetensors was changed after they were "
            "fitted. Restore the file, or run again with --force."
        )
    encoder = load_encoder(result)
    likeness = Likeness.of(result.features()["train"], result.split().groups)
    if likeness.x.shape[1] != encoder.feature_dim:
        raise CheckpointError(
            f"the features of {result.path} do not belong to its encoder: {likeness.x.shape[1]} and "
            f"{encoder.feature_dim} values per image. Run again with --force."
        )
    return TrainedModel(result, encoder, heads, likeness)


def _predict_images(predictor: Predictor, views: PlainViews, n: int) -> Tensor:
    with torch.no_grad():
        return torch.cat([predictor.predict(views(rows)).cpu() for rows in torch.split(torch.arange(n), _BATCH)])


def _groups(
    samples: Sequence[Sample], given: Sequence[str | None] | Callable[[str], str | None] | None
) -> list[str | None]:
    """Return the group of each image; the argument is that of :meth:`TrainedModel.predict`."""
    if callable(given):
        return [given(_shown(sample.id)) for sample in samples]
    return [sample.group if given is None else given[int(sample.id[:9])] for sample in samples]


def _of_groups(predictor: Predictor, x: Tensor, groups: Sequence[str | None]) -> NDArray[np.float32] | None:
    """Return the prediction of each image's group ``(n, O)``, NaN without one; ``None`` if it predicts no groups."""
    numbers: dict[str, int] = {}
    place = torch.tensor([-1 if g is None else numbers.setdefault(g, len(numbers)) for g in groups])
    own = place >= 0
    found = predictor.predict_groups(x[own], place[own]) if numbers else None
    if found is None:
        return None
    rows = torch.full((len(x), found.shape[1]), torch.nan)
    rows[own] = found[place[own]].cpu().float()
    return rows.numpy()


def _close(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and bool(torch.allclose(one, other, rtol=_CLOSE, atol=_CLOSE))


def _require_same_kind(run: RunResult, store: Store) -> None:
    """Compare channels and depth of new images with those of the run's images.

    Raises:
        DataError: They differ.
    """
    made = run.values["data"]["store"]
    advice = "A prediction for other images than those of the training deserves no trust. Convert them as the training "
    advice += "images were converted, or predict anyway with --allow-other (allow_other=True)."
    if "channels" in made and made["channels"] != store.channels:
        words = {1: "grey", 3: "in colour"}  # other numbers were refused before
        first = next((i for i in range(len(store)) if _is_colour(store.image(i))), 0)
        raise DataError(
            f"the images of the run are {words[made['channels']]}, and the new ones are {words[store.channels]}, for "
            f"instance {_shown(store.ids[first])}. {advice}"
        )
    if "bits" in made and made["bits"] != 8 * store.dtype.itemsize:
        raise DataError(
            f"the images of the run have {made['bits']} bits per channel, and the new ones {8 * store.dtype.itemsize}, "
            f"for instance {_shown(store.ids[0])}. {advice}"
        )


def _is_colour(image: NDArray[Any]) -> bool:
    return image.shape[2] == 3 and bool((image != image[:, :, :1]).any())


def _shown(name: str) -> str:
    """Return the path of a given image without the number before it; the id of a sample of a dataset."""
    number, blank, path = name.partition(" ")
    return (path or number) if len(number) == 9 and number.isdecimal() and (blank or name == number) else name


def true_text(target: Target, y: Any) -> str:
    """Return the true value of a training image, as the target encodes it, as text."""
    if target.kind == "findings":
        present = [name for name, value in zip(target.output_names, y, strict=True) if value == 1]
        return "; ".join(present) or "none"
    return target.text(float(y) if target.kind == "quantity" else int(y))
