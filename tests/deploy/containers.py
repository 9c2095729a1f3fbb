"""Real containers for tests, where root has podman, buildah and runc on Debian: no registry, no daemon, nothing left behind.

    with Engine(tmp_path) as engine:
        engine.build("localhost/usher:test")
        container = engine.run("localhost/usher:test", ...)

Rules for whoever edits this file: images, containers and settings are below one directory, so that nobody's own are
touched; the bases are made from Debian's packages, and the last one has no shell and no program but Python. Whatever this
machine cannot do is a skip with its reason; what the Dockerfile cannot do is a failure.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import pytest

ROOT: Final = Path(__file__).parents[2]
BUILD_BASE: Final = "localhost/usher-base:build"
RUNTIME_BASE: Final = "localhost/usher-base:runtime"
SEEN_FROM_PIP: Final = ("index-url", "extra-index-url", "trusted-host", "cert", "proxy")

_PACKAGES: Final = ("python3-venv", "libstdc++6", "dash", "coreutils")
_CLOSURE: Final = ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")
_UNUSED: Final = ("cdebconf", "debconf", "dpkg", "libgdbm", "libperl", "perl", "tar")
"""Beginnings of the names of packages that these depend on and a base does without."""
_BULK: Final = ("doc", "i18n", "info", "locale", "man", "perl5")
_PROGRAM_PLACES: Final = ("bin", "sbin", "usr/bin", "usr/sbin")
_CONTAINERS_CONF: Final = """\
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""


class Engine:
    """podman and buildah with a storage of their own; `with` removes what is in it."""

    def __init__(self, directory: Path) -> None:
        """Skip the test where the programs or the rights are missing."""
        missing = [name for name in ("podman", "buildah", "runc", "apt-get", "dpkg") if shutil.which(name) is None]
        if missing or os.geteuid() != 0:
            pytest.skip(f"containers need root on Debian with {', '.join(missing) or 'podman, buildah and runc'}")
        self._directory = directory
        (directory / "containers.conf").write_text(_CONTAINERS_CONF)
        places = f'graphroot = "{directory}/storage"\nrunroot = "{directory}/run"\n'
        (directory / "storage.conf").write_text(f'[storage]\ndriver = "overlay"\n{places}')
        self._env = os.environ | {
            "CONTAINERS_CONF": str(directory / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(directory / "storage.conf"),
        }

    def __enter__(self) -> Self:
        self._import_bases()
        tried = self.command("podman", "run", "--rm", "--network", "none", RUNTIME_BASE, "/usr/bin/python3", "-c", "")
        if tried.returncode != 0:
            pytest.skip(f"this machine runs no containers: {tried.stderr.strip()[-300:]}")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for arguments in (("rm", "--force", "--all", "--time", "0"), ("rmi", "--force", "--all")):
            self.command("podman", *arguments)
        with suppress(OSError):  # podman may keep its storage mounted on itself
            subprocess.run(["umount", f"{self._directory}/storage/overlay"], capture_output=True, check=False)
        shutil.rmtree(self._directory, ignore_errors=True)

    def command(self, *arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
        """Run a program with this engine's settings; whatever its status."""
        return subprocess.run(arguments, env=self._env, cwd=ROOT, capture_output=True, text=True, check=False, **more)

    def podman(self, *arguments: str) -> str:
        """What podman says; AssertionError if it fails."""
        done = self.command("podman", *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def build(self, tag: str) -> None:
        """Build deploy/Dockerfile on the local bases."""
        (self._directory / "pip.conf").write_text(_pip_settings())
        mounts = {str(self._directory / "pip.conf"): "/etc/pip.conf", "/etc/ssl/certs": "/etc/ssl/certs"}
        done = self.command(
            *("buildah", "bud", "--isolation", "chroot", "--network", "host", "--tag", tag, "--file", "deploy/Dockerfile"),
            *(f"--volume={here}:{there}:ro" for here, there in mounts.items()),
            *(f"--build-arg=PYTHON_IMAGE={BUILD_BASE}", f"--build-arg=RUNTIME_IMAGE={RUNTIME_BASE}", "."),
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]

    def inspect(self, name: str) -> dict[str, Any]:
        """What podman knows of an image or a container."""
        return dict(json.loads(self.podman("inspect", name))[0])

    def _import_bases(self) -> None:
        """The base to build on, and the same without any program but Python."""
        tree = self._directory / "root"
        for package in _download(self._directory):
            subprocess.run(["dpkg", "-x", package, tree], check=True)
        for name in _BULK:
            shutil.rmtree(tree / "usr" / "share" / name, ignore_errors=True)
        self._import(tree, BUILD_BASE)
        for place in _PROGRAM_PLACES:
            for program in (tree / place).glob("*"):
                if not program.name.startswith("python3"):
                    program.unlink()
        self._import(tree, RUNTIME_BASE)
        shutil.rmtree(tree)

    def _import(self, tree: Path, tag: str) -> None:
        tar = self._directory / "root.tar"
        subprocess.run(["tar", "-C", tree, "-cf", tar, "."], check=True)
        self.podman("import", "--quiet", str(tar), tag)
        tar.unlink()


def _download(directory: Path) -> Iterator[Path]:
    """Debian's packages for a base, from wherever this machine gets its own."""
    lister = ["apt-cache", "depends", "--recurse", *(f"--no-{relation}" for relation in _CLOSURE), *_PACKAGES]
    listed = subprocess.run(lister, capture_output=True, text=True, check=False).stdout
    packages = sorted({line for line in listed.splitlines() if line[:1].isalnum() and not line.startswith(_UNUSED)})
    place = directory / "packages"
    place.mkdir()
    got = subprocess.run(["apt-get", "download", "-q", *packages], cwd=place, capture_output=True, text=True, check=False)
    if got.returncode != 0:
        pytest.skip(f"no packages for a base image: {got.stderr.strip()[-300:]}")
    return place.glob("*.deb")


def _pip_settings() -> str:
    """This machine's way to an index, as a pip.conf."""
    listed = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True)
    pairs = (line.partition("=") for line in listed.stdout.splitlines())
    settings = {name.rpartition(".")[2]: shlex.split(value)[0] for name, _, value in pairs if value.strip("'\"")}
    lines = [f"{name} = {value}" for name, value in settings.items() if name in SEEN_FROM_PIP]
    return "\n".join(["[global]", *lines, ""])
