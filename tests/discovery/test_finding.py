import subprocess
import sys
from pathlib import Path

import entrypoints
import pytest

from medssl.contracts.kinds import KINDS
from medssl.discovery import Plugin, discover, find, load, package_summary
from medssl.errors import PluginError

GROUPS = {kind.name: kind.group for kind in KINDS}
FIRST_PARTY = {
    "method": {"dcl": "medssl_methods.dcl:DCL", "simclr": "medssl_methods.simclr:SimCLR"},
    "dataset": {"colorectal": "medssl_datasets.colorectal:Colorectal"},
    "evaluator": {"knn": "medssl_evaluators.knn:KNN"},
}


def point(name: str, target: str, distribution: str = "medssl", version: str = "0.1.0") -> entrypoints.EntryPoint:
    owner = entrypoints.Distribution(distribution, version)
    return entrypoints.EntryPoint.from_string(target, name, owner)


def scan(*extra: entrypoints.EntryPoint, kind: str = "method"):
    """A scan of the first-party entry points and, in one group, of some more."""

    def read(group: str) -> list[entrypoints.EntryPoint]:
        (wanted,) = (k for k, g in GROUPS.items() if g == group)
        return [point(n, t) for n, t in FIRST_PARTY.get(wanted, {}).items()] + (list(extra) if wanted == kind else [])

    return read


def installed(*extra: entrypoints.EntryPoint, kind: str = "method") -> list[Plugin]:
    return [plugin for k in GROUPS for plugin in discover(k, scan=scan(*extra, kind=kind))]


def message(kind: str, name: str, *extra: entrypoints.EntryPoint, **options) -> str:
    with pytest.raises(PluginError) as caught:
        find(kind, name, plugins=installed(*extra), **options)
    return str(caught.value)


@pytest.fixture(autouse=True)
def away_from_any_project(tmp_path, monkeypatch):
    """An empty working directory: no pyproject.toml above it, so no stale install is seen by accident."""
    monkeypatch.chdir(tmp_path)


# ---------------------------------------------------------------------------------------------------------- in memory


def test_discovery_lists_by_name_with_owner_version_and_target():
    plugins = discover("method", scan=scan(point("Ack", "acme.ack:Ack", "medssl_Acme", "2.0")))
    assert [p.name for p in plugins] == ["Ack", "dcl", "simclr"]
    assert plugins[0] == Plugin("method", "Ack", "medssl-acme", "2.0", "acme.ack:Ack")
    assert plugins[1] == Plugin("method", "dcl", "medssl", "0.1.0", "medssl_methods.dcl:DCL")


def test_discovery_imports_nothing():
    plugins = discover("method", scan=scan(point("broken", "no_such_module_anywhere:Thing")))
    assert "broken" in [p.name for p in plugins]


def test_a_plugin_found_twice_is_listed_once_whatever_the_spelling_of_its_package():
    twice = (point("ack", "acme:Ack", "medssl_acme", "1"), point("ack", "acme:Ack", "Medssl-ACME", "1"))
    plugins = discover("method", scan=scan(*twice))
    assert [p.name for p in plugins].count("ack") == 1
    assert find("method", "ack", plugins=plugins).distribution == "medssl-acme"


def test_an_entry_point_without_a_distribution_is_listed():
    nobody = entrypoints.EntryPoint("ack", "acme", None)
    plugin = find("method", "ack", plugins=discover("method", scan=scan(nobody)))
    assert (plugin.distribution, plugin.version, plugin.target) == ("unknown", "?", "acme")


def test_find_returns_the_plugin_of_that_kind_and_name():
    assert find("dataset", "colorectal", plugins=installed()).target == "medssl_datasets.colorectal:Colorectal"


def test_unknown_name_suggests_the_closest_and_lists_the_installed():
    assert message("method", "dlc") == (
        "no method named 'dlc'. Did you mean 'dcl'? Installed methods: dcl, simclr. (medssl list methods)"
    )


def test_unknown_name_in_capitals_suggests_the_lower_case_one():
    assert "Did you mean 'simclr'?" in message("method", "SimCLR")


def test_unknown_name_when_nothing_is_installed_says_so():
    with pytest.raises(PluginError, match=r"^no method named 'dcl'\. No methods are installed\. \(medssl list methods"):
        find("method", "dcl", plugins=[])


def test_name_of_another_kind_asks_whether_the_options_were_swapped():
    assert message("method", "colorectal") == (
        "'colorectal' is a dataset, not a method; did you swap --method and --dataset?"
    )
    assert message("dataset", "knn") == (
        "'knn' is an evaluator, not a dataset; did you swap --dataset and --evaluator?"
    )


