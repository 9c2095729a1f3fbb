"""The Dockerfile as it is written; `test_image.py` builds and runs it."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
TEXT = DOCKERFILE.read_text().replace("\\\n", " ")
LAST_STAGE = TEXT.rpartition("\nFROM ")[2]


def instructions(name: str, text: str = TEXT) -> list[str]:
    """What stands behind each instruction of that name."""
    return re.findall(rf"^{name} (.*)$", text, re.MULTILINE)


def test_dockerfile_is_clean_by_hadolint() -> None:
    """Pinned, quiet, exec form: what its rules say, without an exception."""
    hadolint = Path(sys.executable).parent / "hadolint"
    ran = subprocess.run([hadolint, DOCKERFILE], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    assert "hadolint ignore" not in TEXT


def test_dockerfile_installs_only_what_is_locked() -> None:
    """Every pip either checks hashes, or sees no index, or builds this project with what is there."""
    commands = re.findall(r"tools/bin/pip [^&\n]*", TEXT)
    assert len(commands) == 4
    assert [
        command
        for command in commands
        if not any(word in command for word in ("--require-hashes", "--no-index", "--no-build-isolation"))
    ] == []


def test_dockerfile_runs_nothing_in_the_last_stage() -> None:
    """Its base need not have a shell."""
    assert len(instructions("FROM")) == 2
    assert instructions("RUN", LAST_STAGE) == []
    assert instructions("USER", LAST_STAGE) == ["10001:10001"]


def test_dockerfile_names_the_version_of_the_project() -> None:
    """A label that lies is worse than none."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"VERSION={version}" in instructions("ARG")


def test_build_context_has_what_is_copied_and_nothing_else() -> None:
    """Neither secrets nor the history of the repository reach the builder."""
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    let_in = {line.removeprefix("!") for line in lines if line.startswith("!")}
    copied = {source for line in instructions("COPY") if "--from" not in line for source in line.split()[:-1]}
    assert lines[0] == "*"
    assert let_in == copied
