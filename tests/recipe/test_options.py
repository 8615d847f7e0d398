import math
import subprocess
import sys
import typing
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Ge, Gt, Le, Lt

from medssl.errors import OptionError, PluginError
from medssl.recipe.options import build, describe

if typing.TYPE_CHECKING:
    from decimal import Decimal

Fraction = Annotated[float, Ge(0), Le(1)]


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of a make-believe method.

    Attributes:
        temperature: Divisor of the
            similarities.
        epochs: Passes: one over all images each.
    """

    temperature: Annotated[float, Gt(0)] = 0.1  # paper, sec. 4.1 (it says "#4")
    epochs: Annotated[int, Ge(1)] = 10
    # a comment of its own line,
    # and a second one
    scale: tuple[float, float] = (0.2, 1.0)
    mode: Literal["cosine", "constant"] = "cosine"
    layers: Literal[2, 3] = 2
    dim: Annotated[int, Gt(0)] | None = None  # as wide as the features
    share: Fraction | None = 0.5  # half of them
    verbose: bool = False
    name: str = "a # b"  # not the text before
    note: str | None = None
    weights: Path | None = None
    ks: tuple[int, ...] = (1, 5)
    extra: Mapping[str, Any] = field(default_factory=dict)
    momentum: Annotated[float, Ge(0), Lt(1)] = 0.9
    size: int | Literal["auto"] = "auto"
    fixed: int = field(default=3, init=False)

    def __post_init__(self):
        if self.scale[0] > self.scale[1]:
            raise ValueError(f"scale runs from {self.scale[0]} down to {self.scale[1]}; give the smaller one first")


@dataclass(frozen=True, kw_only=True)
class Required:
    path: Path


@dataclass(frozen=True, kw_only=True)
class NotImported:
    price: "Decimal" = 0


@dataclass(frozen=True, kw_only=True)
class Child(Config):
    temperature: float = 0.5  # ours
    sigma: float = 0.5  # DCLW


def problem(values, config=Config) -> str:
    with pytest.raises(OptionError) as caught:
        build(config, values, "method")
    return str(caught.value)


# ---------------------------------------------------------------------------------------------------------- building


def test_left_out_options_keep_their_defaults():
    assert build(Config, {"epochs": 3}, "method") == Config(epochs=3)
    assert build(Config, None, "method") == Config()


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("temperature", "0.2", 0.2),
        ("temperature", "1e-3", 0.001),  # YAML 1.1 reads this as a text
        ("temperature", "2", 2.0),
        ("temperature", 2, 2.0),
        ("epochs", "20", 20),
        ("epochs", 20.0, 20),
        ("epochs", "010", 10),  # YAML 1.1 reads this as octal 8
        ("scale", "[0.2, 1]", (0.2, 1.0)),
        ("scale", [0.08, "1e-1"], (0.08, 0.1)),
        ("mode", "constant", "constant"),
        ("layers", "3", 3),
        ("dim", "null", None),
        ("dim", None, None),
        ("dim", "128", 128),
        ("share", "1", 1.0),
        ("verbose", "true", True),
        ("verbose", "no", False),
        ("verbose", True, True),
        ("name", "123", "123"),
        ("name", "true", "true"),
        ("name", "a: b", "a: b"),
        ("note", "null", None),
        ("note", "none", "none"),
        ("weights", "runs/x/encoder.safetensors", Path("runs/x/encoder.safetensors")),
        ("ks", "[1, 10, 100]", (1, 10, 100)),
        ("extra", "{a: 1, b: true}", {"a": 1, "b": True}),
        ("size", "auto", "auto"),
        ("size", "8", 8),
    ],
)
def test_values_and_texts_become_the_type_of_their_field(name, given, expected):
    got = getattr(build(Config, {name: given}, "method"), name)
    assert got == expected
    assert type(got) is type(expected)


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("temperature", 0, "number > 0"),
        ("temperature", "-1", "number > 0"),
        ("temperature", "warm", "number > 0"),
        ("temperature", True, "number > 0"),
        ("temperature", "true", "number > 0"),
        ("temperature", math.inf, "number > 0"),
        ("temperature", "nan", "number > 0"),
        ("temperature", None, "number > 0"),
        ("epochs", 2.5, "integer >= 1"),
        ("epochs", False, "integer >= 1"),
        ("epochs", 0, "integer >= 1"),
        ("scale", "[0.2]", "[number, number]"),
        ("scale", [0, True], "[number, number]"),
        ("scale", "[0.2, 1", "[number, number]"),
        ("mode", "cosin", "one of cosine, constant"),
        ("layers", 4, "one of 2, 3"),
        ("dim", 0, "integer > 0 or null"),
        ("share", 1.1, "number from 0 to 1 or null"),
        ("verbose", "perhaps", "true or false"),
        ("name", 5, "text"),
        ("weights", 5, "path or null"),
        ("ks", "[1, x]", "[integer, ...]"),
        ("extra", "[1]", "mapping"),
        ("momentum", 1, "number >= 0 and < 1"),
        ("size", "big", "integer or one of auto"),
    ],
)
def test_a_wrong_value_is_refused_with_what_was_expected_and_what_was_given(name, given, expected):
    assert problem({name: given}) == f"method: {name}: expected {expected}, got {given!r}."


def test_unknown_option_suggests_the_closest_and_lists_all():
    text = problem({"temprature": 0.2})
    assert text.startswith("method: no option 'temprature'. Did you mean 'temperature'? Options: temperature, epochs,")
    assert "fixed" not in text, "a field that the constructor does not take is no option"


def test_a_dataclass_without_options_says_so():
    @dataclass(frozen=True)
    class Nothing:
        """No options."""

    assert problem({"x": 1}, Nothing) == "method: no option 'x'. It has no options."


def test_all_problems_come_in_one_message():
    lines = problem({"temprature": 1, "epochs": 0, "mode": "linear", "verbose": True}).splitlines()
    assert lines[0] == "method: 3 options cannot be used."
    assert [line.split()[0] for line in lines[1:]] == ["no", "epochs:", "mode:"]


def test_what_the_dataclass_itself_refuses_is_an_option_error():
    with pytest.raises(OptionError, match=r"^method: scale runs from 1\.0 down to 0\.2; give the smaller") as caught:
        build(Config, {"scale": [1, 0.2]}, "method")
    assert isinstance(caught.value.__cause__, ValueError)


def test_an_option_without_a_default_must_be_set():
    assert problem({}, Required) == "method: path: must be set."
    assert build(Required, {"path": "x"}, "dataset").path == Path("x")


@pytest.mark.parametrize("section", [["epochs"], "epochs", 3])
def test_a_section_that_is_no_mapping_is_refused(section):
    assert "expected options by name" in problem(section)


def test_a_long_value_is_cut_in_the_message():
    assert len(problem({"mode": "x" * 5000})) < 200


def test_an_annotation_that_exists_for_type_checkers_only_is_the_plugins_fault():
    with pytest.raises(PluginError, match=r"NotImported cannot be read\. name 'Decimal'.*TYPE_CHECKING"):
        build(NotImported, {"price": 3}, "method")


def test_importing_options_leaves_pydantic_alone():
    code = "import sys, medssl.recipe.options; print('pydantic' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"


# -------------------------------------------------------------------------------------------------------- describing


def test_describe_gives_name_type_default_and_the_comment_beside_it():
    options = {option.name: option for option in describe(Config)}
    assert list(options)[:3] == ["temperature", "epochs", "scale"]
    assert "fixed" not in options
    assert (options["temperature"].type, options["temperature"].default) == ("number > 0", 0.1)
    assert options["temperature"].comment == 'paper, sec. 4.1 (it says "#4")'
    assert options["scale"].comment == "a comment of its own line, and a second one"
    assert options["share"].comment == "half of them"
    assert options["name"].comment == "not the text before"
    assert options["epochs"].comment == options["mode"].comment == ""
    assert options["extra"].default == {}


def test_describe_gives_the_meaning_from_the_docstring():
    options = {option.name: option for option in describe(Config)}
    assert options["temperature"].meaning == "Divisor of the similarities."
    assert options["epochs"].meaning == "Passes: one over all images each."
    assert options["mode"].meaning == ""


def test_describe_takes_inherited_options_and_lets_the_subclass_win():
    options = {option.name: option for option in describe(Child)}
    assert (options["temperature"].default, options["temperature"].comment) == (0.5, "ours")
    assert options["temperature"].meaning == "Divisor of the similarities."
    assert options["dim"].comment == "as wide as the features"
    assert options["sigma"].comment == "DCLW"


def test_describe_works_without_a_source_file():
    namespace: dict[str, Any] = {"__name__": "nowhere", "dataclass": dataclass}
    exec("@dataclass(frozen=True)\nclass Typed:\n    x: int = 3  # lost", namespace)
    (option,) = describe(namespace["Typed"])
    assert (option.name, option.type, option.default, option.comment) == ("x", "integer", 3, "")


def test_describe_shows_that_an_option_must_be_given():
    assert describe(Required)[0].default is MISSING