def test_known_but_not_installed_name_says_which_package_brings_it():
    assert message("method", "dino", packages={"dino": "medssl-no-such-package"}) == (
        "method 'dino' comes with the package medssl-no-such-package, which is not installed: "
        "pip install medssl-no-such-package"
    )


def test_known_name_that_the_installed_version_of_its_package_lacks_asks_for_an_upgrade():
    text = message("method", "dino", packages={"dino": "pytest"})
    assert f"the installed version {pytest.__version__} does not provide it: pip install --upgrade pytest" in text


def test_name_claimed_by_two_distributions_names_both_and_the_way_out():
    assert message("method", "dcl", point("dcl", "foo:DCL", "medssl_foo", "0.3")) == (
        "method 'dcl' is provided by medssl 0.1.0 (medssl_methods.dcl:DCL) and medssl-foo 0.3 (foo:DCL). "
        "Say which one you mean: medssl:dcl or medssl-foo:dcl."
    )


@pytest.mark.parametrize("spelling", ["medssl-foo:dcl", "medssl_foo:dcl", "Medssl.Foo:dcl"])
def test_distribution_and_name_pick_one_of_two_claims(spelling):
    plugins = installed(point("dcl", "foo:DCL", "medssl_foo", "0.3"))
    assert find("method", spelling, plugins=plugins).target == "foo:DCL"
    assert find("method", "medssl:dcl", plugins=plugins).target == "medssl_methods.dcl:DCL"


def test_a_clash_leaves_every_other_name_alone():
    plugins = installed(point("dcl", "foo:DCL", "medssl_foo", "0.3"))
    assert find("method", "simclr", plugins=plugins).name == "simclr"


def test_one_distribution_that_defines_a_name_twice_is_to_be_reinstalled():
    text = message("method", "ack", point("ack", "a:A", "acme"), point("ack", "b:B", "acme"))
    assert text == (
        "method 'ack' is defined twice, by acme 0.1.0 (a:A) and acme 0.1.0 (b:B). "
        "Run pip install --force-reinstall acme."
    )


def test_mistyped_distribution_before_the_colon_suggests_the_right_one():
    text = message("method", "medsl-foo:dcl", point("dcl", "foo:DCL", "medssl-foo", "0.3"))
    assert "Did you mean 'medssl-foo:dcl'?" in text


@pytest.mark.parametrize("plugins", [None, []])
def test_none_is_the_stand_in_of_a_kind_that_has_one(plugins):
    from medssl.contracts.methods import AsGiven

    found = find("method", "none", plugins=plugins)
    assert (found.name, found.distribution) == ("none", "medssl")
    assert load(found) is AsGiven
    with pytest.raises(PluginError, match="no dataset named 'none'"):
        find("dataset", "none", plugins=plugins)


# ------------------------------------------------------------------------------------------------------ stale install


@pytest.mark.parametrize("below", [".", "src/deep"])
def test_name_declared_in_a_nearby_pyproject_asks_for_a_reinstall(tmp_path, monkeypatch, below):
    (tmp_path / "pyproject.toml").write_text('[project.entry-points."medssl.methods"]\nnewest = "mine:Newest"\n')
    (tmp_path / below).mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(tmp_path / below)
    text = message("method", "newest")
    assert text.startswith(f"no method named 'newest' is installed, but {tmp_path / 'pyproject.toml'} declares it.")
    assert f"run pip install -e . in {tmp_path} again." in text
    assert "pip install -e" not in message("dataset", "newest"), "declared as a method, asked for as a dataset"


@pytest.mark.parametrize("content", ["this is no toml", "[project]\nname='x'\n", "[project]\nentry-points = 3\n"])
def test_a_pyproject_that_does_not_declare_the_name_changes_nothing(tmp_path, content):
    (tmp_path / "pyproject.toml").write_text(content)
    assert message("method", "dlc").startswith("no method named 'dlc'. Did you mean 'dcl'?")


# ------------------------------------------------------------------------------------------------------------ loading


def test_load_returns_what_the_entry_point_names():
    assert load(Plugin("method", "path", "d", "1", "pathlib:Path")) is Path


def test_broken_plugin_is_named_with_its_package_and_cause_and_the_others_still_load():
    broken = point("foo", "no_such_module_anywhere:Foo", "medssl-foo", "0.3")
    sound = point("ok", "pathlib:Path", "medssl-ok", "1.0")
    plugins = discover("method", scan=scan(broken, sound))
    with pytest.raises(PluginError) as caught:
        load(find("method", "foo", plugins=plugins))
    assert str(caught.value) == (
        "method 'foo' (medssl-foo 0.3, no_such_module_anywhere:Foo) cannot be loaded: "
        "ModuleNotFoundError: No module named 'no_such_module_anywhere'. "
        "The other plugins are not affected. Run again with `medssl --traceback` to see where it failed."
    )
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)
    assert load(find("method", "ok", plugins=plugins)) is Path


