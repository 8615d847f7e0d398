"""The loop learns, is reproducible, resumes exactly, and stops with a sentence when it must."""

from __future__ import annotations

import copy
import itertools
import json
import math
import time
from dataclasses import dataclass

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from medssl.contracts import Classes, Method, Task, ViewSpec
from medssl.errors import CheckpointError, PluginError, TrainingError
from medssl.recipe.settings import TrainSettings
from medssl.train.loop import states as module
from medssl.train.loop.selection import BestEpoch
from medssl.train.loop.trainer import Trainer
from medssl.train.machine.device import Precision

CPU = torch.device("cpu")
FLOAT32 = Precision(None, "test")
CLASSES, SAMPLES, SIZE = 3, 48, 8


# ---------------------------------------------------------------------------------------------------------- toy parts


def toy_images():
    """Three faint stripe patterns under a colour cast of each image's own: the cast is what views change."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(SAMPLES) % CLASSES
    phase = torch.arange(SIZE) * math.pi
    patterns = torch.stack([(phase / (k + 1)).cos()[:, None].expand(SIZE, SIZE) for k in range(CLASSES)])
    noise = torch.randn(SAMPLES, 3, SIZE, SIZE, generator=generator)
    return 0.5 * patterns[labels][:, None] + 0.2 * noise, labels


class ToyViews:
    """Two views of each image, each with a colour cast drawn from (epoch, sample)."""

    def __init__(self, count=SAMPLES):
        self.images, self.labels = toy_images()
        self.images = self.images[:count]
        self.epochs, self.epoch = [], 0

    def __len__(self):
        return len(self.images)

    def start_epoch(self, epoch):
        self.epochs.append(epoch)
        self.epoch = epoch

    def __call__(self, positions, passes=None):
        passes = torch.full_like(positions, self.epoch) if passes is None else passes
        casts = {number: self.cast(number) for number in set(passes.tolist())}
        cast = torch.stack(
            [casts[number][:, at] for at, number in zip(positions.tolist(), passes.tolist(), strict=True)]
        )
        return tuple(self.images[positions] + each for each in cast.unbind(1))

    def cast(self, number):
        return 0.5 * torch.randn(2, len(self), 3, 1, 1, generator=torch.Generator().manual_seed(number))

    def geometry(self, positions, passes):
        return None


def toy_encoder(dropout=0.0):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 16, 3, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Dropout(dropout),
        )


TARGET = Classes(tuple("abcdef"[:CLASSES]))
TASK = Task(feature_dim=16, num_samples=SAMPLES, target=TARGET, image_size=SIZE, batch_size=16, total_steps=9)


class Contrast(Method):
    """SimCLR without a head; remembers the batches it saw."""

    views = ViewSpec()

    def __init__(self, config=None, encoder=None, task=TASK):
        super().__init__(config, encoder, task)
        self.seen = []

    def loss(self, batch, encode):
        self.seen.append(batch)
        z = F.normalize(torch.cat(encode(batch.views)), dim=1)
        similarity = (z @ z.T / 0.2).fill_diagonal_(-math.inf)
        n = len(batch.index)
        return F.cross_entropy(similarity, torch.arange(2 * n).roll(n))


class Stateful(Contrast):
    """A momentum teacher, a queue, and draws from the batch's generator: all that a resume can get wrong."""

    def __init__(self, config, encoder, task=TASK):
        super().__init__(config, encoder, task)
        self.student, self.teacher = [encoder], copy.deepcopy(encoder).requires_grad_(False)
        self.head = nn.Linear(16, 16)
        self.register_buffer("queue", torch.zeros(32, 16))
        self.register_buffer("place", torch.zeros((), dtype=torch.int64))

    def loss(self, batch, encode):
        self.seen.append(batch)
        x = self.head(encode(batch.views)[0])
        with torch.no_grad():
            target = encode(batch.views, encoder=self.teacher)[1]
            target = target + 0.1 * torch.randn(target.shape, generator=batch.generator)
            rows = (torch.arange(len(target)) + self.place) % 32
            self.queue[rows] = target
            self.place += len(target)
        return F.mse_loss(x, target) + 0.01 * (x @ self.queue.T).square().mean()

    def after_step(self, step, total_steps):
        momentum = 1 - 0.5 * (1 - step / total_steps)
        for mine, theirs in zip(self.teacher.parameters(), self.student[0].parameters(), strict=True):
            mine.lerp_(theirs.detach(), 1 - momentum)


