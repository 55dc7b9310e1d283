"""The two sides of a comparison, and how a program is run on one of them."""
import os
import resource
import shutil
import signal
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


class Failed(Exception):
    pass


@dataclass(frozen=True)
class Side:
    name: str
    core: int | None = None  # pinned there
    lib: str = ""
    maxprocs: int = 0  # the library's own default
    also: str = ""  # a library of the program's, preloaded on both sides

    def command(self, words: list[str]) -> list[str]:
        # By env and not by our own environment: taskset is not to be preloaded.
        env = ["env", "-u", "LD_PRELOAD", "-u", "GMP_MAXPROCS"]
        env += [f"GMP_MAXPROCS={self.maxprocs}"] if self.maxprocs else []
        libs = [lib for lib in (self.lib, self.also) if lib]
        env += [f"LD_PRELOAD={' '.join(libs)}"] if libs else []
        pin = [] if self.core is None else ["taskset", "-c", str(self.core)]
        return pin + env + words


NATIVE = Side("native")


def ending(status: int) -> str:
    return f"killed by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"


def check_loaded(side: Side, err: str) -> None:
    # ld.so says so and goes on: the figures would be the native ones.
    if (side.lib or side.also) and "cannot be preloaded" in err:
        raise Failed(f"the library was not loaded: {err.strip()}")


def run(words: list[str], side: Side, timeout: float, ok=(0,), keep_output=True) -> str:
    p = subprocess.Popen(side.command(words), stdout=subprocess.PIPE if keep_output else subprocess.DEVNULL,
                         stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, start_new_session=True)
    try:
        out, err = p.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(p.pid, signal.SIGKILL)
        p.communicate()
        raise Failed(f"hung: no end within {timeout:g} s") from None
    out = out or ""
    check_loaded(side, err)
    if p.returncode not in ok:
        raise Failed(f"{Path(words[0]).name}: {ending(p.returncode)}: {(err.strip() or out.strip())[-300:]}")
    return out + err


@contextmanager
def server(words: list[str], side: Side):
    """A server in the background, as (process, its first line of output)."""
    with tempfile.TemporaryFile("w+") as errors:
        p = subprocess.Popen(side.command(words), stdout=subprocess.PIPE, stderr=errors, stdin=subprocess.DEVNULL,
                             text=True, start_new_session=True)
        try:
            first = p.stdout.readline()
            if not first:
                errors.seek(0)
                raise Failed(f"the server did not start: {errors.read()[-300:]}")
            yield p, first
            if p.poll() is not None:
                errors.seek(0)
                raise Failed(f"the server: {ending(p.returncode)}: {errors.read()[-300:]}")
            errors.seek(0)
            check_loaded(side, errors.read())
        finally:
            p.terminate()
            try:
                p.wait(5)
            except subprocess.TimeoutExpired:
                os.killpg(p.pid, signal.SIGKILL)
                p.wait()
            p.stdout.close()


def descriptors() -> int:
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def have(program: str) -> bool:
    return shutil.which(program) is not None