def test_plugin_whose_class_is_gone_is_broken():
    with pytest.raises(PluginError, match=r"cannot be loaded: AttributeError: .*NoSuchClass"):
        load(Plugin("method", "foo", "d", "1", "pathlib:NoSuchClass"))


# ---------------------------------------------------------------------------------------------- real metadata on disk


def dist_info(folder: Path, name: str, entry_points: str | bytes, version: str = "1.0") -> Path:
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    content = entry_points.encode() if isinstance(entry_points, str) else entry_points
    (info / "entry_points.txt").write_bytes(content)
    return info / "entry_points.txt"


SOUND = "[medssl.methods]\nack = pathlib:Path\n"
UNREADABLE = {
    "a key given twice": "[console_scripts]\na = b:c\na = d:e\n",
    "no header": "a = b:c\n",
    "a line without a value": "[console_scripts]\nnonsense\n",
    "not UTF-8": b"[console_scripts]\nbl\xff\xfe = b:c\n",
    "a malformed target": "[medssl.methods]\nwrong = not a target\n",
}


@pytest.mark.parametrize("content", UNREADABLE.values(), ids=UNREADABLE)
def test_an_unreadable_file_of_a_foreign_package_is_named_and_stops_nothing(tmp_path, monkeypatch, content):
    dist_info(tmp_path, "medssl_ack", SOUND, version="2.5")
    culprit = dist_info(tmp_path, "aaa_foreign", content)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.warns(UserWarning, match="cannot be read") as caught:
        plugins = discover("method")
    assert [str(w.message).startswith(f"{culprit} cannot be read: ") for w in caught] == [True]
    assert find("method", "ack", plugins=plugins) == Plugin("method", "ack", "medssl-ack", "2.5", "pathlib:Path")
    assert load(find("method", "ack", plugins=plugins)) is Path


def test_the_slow_way_round_a_broken_file_finds_the_same_plugins(tmp_path, monkeypatch):
    names = ("medssl_ack", "Medssl.Odd_Name")
    for name in names:
        dist_info(tmp_path / "site", name, f"[medssl.methods]\n{name.lower()[-3:]} = pathlib:Path\n")
    dist_info(tmp_path / "later", "medssl_ack", "[medssl.methods]\nack = shadowed:Path\n", version="9")
    for folder in ("later", "site"):  # "site" ends up first
        monkeypatch.syspath_prepend(tmp_path / folder)
    quick = discover("method")
    assert {"ack", "ame"} <= {plugin.name for plugin in quick}
    dist_info(tmp_path / "site", "aaa_foreign", "no header = here\n")
    with pytest.warns(UserWarning, match="aaa_foreign"):
        assert discover("method") == quick


def test_a_package_installed_while_running_is_seen(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    assert "ack" not in [plugin.name for plugin in discover("method")]
    dist_info(tmp_path, "medssl_ack", SOUND)
    assert "ack" in [plugin.name for plugin in discover("method")]


def test_entry_point_names_keep_their_capitals(tmp_path, monkeypatch):
    dist_info(tmp_path, "medssl_ack", "[medssl.methods]\nAcK = pathlib:Path\n")
    dist_info(tmp_path, "aaa_foreign", "no header = here\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.warns(UserWarning, match="aaa_foreign"):
        assert "AcK" in [plugin.name for plugin in discover("method")]


def test_find_discovers_what_is_installed_when_not_told(tmp_path, monkeypatch):
    dist_info(tmp_path, "medssl_ack", SOUND)
    monkeypatch.syspath_prepend(tmp_path)
    assert find("method", "ack").distribution == "medssl-ack"
    with pytest.raises(PluginError, match="did you swap --dataset and --method"):
        find("dataset", "ack")


def test_a_package_speaks_for_its_plugins_where_the_catalogue_does_not_know_them(tmp_path, monkeypatch):
    points = dist_info(tmp_path, "medssl_ack", SOUND)
    monkeypatch.syspath_prepend(tmp_path)
    assert package_summary("medssl-ack") == ""
    with (points.parent / "METADATA").open("a") as file:
        file.write("Summary: The loss of the future.\n")
    assert package_summary("medssl-ack") == "The loss of the future."
    assert package_summary("medssl-nowhere") == ""


def test_listing_imports_no_heavy_library():
    heavy = ["torch", "torchvision", "lightly", "timm", "sklearn", "matplotlib", "pydantic", "numpy"]
    code = (
        "import sys\nfrom medssl import catalog, discovery\n"
        "from medssl.contracts.kinds import KINDS\n"
        "[discovery.discover(kind.name) for kind in KINDS]\ncatalog.load_catalog()\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