@dataclass
class Run:
    """A trainer with everything that its results are read from."""

    trainer: Trainer
    encoder: nn.Module
    method: Method
    views: ToyViews

    def fit(self, **callbacks):
        return self.trainer.fit(**callbacks)

    @property
    def weights(self):
        return {**self.encoder.state_dict(), **{f"method.{k}": v for k, v in self.method.state_dict().items()}}


@pytest.fixture
def start(tmp_path):
    """Build a trainer, as a new process would; equal arguments give equal runs in the same directory."""

    def build(kind=Contrast, *, directory=tmp_path, count=SAMPLES, dropout=0.0, **values):
        directory.mkdir(exist_ok=True)
        options = {"seed": 0, "fingerprint": "one", "groups": torch.arange(count) // 2, "y": None, "labelled": None}
        options |= {"device": CPU, "precision": FLOAT32, "directory": directory}
        options |= {key: values.pop(key) for key in list(values) if key in options}
        settings = TrainSettings(**{"epochs": 3, "batch_size": 16, "learning_rate": 0.1, "validate_every": 0, **values})
        encoder = toy_encoder(dropout)
        with torch.random.fork_rng():
            torch.manual_seed(1)
            method = kind(None, encoder)
        views = ToyViews(count)
        return Run(Trainer(encoder, method, views, settings=settings, **options), encoder, method, views)

    return build


def assert_equal_weights(one, other):
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def losses(history):
    return [record.loss for record in history]


# ------------------------------------------------------------------------------------------------------------ learning


def neighbour_accuracy(encoder, views):
    """Leave-one-out accuracy of the nearest neighbour, each image under a cast of its own."""
    views.start_epoch(1000)
    encoder.eval()
    with torch.no_grad():
        x = F.normalize(encoder(views(torch.arange(len(views)))[0]), dim=1)
    nearest = (x @ x.T).fill_diagonal_(-2).argmax(1)
    return (views.labels[nearest] == views.labels).double().mean().item()


def test_learns_a_toy_task(start):
    run = start(epochs=25)
    before = neighbour_accuracy(run.encoder, run.views)
    history = run.fit()
    after = neighbour_accuracy(run.encoder, run.views)
    assert after > 0.9
    assert after > before + 0.2
    assert history[-1].loss < history[0].loss - 0.5


# ----------------------------------------------------------------------------------------------------- reproducibility


@pytest.mark.parametrize("kind", [Contrast, Stateful])
def test_equal_seeds_give_bit_equal_encoders(start, tmp_path, kind):
    one = start(kind, dropout=0.2, directory=tmp_path / "a")
    first = one.fit()
    torch.rand(7)  # whatever else the process draws
    two = start(kind, dropout=0.2, directory=tmp_path / "b")
    assert losses(two.fit()) == losses(first)
    assert_equal_weights(one.weights, two.weights)


def test_other_seeds_give_other_encoders(start, tmp_path):
    one, two = (start(seed=seed, directory=tmp_path / str(seed)) for seed in (0, 1))
    assert losses(one.fit()) != losses(two.fit())


def test_global_random_state_is_left_alone(start):
    state = torch.get_rng_state()
    start(dropout=0.5).fit()
    assert torch.equal(torch.get_rng_state(), state)


class Killed(Exception):
    pass


def kill_at(name, value):
    def callback(record):
        if getattr(record, name) == value:
            raise Killed

    return callback


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "lars"])
@pytest.mark.parametrize("kind", [Contrast, Stateful])
@pytest.mark.parametrize(
    "callback",
    [{"progress": kill_at("step", 7)}, {"report": kill_at("epoch", 1)}],
    ids=["in the middle of an epoch", "between epochs"],
)
def test_killed_run_continues_to_the_same_bits(start, tmp_path, callback, kind, optimizer):
    options = {"dropout": 0.2, "epochs": 4, "optimizer": optimizer, "learning_rate": 0.01}
    straight = start(kind, directory=tmp_path / "straight", **options)
    expected = straight.fit()
    with pytest.raises(Killed):
        start(kind, **options).fit(**callback)
    resumed = start(kind, **options)
    history = resumed.fit()
    assert resumed.views.epochs  # something was left to do
    assert 0 not in resumed.views.epochs  # and something was there already
    assert_equal_weights(resumed.weights, straight.weights)
    assert losses(history) == losses(expected)
    lines = (tmp_path / "history.jsonl").read_text().splitlines()
    assert [json.loads(line)["loss"] for line in lines] == losses(expected)


