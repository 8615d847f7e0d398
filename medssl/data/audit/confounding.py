"""Confounding: what predicts the target beside the disease, and what the split cannot tell apart.

A site or slide whose images all have one class, or colours that differ with the class, let a model score well without
looking at the disease (Zech et al. 2018, PLoS Med. 15, e1002683; Howard et al. 2021, Nat. Commun. 12, 4423). Three
measures, all by whole groups, with a percentile bootstrap over groups:

* how well the site predicts the target: the class that is most frequent at the site in other groups, relative to its
  frequency overall;
* how well a few colour statistics and the size of an image predict it: a logistic regression, cross-validated;
* how many groups with several images have one value only.

The other half is how well measurements of an image tell its site: :mod:`medssl.data.audit.site_signal`.

The score is the balanced accuracy, whose chance level is one over the number of classes. Each finding is a question of
its own, and the scores are averaged. A quantity is divided into the ranges that a split balances.

n images, G groups, K classes of a question, B resamples.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medssl.contracts import Findings, Sample, Target
from medssl.data.audit.site_signal import SiteSignal, find_site_signal
from medssl.data.split.protocols import PARTS, group_key
from medssl.data.split.splits import Split
from medssl.data.store.store import Store
from medssl.io.identities import private_id
from medssl.results.sections import CONFOUNDING

__all__ = ["Confounding", "Prediction", "find_confounding"]

Array = NDArray[Any]

_MOST = 3_000  # images whose colours are measured; ours: some seconds
_PIXELS = 64  # along each side that are used for colour statistics; ours: means hardly change
_FOLDS, _RESAMPLES, _SEED = 5, 500, 0
_FEW = 10  # groups in a part; ours; intervals over fewer are too narrow (Cameron, Gelbach & Miller 2008, table 2)
_MANY = 10  # images of a typical group that hold one value; ours: tiles of a slide, not the films of a patient
_NOTABLE = 0.2  # of the way from chance to certainty; ours: below it, the remark is in the audit only


@dataclass(frozen=True)
class Prediction:
    """How well something beside the image's content predicts the target.

    Attributes:
        value: Balanced accuracy in images of other groups.
        low: Lower end of its 95 % interval over groups.
        high: Upper end.
        chance: What guessing reaches.
        groups: Groups that were predicted.
    """

    value: float
    low: float
    high: float
    chance: float
    groups: int

    @property
    def above_chance(self) -> bool:
        """Whether the interval excludes chance."""
        return self.low > self.chance

    @property
    def notable(self) -> bool:
        """Whether it is above chance by a fifth of what is possible."""
        return self.above_chance and self.value - self.chance >= _NOTABLE * (1 - self.chance)

    def __str__(self) -> str:
        value, low, high, chance = (f"{x:.2f}" for x in (self.value, self.low, self.high, self.chance))
        return f"{value} [{low}, {high}], chance {chance}"


@dataclass(frozen=True, kw_only=True)
class Confounding:
    """The findings.

    Attributes:
        group_kind: The kind of group; ``image`` if groups are not known.
        looks: ``colour`` or ``grey level``: what the statistics of the images are about.
        stratum: The word for a class.
        groups: Groups with several labelled images.
        one_value: Those whose images have one value.
        typical: Median number of images of these groups.
        sites: Number of sites.
        one_value_sites: Private names of the sites with several groups whose images have one value.
        site: How well the site predicts the target; ``None`` if it cannot be measured.
        appearance: How well colour and size predict it; ``None`` likewise.
        few: Number of groups in each part that has few; empty if the split does not keep groups together.
        site_in_looks: How well colour and size tell the site; ``None`` if there are not two sites of several groups.
    """

    group_kind: str
    looks: str
    stratum: str
    groups: int
    one_value: int
    typical: float
    sites: int
    one_value_sites: tuple[str, ...]
    site: Prediction | None
    appearance: Prediction | None
    few: dict[str, int]
    site_in_looks: SiteSignal | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {**asdict(self), "one_value_sites": list(self.one_value_sites)}

    def warn(self) -> Iterator[str]:
        """Yield the warnings for the reader of a result."""
        kind, noun = self.group_kind, self.stratum
        if self.one_value_sites:
            names = ", ".join(self.one_value_sites[:3])
            yield (
                f"{CONFOUNDING}{len(self.one_value_sites)} of {self.sites} sites have images of one {noun} only "
                f"({names}), so a model can recognise the site instead of the {noun}"
            )
        if self.site and self.site.notable:
            yield f"{CONFOUNDING}the site alone predicts the {noun} (balanced accuracy {self.site})"
        if self.site_in_looks and self.site_in_looks.above_chance:
            yield self.site_in_looks.sentence(f"{self.looks} statistics and image size", noun)
        if self.groups and self.one_value == self.groups and self.typical >= _MANY:
            yield (
                f"{CONFOUNDING}each of the {self.groups} {kind}s has images of one {noun} only, so whatever tells "
                f"{kind}s apart, such as stain or exposure, also tells the {noun} apart"
            )
        if self.appearance and self.appearance.notable:
            yield (
                f"{CONFOUNDING}{self.looks} statistics and image size alone predict the {noun} (balanced accuracy "
                f"{self.appearance}, by {kind}). They may be signs of the disease or of how the images were made. "
                "Compare every score with this number"
            )
        if count := self.few.get("test"):
            kinds = kind if count == 1 else f"{kind}s"
            yield f"few {kind}s: the test part has {count} {kinds}; its intervals are too narrow"


def find_confounding(
    samples: Sequence[Sample], target: Target, group_kind: str, store: Store, split: Split
) -> Confounding:
    """Measure it.

    Args:
        samples: Samples in the order of the store.
        target: The target.
        group_kind: The kind of group.
        store: The images.
        split: The part of each sample.
    """
    rows = [i for i, sample in enumerate(samples) if sample.y is not None]
    labelled = [samples[i] for i in rows]
    questions = _questions(target, labelled)
    members, sites = _together(labelled, "group"), _together(labelled, "site")
    several = {name: some for name, some in members.items() if len(some) > 1}
    sizes = [len(some) for some in several.values()]
    some, x = _measured(len(labelled), rows, store)
    seen = [labelled[i] for i in some]
    return Confounding(
        group_kind=group_kind if members else "image",
        looks="colour" if store.channels > 1 else "grey level",
        stratum=target.stratum,
        groups=len(several),
        one_value=sum(len({sample.y for sample in some}) == 1 for some in several.values()),
        typical=float(np.median(sizes)) if sizes else 0.0,
        sites=len(sites),
        one_value_sites=tuple(private_id("site", name) for name in sorted(sites) if _of_one_value(sites[name]))
        if len(sites) > 1
        else (),
        site=_by_site(labelled, questions) if len(sites) > 1 else None,
        appearance=_by_appearance(seen, x, [question[some] for question in questions]),
        few=_few(split),
        site_in_looks=find_site_signal(x, seen) if len(sites) > 1 else None,
    )


def _together(samples: Sequence[Sample], field: str) -> dict[str, list[Sample]]:
    found: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        if name := getattr(sample, field):
            found[name].append(sample)
    return found


def _of_one_value(samples: Sequence[Sample]) -> bool:
    """Whether a site has several groups, all with one value: one group with one value is no surprise."""
    return len({sample.y for sample in samples}) == 1 and len({group_key(sample) for sample in samples}) > 1


def _few(split: Split) -> dict[str, int]:
    if not split.grouped or split.protocol in ("loso", "site"):  # its folds are pooled
        return {}
    return {part: split.group_count[part] for part in PARTS if 0 < split.group_count[part] < _FEW}


def _questions(target: Target, samples: Sequence[Sample]) -> list[Array]:
    """Return ``(n,)`` integers for each question, -1 where its answer is not known."""
    if not samples:
        return []
    if isinstance(target, Findings):
        y = target.encode([sample.y for sample in samples])
        return [np.where(np.isnan(column), -1, column).astype(np.int64) for column in y.T]
    return [np.asarray(target.strata([s.y for s in samples if s.y is not None]).argmax(axis=1))]


def _by_site(samples: Sequence[Sample], questions: Sequence[Array]) -> Prediction | None:
    """Predict the class that is relatively most frequent at the site in other groups."""
    placed = [i for i, sample in enumerate(samples) if sample.site]
    groups = _numbers([group_key(samples[i]) for i in placed])
    sites = _numbers([samples[i].site or "" for i in placed])
    guesses = []
    for y in (question[placed] for question in questions):
        classes = int(y.max()) + 1
        at_site = np.zeros((sites.max() + 1, classes))
        np.add.at(at_site, (sites[y >= 0], y[y >= 0]), 1.0)
        own = np.zeros((groups.max() + 1, classes))
        np.add.at(own, (groups[y >= 0], y[y >= 0]), 1.0)
        others = at_site[sites] - own[groups]
        guesses.append((others / at_site.sum(axis=0).clip(1)).argmax(axis=1))
    return _judge([question[placed] for question in questions], guesses, groups)


def _measured(count: int, rows: Sequence[int], store: Store) -> tuple[list[int], Array]:
    """Return which of the labelled images are measured, and their statistics ``(n, F)``."""
    some = list(range(count))
    if count > _MOST:
        some = sorted(np.random.default_rng(_SEED).permutation(count)[:_MOST].tolist())
    return some, np.stack([_statistics(store, rows[i]) for i in some]) if some else np.empty((0, 0))


def _by_appearance(samples: Sequence[Sample], x: Array, questions: Sequence[Array]) -> Prediction | None:
    """Predict from statistics ``(n, F)``, in folds of whole groups."""
    if not len(x):
        return None
    deviation = x.std(axis=0)
    x = (x[:, deviation > 0] - x[:, deviation > 0].mean(axis=0)) / deviation[deviation > 0]
    groups = _numbers([group_key(sample) for sample in samples])
    asked, guesses = [], []
    for y in questions:
        if x.shape[1] and (guess := _cross_validated(x, y, groups)) is not None:
            asked.append(y)
            guesses.append(guess)
    return _judge(asked, guesses, groups)


def _statistics(store: Store, row: int) -> Array:
    """Return mean and standard deviation of each channel, and the logarithms of height and width."""
    image = store.image(row)
    step = max(1, min(image.shape[:2]) // _PIXELS)
    pixels = image[::step, ::step].reshape(-1, image.shape[2]).astype(np.float64)
    return np.concatenate([pixels.mean(axis=0), pixels.std(axis=0), np.log(image.shape[:2])])


def _cross_validated(x: Array, y: Array, groups: Array) -> Array | None:
    """Predict each image by a regression on other groups: ``(n,)``; ``None`` if a class has fewer than two groups."""
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415  (a second to import)

    known = np.flatnonzero(y >= 0)
    classes = np.unique(y[known])
    least = min((len(np.unique(groups[known][y[known] == each])) for each in classes), default=0)
    if len(classes) < 2 or least < 2:
        return None
    fold = _folds(y, groups, min(_FOLDS, least))
    found = np.full(len(y), -1)
    for each in range(min(_FOLDS, least)):
        train, test = known[fold[known] != each], known[fold[known] == each]
        if not len(test) or len(np.unique(y[train])) < 2:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a fit that has not fully converged is good enough here
            model = LogisticRegression(class_weight="balanced", max_iter=300).fit(x[train], y[train])
        found[test] = model.predict(x[test])
    return found


def _folds(y: Array, groups: Array, count: int) -> Array:
    """Deal whole groups into folds, class by class, in a seeded random order: ``(n,)``."""
    order = np.random.default_rng(_SEED).permutation(groups.max() + 1)
    first = np.array([y[groups == group].max() for group in order])
    place = np.empty(len(order), dtype=np.int64)
    place[order[np.argsort(first, kind="stable")]] = np.arange(len(order)) % count
    return place[groups]


def _judge(questions: Sequence[Array], guesses: Sequence[Array], groups: Array) -> Prediction | None:
    """Return the mean balanced accuracy over the questions, with its bootstrap interval over groups."""
    if not questions:
        return None
    count = int(groups.max()) + 1
    draws = np.random.default_rng(_SEED).integers(0, count, size=(_RESAMPLES, count))
    times = np.stack([np.bincount(draw, minlength=count) for draw in draws]).T[groups]  # (n, B)
    weights = np.concatenate([np.ones((len(groups), 1)), times], axis=1)
    scores, chances = [], []
    for y, guess in zip(questions, guesses, strict=True):
        known = (y >= 0) & (guess >= 0)
        classes = np.unique(y[known])
        if len(classes) < 2:
            continue
        scores.append(_balanced(y[known], guess[known], classes, weights[known]))
        chances.append(1 / len(classes))
    if not scores:
        return None
    mean = np.mean(scores, axis=0)
    drawn = mean[1:][~np.isnan(mean[1:])]
    if len(drawn) < _RESAMPLES // 2:
        return None
    low, high = np.quantile(drawn, (0.025, 0.975))
    return Prediction(float(mean[0]), float(low), float(high), float(np.mean(chances)), count)


def _balanced(y: Array, guess: Array, classes: Array, weights: Array) -> Array:
    """Return the balanced accuracy under weights ``(n, B)``: ``(B,)``; NaN where a class has no sample."""
    of_class = (y == classes[:, None]).astype(np.float64)  # (K, n)
    total = of_class @ weights
    right = (of_class * (guess == y)) @ weights
    recall = np.divide(right, total, out=np.full_like(right, np.nan), where=total > 0)
    return np.asarray(recall.mean(axis=0))


def _numbers(names: Sequence[str]) -> Array:
    return np.unique(np.array(names, dtype=str), return_inverse=True)[1].reshape(-1)
