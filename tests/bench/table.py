"""A row of the comparison and the tables made of rows."""
import statistics
from dataclasses import dataclass, field


@dataclass
class Row:
    work: str
    where: str
    unit: str  # ns, s, KB: less is better; req/s, threads: more is
    least: float | None = None  # of the ratio, better over worse
    most_preloaded: float | None = None  # of the preloaded figure itself
    least_preloaded: float | None = None
    target: str = ""
    key: str = ""
    native: list[float] = field(default_factory=list)
    preloaded: list[float] = field(default_factory=list)
    native_failure: str = ""
    failure: str = ""
    impossible: bool = False  # on this machine, through no fault of the library
    beside: list["Row"] = field(default_factory=list)  # figures of the same runs: latencies

    @property
    def more_is_better(self) -> bool:
        return self.unit in ("req/s", "threads")

    def medians(self) -> tuple[float | None, float | None]:
        return (statistics.median(self.native) if self.native else None,
                statistics.median(self.preloaded) if self.preloaded else None)

    def ratio(self) -> float | None:
        native, preloaded = self.medians()
        if not native or not preloaded:
            return None
        return preloaded / native if self.more_is_better else native / preloaded

    def broken(self) -> bool:
        return bool(self.failure) and not self.impossible

    def verdict(self) -> str:
        if self.failure:
            return "impossible here" if self.impossible else "FAILED"
        preloaded = self.medians()[1]
        tests = []
        if self.least is not None:
            tests.append(self.ratio() is not None and self.ratio() >= self.least)
        if self.most_preloaded is not None:
            tests.append(preloaded is not None and preloaded <= self.most_preloaded)
        if self.least_preloaded is not None:
            tests.append(preloaded is not None and preloaded >= self.least_preloaded)
        return "" if not tests else "met" if all(tests) else "NOT MET"

    def as_dict(self) -> dict:
        native, preloaded = self.medians()
        return {"key": self.key, "work": self.work, "where": self.where, "unit": self.unit, "native": self.native,
                "preloaded": self.preloaded, "native_median": native, "preloaded_median": preloaded,
                "ratio": self.ratio(), "target": self.target, "verdict": self.verdict(), "failure": self.failure,
                "native_failure": self.native_failure}


def figure(x: float | None, unit: str) -> str:
    if x is None:
        return "-"
    if unit == "ns":
        return f"{x:.1f} ns" if x < 100 else f"{x:,.0f} ns" if x < 10000 else f"{x / 1000:,.1f} µs"
    if unit in ("req/s", "threads"):
        return f"{x:,.0f} {unit}"
    return f"{x:.3g} {unit}" if x < 100 else f"{x:,.0f} {unit}"


def cells(r: Row) -> list[str]:
    native, preloaded = r.medians()
    ratio = r.ratio()
    return [r.work, r.where, figure(native, r.unit), figure(preloaded, r.unit),
            "-" if ratio is None else f"{ratio:.2f}x" if ratio < 10 else f"{ratio:.0f}x", r.target, r.verdict()]


HEAD = ["work", "where", "native", "preloaded", "ratio", "target", ""]


def notes(rows: list[Row]) -> list[str]:
    return [f"{r.work.strip()} [{r.where}]: {n}" for r in rows for n in (r.native_failure, r.failure) if n]


def plain(rows: list[Row]) -> str:
    table = [HEAD] + [cells(r) for r in rows]
    widths = [max(len(row[i]) for row in table) for i in range(len(HEAD))]
    lines = []
    for row in table:
        aligned = (c.rjust(w) if 2 <= i <= 4 else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths)))
        lines.append("  ".join(aligned).rstrip())
    lines.insert(1, "-" * max(map(len, lines)))
    return "\n".join(lines + ([""] + notes(rows) if notes(rows) else []))


def markdown(rows: list[Row]) -> str:
    lines = ["| " + " | ".join(HEAD) + " |", "| --- | --- | ---: | ---: | ---: | --- | --- |"]
    lines += ["| " + " | ".join(c.replace("NOT MET", "**NOT MET**") for c in cells(r)) + " |" for r in rows]
    return "\n".join(lines + ([""] + [f"* {n}" for n in notes(rows)] if notes(rows) else []))