def test_interrupt_leaves_the_last_state_and_propagates(start, tmp_path):
    def interrupt(record):
        if record.step == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        start().fit(progress=interrupt)
    assert len(torch.load(tmp_path / "state.pt", weights_only=True)["history"]) == 1


def test_history_ahead_of_the_state_is_cut_back(start, tmp_path):
    with pytest.raises(Killed):
        start().fit(report=kill_at("epoch", 0))
    with (tmp_path / "history.jsonl").open("a") as file:
        file.write('{"epoch": 1, "loss": 0.0}\n{"epoch": 2, "lo')
    assert len(start().fit()) == 3
    assert [json.loads(line)["epoch"] for line in (tmp_path / "history.jsonl").read_text().splitlines()] == [0, 1, 2]


def test_finished_run_returns_at_once_with_its_weights(start):
    first = start()
    history = first.fit()
    again = start()
    assert again.fit() == history
    assert again.views.epochs == []
    assert_equal_weights(again.weights, first.weights)


def test_state_of_another_run_is_refused(start):
    start(epochs=1).fit()
    with pytest.raises(CheckpointError, match=r"belongs to another run.*--output, or --force"):
        start(fingerprint="two").fit()


def test_damaged_state_is_refused(start, tmp_path):
    start(epochs=1).fit()
    path = tmp_path / "state.pt"
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(CheckpointError, match="cannot be read"):
        start().fit()


def test_state_that_a_newer_plugin_cannot_take_is_refused(start):
    start(epochs=1).fit()
    with pytest.raises(CheckpointError, match="does not fit this method or encoder"):
        start(Stateful, epochs=1).fit()


def test_state_is_not_written_more_often_than_pays(start, monkeypatch):
    written = []

    def slow(path, state, keep):
        time.sleep(0.3)
        written.append(len(state["history"]))

    monkeypatch.setattr(module, "save_state", slow)
    start(epochs=6).fit()
    assert written == [1, 6]  # the first, the last, and no other within 20 times what writing takes


# ------------------------------------------------------------------------------------------------------------- errors


class Breaks(Contrast):
    """A loss that is not finite from one step on."""

    at, value = 7, math.nan

    def loss(self, batch, encode):
        return super().loss(batch, encode) * (self.value if batch.step >= self.at else 1)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda loss: loss.expand(4), r"a tensor of shape \(4,\)"),
        (lambda loss: loss.detach(), "a tensor without a gradient"),
        (lambda loss: loss.item(), "a float"),
    ],
)
def test_a_loss_that_is_no_differentiable_number_is_refused(start, wrong, said):
    class Wrong(Contrast):
        def loss(self, batch, encode):
            return wrong(super().loss(batch, encode))

    with pytest.raises(PluginError, match=rf"Wrong breaks its contract in loss\(\): .*{said}"):
        start(Wrong).fit()


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("check_every", [1, 2, 20])
def test_loss_that_is_not_finite_names_the_first_step(start, monkeypatch, tmp_path, value, check_every):
    monkeypatch.setattr(Breaks, "value", value)
    run = start(Breaks, epochs=4, schedule="constant")
    run.trainer._check_every = check_every  # as on a GPU, where the loss is looked at now and then
    with pytest.raises(TrainingError, match=rf"became {value} at step 7 \(epoch 2\), at a learning rate of 0\.1\."):
        run.fit()
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert all(value.isfinite().all() for value in state["encoder"].values())


def test_weights_that_the_very_last_step_breaks_are_not_saved(start, tmp_path):
    class BreaksBackward(Contrast):
        def loss(self, batch, encode):
            loss = super().loss(batch, encode)
            if batch.step == 8:
                loss.register_hook(lambda gradient: gradient * math.nan)
            return loss

    with pytest.raises(TrainingError, match="no longer finite at the end of epoch 2"):
        start(BreaksBackward).fit()
    assert len(torch.load(tmp_path / "state.pt", weights_only=True)["history"]) < 3


