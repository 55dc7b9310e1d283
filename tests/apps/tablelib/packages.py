"""Debian packages that are missing are installed, and it is said which."""
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

from side import Failed, have

# What counts is the command where an installation outside dpkg serves as well (rustup).
COMMANDS = {"rustc": "rustc"}


def installed(package: str) -> bool:
    if package in COMMANDS and have(COMMANDS[package]):
        return True
    query = subprocess.run(["dpkg-query", "-W", "-f=${db:Status-Abbrev}", package], capture_output=True, text=True)
    return query.stdout.startswith("ii")


@contextmanager
def no_services():
    """Debian starts a service when it is installed, unless policy-rc.d forbids it. We start our own."""
    policy = Path("/usr/sbin/policy-rc.d")
    ours = os.getuid() == 0 and not policy.exists()
    if ours:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    try:
        yield
    finally:
        if ours:
            policy.unlink()


def install(packages: list[str]) -> None:
    want = [p for p in dict.fromkeys(packages) if not installed(p)]
    if not want:
        return
    print(f"== installing: {' '.join(want)}", file=sys.stderr)
    sudo = [] if os.getuid() == 0 else ["sudo"]
    apt = sudo + ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"]
    with no_services():
        for words in (["update"], ["install", "-y", "--no-install-recommends"] + want):
            p = subprocess.run(apt + words, capture_output=True, text=True)
            if p.returncode != 0:
                raise Failed(f"apt-get {words[0]} failed: {p.stderr.strip()[-300:]}")
