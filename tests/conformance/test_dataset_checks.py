"""Each check of a dataset must fail on one that breaks just what the check looks at."""

import logging
import os

import numpy as np
import pytest
from PIL import Image

from medssl.conformance import run_checks
from medssl.contracts import Classes, Dataset, Listing, Sample
from medssl.errors import DataError
from medssl.tools import Source, download, read_image

NAMES = ("a/p1_0", "a/p1_1", "a/p2_0", "b/p3_0", "b/p4_0", "b/p4_1")


@pytest.fixture
def files(tmp_path):
    root = tmp_path / "files"
    for number, name in enumerate(NAMES):
        path = root / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 5, 3), 10 * number, np.uint8)).save(path)
    return root


class Good(Dataset):
    classes = ("a", "b")
    group_kind = "patient"
    default_split = "grouped"
    split_reason = "a patient's images look alike"

    def fetch(self):
        download(Source(file="x.zip", url="https://example.org/x.zip", sha256=64 * "0"), self.root)

    def index(self):
        samples = self.samples()
        facts = {name: getattr(self, name) for name in ("group_kind", "default_split", "split_reason")}
        return Listing(samples=samples, target=Classes(self.classes), **facts)

    def samples(self):
        if not (self.root / "a").is_dir():
            raise DataError(f"{self.root} holds no images. It needs the folders a and b. Put them there.")
        return [self.sample(label, path) for label, name in enumerate(self.classes) for path in self.listed(name)]

    def listed(self, name):
        return sorted((self.root / name).glob("*.png"))

    def sample(self, label, path):
        return Sample(id=path.relative_to(self.root).as_posix(), y=label, group=path.name.partition("_")[0])

    def read(self, sample):
        return read_image(self.root / sample.id)

    def path(self, sample):
        return self.root / sample.id


class Drawn(Good):
    """Needs no files."""

    def samples(self):
        return [Sample(id=name, y="ab".index(name[0]), group=name[2:4]) for name in NAMES]

    def read(self, sample):
        return np.full((4, 4, 1), NAMES.index(sample.id), np.uint8)

    def path(self, sample):
        return None


def changed(**fields):
    """A sample() that changes each sample."""

    def sample(self, label, path):
        kept = Good.sample(self, label, path)
        values = {"id": kept.id, "y": kept.y, "group": kept.group, "part": kept.part}
        return Sample(**{**values, **{k: v(kept, self) for k, v in fields.items()}})

    return sample


class MakesItsFolder(Good):
    def __init__(self, config, root, facts=None):
        super().__init__(config, root, facts)
        root.mkdir(parents=True)


class SaysTooLittle(Good):
    def samples(self):
        if not (self.root / "a").is_dir():
            raise DataError("The images of this dataset are not where they should be.")
        return super().samples()


class CrashesWithoutFiles(Good):
    def samples(self):
        os.listdir(self.root / "a")  # noqa: PTH208
        return super().samples()


class DoubleIds(Good):
    sample = changed(id=lambda kept, _: kept.id[:1])


class AbsoluteIds(Good):
    sample = changed(id=lambda kept, self: f"{self.root}/{kept.id}")


class LabelTooLarge(Good):
    sample = changed(y=lambda kept, _: kept.y + 1)


class UnknownPart(Good):
    sample = changed(part=lambda _, __: "training")


class NoSamples(Drawn):
    def samples(self):
        return []


class ClassesAreAText(Good):
    classes = "ab"


class InTheOrderOfTheDisk(Good):
    def listed(self, name):
        return (self.root / name).glob("*.png")


class InTheOrderOfScandir(Good):
    def listed(self, name):
        with os.scandir(self.root / name) as found:
            return [self.root / name / entry.name for entry in found]


class ClassesInTheOrderOfTheDisk(Good):
    @property
    def classes(self):
        return os.listdir(self.root)  # noqa: PTH208


class NamedAfterItsFolder(Good):
    sample = changed(group=lambda kept, self: self.root.name + kept.group)


class SetsWhatItFinds(Good):
    def index(self):
        self.kinds = sorted(path.name for path in self.root.iterdir())
        return super().index()


class NoListing(Good):
    def index(self):
        return self.samples()


class ShuffledGlobally(Good):
    def samples(self):
        found = super().samples()
        np.random.rand()  # noqa: NPY002  (the breach itself)
        return found


class GroupsWithoutAKind(Good):
    group_kind = None


class GroupedWithoutGroups(Good):
    group_kind = None
    sample = changed(group=lambda _, __: None)


class OfficialWithoutParts(Good):
    default_split = "official"


class UnknownSplit(Good):
    default_split = "by patient"


class NoReason(Good):
    split_reason = ""


class PatientsOnBothSides(Good):
    default_split = "official"
    sample = changed(part=lambda kept, _: "test" if kept.id.endswith("1.png") else "train")


class FloatPixels(Good):
    def read(self, sample):
        return super().read(sample).astype(np.float32)


class FlatPixels(Good):
    def read(self, sample):
        return super().read(sample)[..., 0]


class NewPixelsEachTime(Good):
    calls = 0

    def read(self, sample):
        type(self).calls += 1
        return np.full((2, 2, 1), type(self).calls % 256, np.uint8)


class PathToNowhere(Good):
    def path(self, sample):
        return self.root / f"{sample.id}.tif"


class Frugal(Drawn):
    """Gives every second pixel of large images."""

    def read(self, sample):
        across, down = np.meshgrid(np.linspace(0, 255, 40), np.linspace(0, 255, 30))
        return np.stack([across, down, across], axis=2).astype(np.uint8)

    def read_reduced(self, sample, short_side):
        return self.read(sample)[::2, ::2]


