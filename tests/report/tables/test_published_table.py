"""A published number of other images stands in a table of its own, with what differs."""

from dataclasses import replace

from medssl.report.sections import make_sections
from medssl.report.tables.published_table import published_table
from medssl.study.results.summary import PublishedCell, summarise


def test_only_numbers_of_the_same_images_stand_beside_ours(make_run):
    run = make_run(protocol="official")
    [section] = make_sections(summarise([run]))
    cell = PublishedCell(
        method="mae",
        batch_size=64,
        evaluator="knn",
        metric="accuracy",
        value=0.5,
        low=None,
        high=None,
        source="a paper",
        split="official",
        images=run.data.test,
    )
    random = replace(cell, split="random", images=999, network="resnet50")
    section = replace(section, published=(cell, random, replace(cell, method="other"), replace(cell, split=None)))
    assert [label for label, _ in section.published_rows()] == ["mae", "other"]
    _, first, second = published_table(section)
    assert first[:4] == ["mae, batch 64", "knn", "accuracy", ".500"]
    assert first[5] == (
        f"random split, here official; 999 test images, here {run.data.test}; "
        "resnet50, here vit_tiny_patch16_224; batch 64, here 4"
    )
    assert second[5].startswith("unknown split, here official")
