"""What a file and a chunk cost, and whether that and the memory grow with their number."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import copyfile

from benchmarks.contest import MB, Command, measured, read_through, remove
from benchmarks.lab import Lab
from benchmarks.results import Bar, Fact, Lines, Result, Run, Table, number

_CHUNK = 50_000
_CHUNKS_PER_MB = MB // _CHUNK
# A short job is run so often in each round: the start of the programs is what it varies with.
_SHORT, _AGAIN = 1000, 10
_FEW = 300
_VERBS = ("sent", "received")


@dataclass(frozen=True)
class _Job:
    """`source` is sent and received; it has so many of what is counted, 0 if little more than
    the start of the programs is to be measured."""

    name: str
    source: Path
    count: int
    options: Command = ()


def cost(lab: Lab) -> Result:
    """Processor time per file over the size of a tree, per chunk over the size of a file."""
    start = _Job("start", lab.small_files(1, 1000), 0)
    trees = [
        _Job(f"{count:,} files", lab.small_files(count, 1000), count)
        for count in lab.options.cost_files
    ]
    total = max(lab.options.cost_chunks)
    files = [_chunks(lab, chunks, total) for chunks in lab.options.cost_chunks]
    runs: dict[str, list[Run]] = {}
    for repeat in range(lab.options.repeats):
        for again in range(_AGAIN):
            for job in [start, *trees, *files]:
                if again and job.count > _SHORT:
                    continue
                _both_ways(lab, job, f"{job.source.name}-{repeat}-{again}", runs)
    per_file, file_lines = _over("file", trees, runs)
    per_chunk, chunk_lines = _over("chunk", files, runs)
    return Result(
        tables=[per_file, per_chunk],
        panels=[file_lines, chunk_lines],
        facts=[_grown(per_file, trees), _grown(per_chunk, files)],
        notes=[
            "CPU above that of a job of one file, in the same run. Files of trees have 1 kB. "
            f"Chunks have 50 kB; each job has {total:,} of them, as one file or as many smaller "
            "ones, so that the difference to the start is large enough to be measured."
        ],
        runs=runs,
    )


def _chunks(lab: Lab, chunks: int, total: int) -> _Job:
    """Files of so many chunks each; so many of them that the job has `total` chunks."""
    directory = lab.path(f"chunks-{chunks}")
    directory.mkdir()
    for each in range(total // chunks):  # no links: what is read must not be in the CPU's cache
        copyfile(lab.large_file(chunks // _CHUNKS_PER_MB), directory / f"{each:04d}.dat")
    options = ("--chunk-size", str(_CHUNK))
    return _Job(f"{chunks:,} chunks a file", directory, total, options)


def _over(what: str, jobs: Sequence[_Job], runs: dict[str, list[Run]]) -> tuple[Table, Lines]:
    title = f"CPU per {what}"
    table = Table(title, ["ms", "min", "max", "times the first"], [])
    lines: dict[str, list[tuple[float, float]]] = {}
    for verb in _VERBS:
        start = statistics.median(run.cpu for run in runs[f"start, {verb}"])
        bars = [
            Bar.of(
                f"{job.name}, {verb}",
                [1000 * (run.cpu - start) / job.count for run in runs[f"{job.name}, {verb}"]],
            )
            for job in jobs
        ]
        table.rows += [[*each.cells(), each.median / bars[0].median] for each in bars]
        sizes = [float(job.name.split()[0].replace(",", "")) for job in jobs]
        lines[verb] = list(zip(sizes, [each.median for each in bars], strict=True))
    across = "files in the tree" if what == "file" else "chunks in a file"
    return table, Lines(title, across, "ms", lines)


def _grown(table: Table, jobs: Sequence[_Job]) -> Fact:
    sent, received = table.rows[len(jobs) - 1], table.rows[-1]
    fact = f"{number(sent[4])} times sending, {number(received[4])} times receiving"
    return Fact(f"{table.title}, {jobs[-1].name} against {jobs[0].name}", fact)


def memory(lab: Lab) -> Result:
    """Peak memory over the size of a file and of a tree."""
    sizes = Table(
        "Peak memory and CPU, one file",
        ["sender MB", "receiver MB", "to send, CPU s per GB", "to receive, CPU s per GB"],
        [],
    )
    trees = Table(
        "Peak memory and CPU, a tree of files of 1 kB",
        ["sender MB", "receiver MB", "to send, CPU ms each", "to receive, CPU ms each"],
        [],
    )
    panels, facts = [], []
    runs: dict[str, list[Run]] = {}
    for table, amounts, unit in (
        (sizes, lab.options.memory_mb, "MB"),
        (trees, lab.options.memory_files, "files"),
    ):
        lines: dict[str, list[tuple[float, float]]] = {"sender": [], "receiver": []}
        of_file = unit == "MB"
        for amount in amounts:
            source = lab.large_file(amount) if of_file else lab.small_files(amount, 1000)
            job = _Job(f"{amount:,} {unit}", source, 0)
            for again in range(lab.options.repeats if of_file else 1):
                _both_ways(lab, job, f"memory-{source.name}-{again}", runs)
            if of_file:
                remove(source)
            both = [runs[f"{job.name}, {verb}"] for verb in _VERBS]
            peaks = [statistics.median(run.rss for run in found) / MB for found in both]
            cpu = [statistics.median(run.cpu for run in found) for found in both]
            table.rows.append([job.name, *peaks, *(1000 * each / amount for each in cpu)])
            for line, peak in zip(lines.values(), peaks, strict=True):
                line.append((amount, peak))
        across = "size of the file, MB" if of_file else "files in the tree"
        panels.append(Lines(table.title.replace(" and CPU", ""), across, "MB", lines))
        last = table.rows[-1]
        fact = f"{number(last[1])} MB sending, {number(last[2])} MB receiving"
        facts.append(Fact(f"Peak memory, {last[0]}", fact))
    return Result(
        [sizes, trees],
        list(panels),
        facts,
        ["The resident set, at its largest. Trees were measured once."],
        runs,
    )


def _both_ways(lab: Lab, job: _Job, name: str, runs: dict[str, list[Run]]) -> None:
    """Send and receive once, and add both to `runs`."""
    topic, target = lab.topic(), lab.path(f"out-{name}")
    upload = lab.openmsi("upload", job.source, "-t", topic, *job.options, state=f"s-{name}")
    download = lab.openmsi("download", target, "-t", topic, "--until-end", state=f"r-{name}")
    read_through(job.source)
    for verb, command in zip(_VERBS, (upload, download), strict=True):
        runs.setdefault(f"{job.name}, {verb}", []).append(measured(command))
    lab.drop(topic)
    if _entries(job.source) <= _FEW:  # others stay until the end: see Contestant
        remove(target)


def _entries(source: Path) -> int:
    return sum(1 for _ in source.rglob("*"))
