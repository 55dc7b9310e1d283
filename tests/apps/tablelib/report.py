"""A row of the table and the tables made of rows."""
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field

from trial import Figures, Trial


@dataclass
class Row:
    app: str
    load: str
    run: Callable[[Trial], Figures]
    packages: list[str] = field(default_factory=list)
    unit: str = "req/s"
    least: float = 0.95  # of the ratio
    note: str = ""  # what a profile says of a ratio below that
    native: list[Figures] = field(default_factory=list)
    preloaded: list[Figures] = field(default_factory=list)
    failure: str = ""

    @property
    def name(self) -> str:
        return f"{self.app}: {self.load}"

    def median(self, what: Callable[[Figures], float | None]) -> tuple[float | None, float | None]:
        def of(samples: list[Figures]) -> float | None:
            known = [x for x in map(what, samples) if x is not None]
            return statistics.median(known) if known else None

        return of(self.native), of(self.preloaded)

    def ratio(self) -> float | None:
        native, preloaded = self.median(lambda f: f.rate)
        return preloaded / native if native and preloaded else None

    def verdict(self) -> str:
        if self.failure:
            return "FAILED"
        ratio = self.ratio()
        if ratio is None:
            return "-"
        return f"{ratio:.2f}x" + ("" if ratio >= self.least else f" (< {self.least:g}x)")


def short(x: float | None) -> str:
    if x is None:
        return "-"
    return f"{x:.2f}" if x < 9.995 else f"{x:.1f}" if x < 99.95 else f"{x:,.0f}"


def whole(x: float | None) -> str:
    return "-" if x is None else f"{x:,.0f}"


def pair(values: tuple[float | None, float | None], form: Callable[[float | None], str] = short) -> str:
    return "-" if values == (None, None) else f"{form(values[0])} / {form(values[1])}"


HEAD = ["application", "load", "native", "preloaded", "ratio", "p99 ms", "CPU µs", "kernel threads",
        "switches", "RSS MB"]
LEGEND = ("a / b: native / preloaded, medians; CPU µs and context switches are the server's, for each request (for each MB "
          "where the unit is MB/s); kernel threads and RSS: the most at once")


def cells(r: Row) -> list[str]:
    native, preloaded = r.median(lambda f: f.rate)
    return [r.app, r.load, f"{short(native)} {r.unit}", short(preloaded), r.verdict(), pair(r.median(lambda f: f.p99)),
            pair(r.median(lambda f: f.usage.cpu * 1e6 / f.requests)), pair(r.median(lambda f: f.usage.threads), whole),
            pair(r.median(lambda f: f.usage.switches / f.requests)), pair(r.median(lambda f: f.usage.rss))]


def notes(rows: list[Row]) -> list[str]:
    slow = [r for r in rows if r.note and r.ratio() is not None and r.ratio() < r.least]
    return [f"{r.name}: {r.failure}" for r in rows if r.failure] + [f"{r.name}: {r.note}" for r in slow]


def plain(rows: list[Row]) -> str:
    table = [HEAD] + [cells(r) for r in rows]
    widths = [max(len(row[i]) for row in table) for i in range(len(HEAD))]
    lines = ["  ".join(c.ljust(w) if i < 2 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths))).rstrip()
             for row in table]
    lines.insert(1, "-" * max(map(len, lines)))
    return "\n".join(lines + ["", LEGEND] + notes(rows))


def markdown(rows: list[Row]) -> str:
    lines = ["| " + " | ".join(HEAD) + " |", "| --- | --- " + "| ---: " * (len(HEAD) - 2) + "|"]
    lines += ["| " + " | ".join(cells(r)) + " |" for r in rows]
    return "\n".join(lines + ["", LEGEND[0].upper() + LEGEND[1:] + "."] + [f"* {n}" for n in notes(rows)])