@pytest.mark.parametrize("part", ["encoder", "method"])
@pytest.mark.parametrize(("value", "stops"), [(65_504.0, False), (-65_505.0, True), (1e26, True), (-math.inf, True)])
def test_weights_that_no_training_reaches_stop_the_run(start, tmp_path, part, value, stops):
    class Plants(Contrast):
        def __init__(self, config, encoder, task=TASK):
            super().__init__(config, encoder, task)
            self.modules_by_name = {"encoder": [encoder], "method": [self]}  # in lists: no submodules
            self.scale = nn.Parameter(torch.zeros(2), requires_grad=False)

        def after_step(self, step, total_steps):
            if step == 6:  # the last step of the second epoch
                (module,) = self.modules_by_name[part]
                module.get_parameter("0.bias" if part == "encoder" else "scale").data[1] = value

    if not stops:
        start(Plants, epochs=2).fit()
        return
    said = "are no longer finite" if math.isinf(value) else rf"are as large as {abs(value):.3g}".replace("+", r"\+")
    with pytest.raises(TrainingError, match=rf"weights (0\.bias|scale) {said} at the end of epoch 1.*learning-rate"):
        start(Plants, epochs=2).fit()
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert len(state["history"]) == 1
    assert all(float(v.abs().max()) < 100 for v in state["encoder"].values())


def test_advice_names_float32_only_where_it_would_change_something(start, tmp_path):
    for precision, named in ((FLOAT32, False), (Precision(torch.bfloat16, "test"), True)):
        run = start(Breaks, directory=tmp_path / precision.name, precision=precision)
        with pytest.raises(TrainingError, match="--learning-rate") as caught:
            run.fit()
        assert ("--precision float32" in str(caught.value)) is named


def test_batch_larger_than_the_training_part_is_refused(start):
    with pytest.raises(TrainingError, match=r"batch of 16 is larger.*has 12 images.*--batch-size, for instance 3"):
        start(count=12)


def test_method_that_needs_labels_says_so(start):
    class Supervised(Contrast):
        uses_labels = True

    with pytest.raises(TrainingError, match="Supervised learns from labels"):
        start(Supervised)


# -------------------------------------------------------------------------------------------------- what a method gets


