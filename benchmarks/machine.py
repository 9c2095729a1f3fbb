"""What the figures were measured on: the machine and the versions of everything that matters."""

import importlib.metadata
import os
import platform
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from benchmarks.servers import nats_server

_PACKAGES = ("trio", "trio-asyncio", "msgspec", "httptools", "nats-py", "websockets")


def describe_machine() -> Mapping[str, str]:
    """Processor, cores, memory, system, and how busy it was."""
    pages, page = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "memory": f"{pages * page / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "load before": f"{os.getloadavg()[0]:.1f}",
    }


def describe_versions(servers: Mapping[str, str]) -> Mapping[str, str]:
    """Versions of the servers, and of what Usher and both clusters stand on."""
    nats = {"nats-server": _output([nats_server(), "--version"])} if nats_server() else {}
    return {
        **servers,
        **{name: importlib.metadata.version(name) for name in _PACKAGES},
        **nats,
        **({"Node": version} if (version := _output(["node", "--version"])) else {}),
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.+)", info.read_text()) if info.exists() else None
    return found[1] if found else platform.machine()


def _output(command: list[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=False).stdout.strip()
    except OSError:
        return ""
