"""The locks: complete, equal, and without the address of any index."""

import json
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
REQUIREMENT = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)


def normal(name: str) -> str:
    """A distribution's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def locked(name: str) -> dict[str, str]:
    """The versions in a lock."""
    text = (ROOT / "deploy" / name).read_text()
    return {normal(package): version for package, version in REQUIREMENT.findall(text)}


def test_lock_has_every_package_that_the_project_asks_for() -> None:
    """After a change to pyproject.toml: `.ci/lock`."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *(item for extra in project["optional-dependencies"].values() for item in extra)]
    names = {normal(re.split(r"[<>=!~\[; ]", item, maxsplit=1)[0]) for item in asked} - {normal(project["name"])}
    assert names - locked("requirements.lock").keys() == set()


def test_lock_and_constraints_have_the_same_versions() -> None:
    """What CI tests is what the demo and the image install."""
    assert locked("requirements.lock") == locked("constraints.txt")


def test_image_installs_what_the_node_needs_as_tested() -> None:
    """Every dependency, no extra, and the versions of CI."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {normal(re.split(r"[<>=!~\[; ]", item, maxsplit=1)[0]) for item in project["dependencies"]}
    image = locked("image.lock")
    assert names - image.keys() == set()
    assert image.items() <= locked("requirements.lock").items()
    assert image.keys() & {"mypy", "pip", "pytest", "setuptools"} == set()


@pytest.mark.parametrize("name", ["requirements.lock", "image.lock", "build.lock"])
def test_lock_has_a_hash_for_every_package(name: str) -> None:
    """`pip install --require-hashes` takes nothing else."""
    text = (ROOT / "deploy" / name).read_text()
    entries = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]
    assert [entry.partition("==")[0] for entry in entries if "--hash=sha256:" not in entry] == []


@pytest.mark.parametrize("name", ["requirements.lock", "constraints.txt", "image.lock", "build.lock"])
def test_lock_names_no_index(name: str) -> None:
    """Whose mirror it was made with is nobody's business."""
    text = (ROOT / "deploy" / name).read_text()
    assert re.findall(r"https?://|file:|--(extra-)?index-url|--find-links", text) == []


def test_npm_lock_names_no_registry() -> None:
    """The same for npm."""
    lock = json.loads((ROOT / "tests" / "compat" / "package-lock.json").read_text())
    assert [name for name, package in lock["packages"].items() if "resolved" in package] == []
    assert all("integrity" in package for name, package in lock["packages"].items() if name)