def test_batch_carries_index_group_and_views_of_the_same_samples(start):
    run = start(epochs=1, count=40)
    run.fit()
    assert [batch.step for batch in run.method.seen] == [0, 1]  # 40 // 16: the rest is dropped
    seen = torch.cat([batch.index for batch in run.method.seen])
    assert len(seen.unique()) == 32
    for batch in run.method.seen:
        assert torch.equal(batch.group, batch.index // 2)
        assert batch.y is None
        assert torch.equal(batch.views[1], run.views(batch.index)[1])


def test_order_changes_from_epoch_to_epoch(start):
    run = start(epochs=2)
    run.fit()
    first, second = torch.cat([batch.index for batch in run.method.seen]).view(2, SAMPLES)
    assert not torch.equal(first, second)
    for order in (first, second):
        assert torch.equal(order.sort().values, torch.arange(SAMPLES))


def test_labels_reach_only_a_method_that_uses_them(start, tmp_path):
    class Supervised(Contrast):
        uses_labels = True

    labels = torch.arange(SAMPLES) % 3 - 1
    for kind, given in ((Contrast, False), (Supervised, True)):
        run = start(kind, epochs=1, y=labels, directory=tmp_path / kind.__name__)
        run.fit()
        for batch in run.method.seen:
            assert torch.equal(batch.y, labels[batch.index]) if given else batch.y is None


# ---------------------------------------------------------------------------------------- batches with labelled samples


class OnlyLabelled(Contrast):
    uses_labels, labelled_share = True, 1.0


class SomeLabelled(Contrast):
    uses_labels, labelled_share = True, 0.25


LABELS = torch.arange(SAMPLES) % 3


def test_batches_have_the_labelled_samples_that_the_method_wants(start, tmp_path):
    labelled = torch.tensor([3, 8, 20, 21, 40])
    for kind, size, known in ((OnlyLabelled, 5, 5), (SomeLabelled, 16, 4)):
        run = start(kind, y=LABELS, labelled=labelled, directory=tmp_path / kind.__name__)
        run.fit()
        assert len(run.method.seen) == 9  # as without labels: three epochs of three steps
        for batch in run.method.seen:
            assert len(batch.index) == size
            assert torch.isin(batch.index[-known:], labelled).all()
            assert torch.equal(batch.y, LABELS[batch.index])


def test_each_pass_over_the_labelled_samples_has_views_of_its_own(start):
    run = start(OnlyLabelled, y=LABELS, labelled=torch.tensor([4, 2, 9]))
    run.fit()
    views = [batch.views[0][batch.index.argsort()] for batch in run.method.seen]
    assert all(not torch.equal(one, other) for one, other in itertools.combinations(views, 2))
    fresh = ToyViews()
    for number, found in enumerate(views):
        fresh.start_epoch(number)
        assert torch.equal(found, fresh(torch.tensor([2, 4, 9]))[0])


def test_with_every_label_known_nothing_changes(start, tmp_path):
    plain = start(Contrast, directory=tmp_path / "a")
    other = start(OnlyLabelled, y=LABELS, labelled=torch.arange(SAMPLES), directory=tmp_path / "b")
    assert losses(plain.fit()) == losses(other.fit())
    assert_equal_weights(plain.weights, other.weights)


@pytest.mark.parametrize("labelled", [[7, 30, 31], [*range(20)]])
@pytest.mark.parametrize("kind", [OnlyLabelled, SomeLabelled])
def test_a_killed_run_with_few_labels_continues_to_the_same_bits(start, tmp_path, kind, labelled):
    options = {"labelled": torch.tensor(labelled), "y": LABELS, "dropout": 0.2, "epochs": 4}
    straight = start(kind, directory=tmp_path / "straight", **options)
    straight.fit()
    with pytest.raises(Killed):
        start(kind, **options).fit(progress=kill_at("step", 7))
    resumed = start(kind, **options)
    resumed.fit()
    assert 0 not in resumed.views.epochs
    assert_equal_weights(resumed.weights, straight.weights)


def test_generator_depends_on_seed_and_step_only(start, tmp_path):
    class Draws(Contrast):
        def loss(self, batch, encode):
            self.draws = [*getattr(self, "draws", []), torch.rand((), generator=batch.generator).item()]
            return super().loss(batch, encode)

    runs = [start(Draws, seed=seed, directory=tmp_path / name) for seed, name in ((0, "a"), (0, "b"), (1, "c"))]
    for run in runs:
        run.fit()
    a, b, c = (run.method.draws for run in runs)
    assert a == b
    assert len({*a, *c}) == 18


def test_loss_runs_in_float32_and_the_encoder_in_its_precision(start):
    seen = {}

    class Looks(Contrast):
        def loss(self, batch, encode):
            seen["autocast"] = torch.is_autocast_enabled("cpu")
            seen["features"] = encode(batch.views)[0].dtype
            return super().loss(batch, encode)

    run = start(Looks, epochs=1, precision=Precision(torch.bfloat16, "test"))
    run.encoder[3].register_forward_hook(lambda _, __, output: seen.update(convolution=output.dtype))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        run.fit()
    assert seen == {"autocast": False, "features": torch.float32, "convolution": torch.bfloat16}


def test_after_step_counts_from_one_to_the_total(start):
    class Counts(Contrast):
        def after_step(self, step, total_steps):
            self.steps = [*getattr(self, "steps", []), (step, total_steps)]

    run = start(Counts)
    run.fit()
    assert run.method.steps == [(step, 9) for step in range(1, 10)]


# -------------------------------------------------------------------------------------------------------- what it tells


def test_learning_rate_follows_warm_up_and_cosine(start):
    seen = []
    start(epochs=3, warmup_epochs=1).fit(progress=seen.append)
    cosine = [0.05 * (1 + math.cos(math.pi * k / 6)) for k in range(6)]
    assert [record.learning_rate for record in seen] == pytest.approx([0.1 / 3, 0.2 / 3, 0.1, *cosine])
    assert [(record.epoch, record.step) for record in seen] == [(step // 3, step) for step in range(9)]


def test_epoch_record_adds_up(start):
    steps, epochs = [], []
    history = start().fit(progress=steps.append, report=epochs.append)
    assert epochs == history
    for record in history:
        mine = [step.loss for step in steps if step.epoch == record.epoch]
        assert record.loss == pytest.approx(sum(mine) / 3)
        assert record.images == 3 * 16 * 2  # an image counts once per view
        assert record.images_per_second == pytest.approx(record.images / record.seconds)
        assert 0 < record.feature_std <= 1.01
        assert 1 <= record.effective_rank <= 16


def test_record_of_collapsed_features_shows_it(start):
    class Collapses(Contrast):
        def loss(self, batch, encode):
            return torch.cat(encode(batch.views)).sub(1).square().mean()

    def constant(_, __, output):
        return output * 0 + 1

    run = start(Collapses, epochs=1, learning_rate=1e-9)
    run.encoder.register_forward_hook(constant)
    (record,) = run.fit()
    assert record.feature_std == pytest.approx(0, abs=1e-6)
    assert record.effective_rank == pytest.approx(1, abs=0.01)


def test_method_that_never_encodes_has_no_feature_measures(start):
    class Alone(Contrast):
        def __init__(self, config, encoder):
            super().__init__(config, encoder)
            self.encoder = encoder

        def loss(self, batch, encode):
            return self.encoder(batch.views[0]).square().mean()

    (record,) = start(Alone, epochs=1).fit()
    assert record.feature_std is None
    assert json.loads(record.to_json())["effective_rank"] is None


def test_validation_comes_every_few_epochs_and_at_the_end(start):
    run = start(epochs=5, validate_every=2)
    seen = []

    def validate():
        seen.append((run.encoder.training, torch.is_grad_enabled()))
        return {"val": torch.tensor(0.5)}

    history = run.fit(validate=validate)
    assert [dict(record.validation) for record in history] == [{}, {"val": 0.5}, {}, {"val": 0.5}, {"val": 0.5}]
    assert seen == [(False, False)] * 3


class Scores:
    """A validation that scores the epochs as told, and keeps the encoder that it saw in each."""

    def __init__(self, run, scores):
        self.run, self.scores, self.seen = run, iter(scores), []

    def __call__(self):
        self.seen.append({name: value.clone() for name, value in self.run.encoder.state_dict().items()})
        return {"val": next(self.scores)}


def test_the_best_validated_epoch_is_kept_the_latest_among_equals(start):
    run = start(epochs=4, validate_every=1, keep="best")
    scores = Scores(run, [0.2, 0.7, 0.7, 0.1])
    run.fit(validate=scores)
    assert_equal_weights(run.encoder.state_dict(), scores.seen[2])


def test_the_best_epoch_has_the_lowest_brier_score_not_the_highest_accuracy():
    encoder = torch.nn.Linear(1, 1, bias=False)
    best = BestEpoch(encoder)
    for weight, accuracy, brier in ((1.0, 0.9, 0.3), (2.0, 0.8, 0.2), (3.0, 0.95, 0.25)):
        torch.nn.init.constant_(encoder.weight, weight)
        best.see({"val_knn": accuracy, "val_knn_brier": brier})
    best.see({})
    best.restore()
    assert encoder.weight.item() == 2.0


def test_the_best_epoch_survives_an_interruption(start, tmp_path):
    values = {"epochs": 4, "validate_every": 1, "keep": "best"}
    straight = start(directory=tmp_path / "a", **values)
    straight.fit(validate=Scores(straight, [0.9, 0.7, 0.6, 0.1]))
    stopped = start(directory=tmp_path / "b", **values)
    with pytest.raises(StopIteration):
        stopped.fit(validate=Scores(stopped, [0.9, 0.7]))
    resumed = start(directory=tmp_path / "b", **values)
    resumed.fit(validate=Scores(resumed, [0.7, 0.6, 0.1][-(4 - len(resumed.trainer._resume())) :]))
    assert_equal_weights(straight.encoder.state_dict(), resumed.encoder.state_dict())


@pytest.mark.parametrize("options", [{"validate": None}, {"validate": dict, "every": 0}])
def test_a_best_epoch_needs_validations(start, options):
    run = start(keep="best", validate_every=options.get("every", 1))
    with pytest.raises(TrainingError, match=r"train\.validate_every"):
        run.fit(validate=options["validate"])


def test_validation_does_not_change_the_result(start, tmp_path):
    plain = start(dropout=0.2, directory=tmp_path / "a")
    plain.fit()
    watched = start(dropout=0.2, directory=tmp_path / "b", validate_every=1)
    watched.fit(validate=lambda: {"val": torch.rand(()).item()})
    assert_equal_weights(plain.weights, watched.weights)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_trains_on_a_gpu_in_reduced_precision(start):
    class OnGpu(Contrast):
        def loss(self, batch, encode):
            z = F.normalize(torch.cat(encode(batch.views)), dim=1)
            return (z @ z.T).square().mean()

    run = start(OnGpu, device=torch.device("cuda"), precision=Precision(torch.bfloat16, "test", "cuda"))
    run.views.images = run.views.images.cuda()
    assert all(math.isfinite(record.loss) for record in run.fit())
