"""A report as tables for a paper: the same rows on the terminal and in markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from posepipe.training.evaluation.measure import Report

MAX_ACTIONS = 30


@dataclass(frozen=True)
class Table:
    """title, header and rows of text; note: one sentence that says how to read it."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


POSES = {
    "agg": "aggregate: what a user gets",
    "p_agg": "p_agg: mean of the hypotheses",
    "one": "one hypothesis, drawn",
    "j_agg": "j_agg: by reprojection, true root",
    "p_best": "p_best: oracle, whole pose",
    "j_best": "j_best: oracle, joint by joint",
}


def tables(report: Report) -> list[Table]:
    """What there is to say about a lifter; tables without rows are left out."""
    result = [_errors(report), _other(report), _uncertainty(report), _by_count(report), _body(report)]
    result += [_per_joint(report), _per_action(report)]
    return [table for table in result if table.rows]


def markdown(report: Report, facts: Mapping[str, Any]) -> str:
    """The tables, after a list of what was evaluated on what."""
    lines = [f"- {name}: {value}" for name, value in facts.items()]
    for table in tables(report):
        lines += [
            "",
            f"**{table.title}**",
            "",
            _line(table.header),
            _line(["---"] + ["---:"] * (len(table.header) - 1)),
        ]
        lines += [_line(row) for row in table.rows]
        lines += ["", table.note] if table.note else []
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _errors(report: Report) -> Table:
    e = report.errors
    rows = [(title, _mm(e[f"p1_{k}"]), _mm(e[f"p2_{k}"])) for k, title in POSES.items() if f"p1_{k}" in e]
    note = f"Standard error of the aggregate: {e['p1_standard_error']:.2f} and {e['p2_standard_error']:.2f} mm."
    note += " Oracles choose by the truth: no user can have them." if len(rows) > 1 else ""
    return Table(f"Errors, mm (H = {report.hypotheses})", ("", "MPJPE (P1)", "P-MPJPE (P2)"), rows, note)


def _other(report: Report) -> Table:
    rows = [("N-MPJPE, mm", _mm(report.errors["n_mpjpe"]))]
    rows += [("PCK@150, %", _percent(report.shares["pck_150"])), ("AUC, %", _percent(report.shares["auc"]))]
    if report.motion:
        m = report.motion
        rows.append(("MPJVE, mm/frame", _mm(m["velocity_error"])))
        rows.append(
            ("acceleration (truth), mm/frame²", f"{_mm(m['acceleration'])} ({_mm(m['acceleration_of_truth'])})")
        )
    return Table("The aggregate by other measures", ("", ""), rows, "PCK and AUC of all 17 joints, the hip included.")


def _uncertainty(report: Report) -> Table:
    if report.hypotheses == 1:
        return Table("", (), ())
    e, s = report.errors, report.shares
    rows = [(f"coverage of the {p} % region, %", _percent(s[f"coverage_{p}"])) for p in (50, 80, 95)]
    rows += [(f"CRPS {axis}, mm", _mm(e[f"crps_{axis}"])) for axis in "xyz"]
    rows += [("energy score of a joint, mm", _mm(e["energy"])), ("energy score of the pose, mm", _mm(e["energy_pose"]))]
    rows += [("diversity: mean distance of two hypotheses' joints, mm", _mm(e["diversity"]))]
    note = "z is depth. With one hypothesis the energy score of a joint would be its error. The hip is left out."
    return Table("Does it know what it does not know?", ("", ""), rows, note)


def _by_count(report: Report) -> Table:
    columns = [f"{p}_{k}" for p in ("p1", "p2") for k in ("agg", "p_best", "j_best")]
    rows = [(n, *(_mm(values[c]) for c in columns)) for n, values in report.by_count.items()]
    header = ("H", *(f"{c[:2].upper()} {c[3:]}" for c in columns))
    return Table("Error against the number of hypotheses, mm", header, rows)


def _body(report: Report) -> Table:
    names = {"asymmetry": "left and right bones differ by, mm", "bone_error": "bones differ from the true ones by, mm"}
    rows = []
    columns = {k: report.body[k] for k in ("aggregate", "hypotheses", "truth") if k in report.body}
    for what in report.body["truth"]:
        form = _percent if what.startswith("share") else _mm
        title = names.get(what, f"{what.removeprefix('share ')}, % of poses")
        rows.append((title, *(form(values[what]) for values in columns.values())))
    note = "Limits: knee 20 degrees backwards; joint folded past 165 degrees; a limb 1.25 times its partner's length."
    return Table("Could a body do that?", ("", *columns), rows, note)


def _per_joint(report: Report) -> Table:
    p1, p2 = report.per_joint["p1"], report.per_joint["p2"]
    rows = [(joint, _mm(p1[joint]), _mm(p2[joint])) for joint in p1]
    return Table("The aggregate by joint, mm", ("joint", "P1", "P2"), rows)


def _per_action(report: Report) -> Table:
    actions = report.per_action
    if not 1 < len(actions) <= MAX_ACTIONS:
        return Table("", (), ())
    keys = [k for k in next(iter(actions.values())) if k != "frames"]
    rows = [(action, f"{v['frames']:.0f}", *(_mm(v[k]) for k in keys)) for action, v in actions.items()]
    mean = [sum(v[k] for v in actions.values()) / len(actions) for k in keys]
    rows.append(("mean of the actions", str(report.frames), *map(_mm, mean)))
    header = ("action", "frames", *(f"{k[:2].upper()} {k[3:] or 'agg'}" for k in keys))
    return Table("By action, mm", header, rows)


def _mm(value: float) -> str:
    return f"{value:.1f}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"