class TooFewPixels(Frugal):
    def read_reduced(self, sample, short_side):
        return self.read(sample)[::30, ::30]


class OtherChannels(Frugal):
    def read_reduced(self, sample, short_side):
        return self.read(sample)[::2, ::2, :1]


class Squeezed(Frugal):
    def read_reduced(self, sample, short_side):
        return self.read(sample)[:, ::2]


class NotCutOut(Frugal):
    def read(self, sample):
        return super().read(sample)[::-1]

    def read_reduced(self, sample, short_side):
        return Frugal.read(self, sample)


class FetchesInSilence(Good):
    def fetch(self):
        pass


class FetchCrashesOffline(Good):
    def fetch(self):
        import requests

        requests.get("https://example.org/x.zip", timeout=5)


class TakesAnyFile(Good):
    def fetch(self):
        import requests

        try:
            content = requests.get("https://example.org/x.png", timeout=5).content
        except requests.RequestException as error:
            raise DataError(f"x.png cannot be had. Put it at {self.root} and run the same command again.") from error
        (self.root / "a").mkdir(parents=True, exist_ok=True)
        (self.root / "a" / "p1_0.png").write_bytes(content)


@pytest.mark.parametrize("plugin", [Good, Drawn, Frugal])
def test_a_good_dataset_passes_every_check(plugin, files):
    results = run_checks("dataset", plugin, root=files if plugin is Good else None)
    assert [result for result in results if result.problem] == []
    assert len(results) > 10
    nothing_to_see = {"counts are the published ones", "official test part is apart"}
    if plugin is not Frugal:
        nothing_to_see.add("reduced images are the same")
    nothing_to_see |= {"fetch without a network is explained", "fetch refuses a wrong file"}
    assert {result.name for result in results if result.not_seen} <= nothing_to_see


def test_checks_that_need_files_say_so_where_there_are_none():
    results = {result.name: result for result in run_checks("dataset", Good)}
    assert "its files are not available" in results["samples are sound"].not_seen
    assert results["missing files are explained"].not_seen is None
    assert not any(result.problem for result in results.values())


@pytest.mark.parametrize(
    ("plugin", "check"),
    [
        (MakesItsFolder, "building it touches no file"),
        (SaysTooLittle, "missing files are explained"),
        (CrashesWithoutFiles, "missing files are explained"),
        (DoubleIds, "samples are sound"),
        (AbsoluteIds, "samples are sound"),
        (LabelTooLarge, "samples are sound"),
        (UnknownPart, "samples are sound"),
        (NoSamples, "samples are sound"),
        (ClassesAreAText, "samples are sound"),
        (InTheOrderOfTheDisk, "listing is the same everywhere"),
        (InTheOrderOfScandir, "listing is the same everywhere"),
        (ClassesInTheOrderOfTheDisk, "listing is the same everywhere"),
        (NamedAfterItsFolder, "listing is the same everywhere"),
        (ShuffledGlobally, "listing is the same everywhere"),
        (SetsWhatItFinds, "listing changes nothing of the dataset"),
        (NoListing, "samples are sound"),
        (GroupsWithoutAKind, "groups and default split fit together"),
        (GroupedWithoutGroups, "groups and default split fit together"),
        (OfficialWithoutParts, "groups and default split fit together"),
        (UnknownSplit, "groups and default split fit together"),
        (NoReason, "groups and default split fit together"),
        (PatientsOnBothSides, "official test part is apart"),
        (FloatPixels, "images can be read"),
        (FlatPixels, "images can be read"),
        (NewPixelsEachTime, "images can be read"),
        (PathToNowhere, "images can be read"),
        (TooFewPixels, "reduced images are the same"),
        (OtherChannels, "reduced images are the same"),
        (Squeezed, "reduced images are the same"),
        (NotCutOut, "reduced images are the same"),
        (FetchesInSilence, "fetch without a network is explained"),
        (FetchCrashesOffline, "fetch without a network is explained"),
        (TakesAnyFile, "fetch refuses a wrong file"),
    ],
)
def test_a_breach_is_seen_by_its_check(plugin, check, problem, files):
    assert problem("dataset", plugin, check, root=files)


@pytest.mark.parametrize("copied", [True, False])
def test_an_image_that_is_in_two_official_parts_is_a_leak(copied, problem, files):
    class Official(Good):
        default_split = "official"
        sample = changed(part=lambda kept, _: "test" if kept.group in ("p2", "p4") else "train")

    if copied:
        (files / "a" / "p2_0.png").write_bytes((files / "b" / "p3_0.png").read_bytes())
    found = problem("dataset", Official, "official test part is apart", root=files)
    assert (found or "").endswith("but 1 are: a/p2_0.png = b/p3_0.png" if copied else "")


def test_leaking_parts_that_are_not_the_default_are_no_breach(files):
    class Grouped(PatientsOnBothSides):
        default_split = "grouped"

    (result,) = (r for r in run_checks("dataset", Grouped, root=files) if r.name == "official test part is apart")
    assert result.problem is None
    assert "`medssl audit` looks for duplicates" in result.not_seen


@pytest.mark.parametrize("warns", [True, False])
def test_a_partial_copy_must_be_warned_of(warns, problem, files):
    class Counted(Good):
        def samples(self):
            if warns:
                logging.getLogger("medssl").warning("3 of 4 images of class a are here")
            return super().samples()

    found = problem("dataset", Counted, "counts are the published ones", root=files, facts={"counts": {"a": 4, "b": 3}})
    assert (found is None) == warns
    assert warns or found.endswith("a 3 of 4")


def test_published_counts_that_are_met_need_no_warning(problem, files):
    facts = {"counts": {"a": 3, "b": 3}}
    assert not problem("dataset", Good, "counts are the published ones", root=files, facts=facts)
