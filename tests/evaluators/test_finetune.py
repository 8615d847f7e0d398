"""Fine-tuning on striped toy images: what is trained, what is chosen, what is left alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from sklearn.metrics import log_loss
from torch import nn

from medssl.conformance import toy
from medssl.errors import DataError
from medssl_evaluators._finetuning import Network, Plan, train_network
from medssl_evaluators.finetune import Finetune

QUICK = {"epochs": 6, "min_steps": 0, "batch_size": 16, "learning_rates": (0.003,)}
PLAN = Plan(
    encoder_rate=1e-3,
    head_rate=1e-2,
    epochs=2,
    min_steps=0,
    batch_size=8,
    weight_decay=0.05,
    warmup_epochs=1,
    seed=0,
)


def fit(train, val, seed=0, **options):
    return Finetune(Finetune.Config(**{**QUICK, **options}), seed).fit(train, val)


def plain(part):
    return part.plain(torch.arange(len(part)))


def accuracy(predictor, part):
    return (predictor.predict(plain(part)).argmax(dim=1) == part.y).float().mean().item()


def turned(part):
    """The same part under other labels."""
    return replace(part, y=(part.y + 1) % toy.CLASSES)


def test_classifies_new_images_and_says_what_was_chosen():
    train, val, test = (toy.image_part(n, seed) for seed, n in enumerate((60, 30, 90)))
    predictor = fit(train, val, epochs=20)
    assert accuracy(predictor, test) > 0.9
    assert predictor.selected["learning_rate"] == 0.003
    assert 1 <= predictor.selected["epoch"] <= 20
    proba = predictor.predict(plain(val))
    assert predictor.selected["val_accuracy"] == (proba.argmax(dim=1) == val.y).double().mean().item()


def test_the_encoder_that_it_is_given_stays_as_it_was():
    train, val = toy.image_part(32, 0), toy.image_part(15, 1)
    before = {name: value.clone() for name, value in train.encoder.state_dict().items()}
    predictor = fit(train, val, epochs=1)
    assert all(torch.equal(value, before[name]) for name, value in train.encoder.state_dict().items())
    tuned = predictor.network.encoder.state_dict()
    assert not torch.equal(tuned["layers.0.weight"], before["layers.0.weight"])


def test_head_starts_at_zero():
    part = toy.image_part(8, 0)
    assert (Network(part)(plain(part)) == 0).all()


def test_first_step_leaves_the_encoder_alone_and_moves_the_head():
    """With a head of zeros no gradient reaches the encoder; AdamW then moves it by weight decay only."""
    part, seen = toy.image_part(8, 0), []
    train_network(part, replace(PLAN, epochs=1, weight_decay=0.0), lambda epoch, network: seen.append(network))
    assert torch.equal(seen[0].encoder.layers[0].weight, part.encoder.layers[0].weight)
    assert seen[0].head.weight.abs().max() > 0


def test_learning_rates_warm_up_and_fall_and_the_head_learns_faster(monkeypatch):
    rates = []

    class Watched(torch.optim.AdamW):
        def step(self, closure=None):
            rates.append([(group["lr"], group["weight_decay"]) for group in self.param_groups])
            return super().step(closure)

    monkeypatch.setattr(torch.optim, "AdamW", Watched)
    train_network(toy.image_part(34, 0), replace(PLAN, epochs=3), lambda epoch, network: None)
    assert len(rates) == 3 * 4  # 34 images make 4 full batches of 8
    encoder = [step[0][0] for step in rates]
    assert encoder[:4] == pytest.approx([0.25e-3, 0.5e-3, 0.75e-3, 1e-3])
    assert encoder[4] == pytest.approx(1e-3)
    assert encoder[8] == pytest.approx(0.5e-3)
    assert encoder[4:] == sorted(encoder[4:], reverse=True)
    for step in rates:
        (weights, decay), (biases, none), (head, head_decay), (_, head_none) = step
        assert (weights, head) == (biases, pytest.approx(10 * weights))
        assert (decay, none, head_decay, head_none) == (0.05, 0.0, 0.05, 0.0)


def test_every_epoch_has_views_of_its_own_and_full_batches():
    part, asked = toy.image_part(20, 0), []

    def augmented(epoch, positions):
        asked.append((epoch, positions.tolist()))
        return part.augmented(epoch, positions)

    train_network(replace(part, augmented=augmented), PLAN, lambda epoch, network: None)
    assert [epoch for epoch, _ in asked] == [0, 0, 1, 1]
    assert all(len(set(rows)) == 8 for _, rows in asked)
    assert asked[0][1] != asked[2][1]


@pytest.mark.parametrize(("n", "passes"), [(2, 60), (10, 60), (35, 15), (64, 10), (1000, 10)])
def test_few_images_are_gone_through_more_often(n, passes):
    assert replace(PLAN, epochs=10, min_steps=60, batch_size=8).passes(n) == passes


def test_learning_rate_is_chosen_on_validation():
    train, val = toy.image_part(60, 0), toy.image_part(30, 1)
    options = {"learning_rates": (1e-9, 0.003), "epochs": 8, "select_epoch": "last"}
    assert fit(train, val, **options).selected["learning_rate"] == 0.003
    assert fit(train, turned(val), **options).selected["learning_rate"] == 1e-9  # untrained beats all wrong


def test_best_epoch_is_the_best_of_all_and_last_is_the_last():
    train, val = toy.image_part(24, 0), toy.image_part(30, 1)
    reached, losses = [], []

    def after_epoch(epoch, network):
        proba = network.predict_part(val)
        reached.append((proba.argmax(dim=1) == val.y).double().mean().item())  # the classes are equally frequent
        losses.append(log_loss(val.y, proba.numpy(), labels=range(toy.CLASSES)))

    plan = replace(PLAN, encoder_rate=0.003, head_rate=0.03, epochs=6, batch_size=16, warmup_epochs=1.0)
    train_network(train, plan, after_epoch)
    best, last = (fit(train, val, select_epoch=which) for which in ("best", "last"))
    assert best.selected["val_log_loss"] == pytest.approx(min(losses), rel=1e-5)
    assert losses[best.selected["epoch"] - 1] == min(losses)
    other = fit(train, val, select_epoch="best", choose_by="balanced_accuracy")
    assert other.selected["val_balanced_accuracy"] == pytest.approx(max(reached))
    assert other.selected["epoch"] - 1 == reached.index(max(reached))  # the earlier of equals
    assert last.selected["epoch"] == 6
    assert last.selected["val_accuracy"] == pytest.approx(reached[-1])


def test_equal_seeds_give_equal_networks_other_seeds_do_not_and_no_global_number_is_drawn():
    train, val = toy.image_part(32, 0), toy.image_part(15, 1)
    train = replace(train, encoder=nn.Sequential(train.encoder, nn.Dropout(0.5)))
    before = torch.get_rng_state()
    first, again, other = (fit(train, val, seed, epochs=2).predict(plain(val)) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_encoder_runs_in_the_precision_of_the_run_and_the_head_in_float32():
    part = toy.image_part(16, 0)
    seen = []

    class Spy(nn.Module):
        def __init__(self, encoder):
            super().__init__()
            self.encoder = encoder

        def forward(self, x):
            features = self.encoder(x)
            seen.append(features.dtype)
            return features

    def autocast():
        return torch.autocast("cpu", dtype=torch.bfloat16)

    lowered = replace(part, encoder=Spy(part.encoder), autocast=autocast)
    predictor = fit(lowered, toy.image_part(9, 1), epochs=1)
    assert set(seen) == {torch.bfloat16}
    assert predictor.predict(plain(part)).dtype == torch.float32


def test_single_class_is_predicted_and_said():
    predictor = fit(toy.image_part(8, 0, 1), toy.image_part(9, 1))
    assert (predictor.predict(plain(toy.image_part(5, 2))) == torch.tensor([1.0, 0.0, 0.0])).all()
    assert "only one class" in predictor.notes[0]


def test_two_images_are_enough():
    proba = fit(toy.image_part(2, 0), toy.image_part(3, 1)).predict(plain(toy.image_part(4, 2)))
    torch.testing.assert_close(proba.sum(dim=1), torch.ones(4))


@pytest.mark.parametrize("options", [{"select_epoch": "best"}, {"select_epoch": "last", "learning_rates": (0.1, 0.01)}])
def test_a_choice_needs_validation(options):
    train, val = toy.image_part(16, 0), toy.image_part(0, 1)
    single = fit(train, val, select_epoch="last", epochs=1)
    assert single.selected == {"learning_rate": 0.003, "epoch": 1}
    with pytest.raises(DataError, match="validation part is empty"):
        fit(train, val, epochs=1, **{key: value for key, value in options.items() if key != "epochs"})


def of_blocks():
    """Toy images with a transformer, whose blocks a run knows."""
    from medssl.train.encoder.building import build_encoder
    from medssl_encoders.timm import Timm

    encoder = build_encoder(Timm.of(backbone="test_vit"), toy.SIDE, seed=0)
    return replace(toy.image_part(16, 0), encoder=encoder, feature_dim=encoder.feature_dim)


def test_only_the_last_blocks_are_trained_if_asked():
    part, after = of_blocks(), {}
    before = {name: value.clone() for name, value in part.encoder.network.state_dict().items()}
    train_network(
        part, replace(PLAN, last_blocks=1), lambda _, network: after.update(network.encoder.network.state_dict())
    )
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    last = part.encoder.blocks[-1]
    assert any(name.startswith(f"{last}.") for name in moved)
    assert all(name.startswith((f"{last}.", "norm.", "fc_norm.")) for name in moved)


def test_layer_decay_slows_the_layers_near_the_input():
    part = of_blocks()
    groups = Network(part).groups(replace(PLAN, layer_decay=0.5))
    rates = sorted({group["lr"] for group in groups})
    count = len(part.encoder.blocks) + 2
    assert rates == [PLAN.encoder_rate * 0.5**power for power in reversed(range(count))] + [PLAN.head_rate]
    plain = Network(part).groups(PLAN)
    assert {group["lr"] for group in plain} == {PLAN.encoder_rate, PLAN.head_rate}


def test_more_blocks_than_there_are_is_an_option_to_change():
    from medssl.errors import OptionError

    with pytest.raises(OptionError, match=r"blocks of the encoder cannot be trained alone, because its blocks"):
        train_network(toy.image_part(16, 0), replace(PLAN, last_blocks=1), lambda *_: None)
