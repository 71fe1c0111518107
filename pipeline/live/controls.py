"""What the keys do: a pure step from one state of the controls to the next."""

from __future__ import annotations

from dataclasses import dataclass, replace

from posepipe.pipeline.render.viewpoint import ViewSettings

KEYS = "q quit  space pause  h hypotheses  +/- their number  l lifter  v view  r record  s snapshot"
_LADDER = (1, 2, 5, 10, 20, 50, 100, 200)
_TURN_DEG = 45.0


@dataclass(frozen=True)
class Controls:
    """lifter: the one wanted (it takes a moment to load). hypotheses: how many to draw from the lifter, None for its
    own default. fan: show them. snapshots: how many were asked for so far. note: what the last key did, if it needs
    words."""

    lifter: str
    hypotheses: int | None = None
    fan: bool = True
    paused: bool = False
    recording: bool = False
    quit: bool = False
    snapshots: int = 0
    view: ViewSettings = ViewSettings()  # noqa: RUF009 - frozen
    note: str = ""


@dataclass(frozen=True)
class Choices:
    """What the keys can choose from. lifters: names with weights. drawn: how many hypotheses the last frame had,
    0 before the first one.

    fixed: the lifter in use always gives that many. busy: it is not (yet) the one that was asked for."""

    lifters: tuple[str, ...]
    drawn: int
    fixed: bool = False
    busy: bool = False


def press(controls: Controls, key: str, choices: Choices) -> Controls:
    """The controls after a key; keys without a meaning change nothing."""
    c = replace(controls, note="")
    if key in ("q", "\x1b"):
        return replace(c, quit=True)
    if key == " ":
        return replace(c, paused=not c.paused)
    if key == "h":
        return replace(c, fan=not c.fan)
    if key == "v":
        turned = (c.view.yaw_deg + _TURN_DEG + 180) % 360 - 180
        return replace(c, view=replace(c.view, yaw_deg=turned))
    if key == "s":
        return replace(c, snapshots=c.snapshots + 1)
    if key == "r":
        if choices.busy and not c.recording:
            return replace(c, note="the lifter is still loading")
        return replace(c, recording=not c.recording)
    if key in ("+", "=", "-"):
        return _number(c, -1 if key == "-" else 1, choices)
    if key == "l":
        return _next_lifter(c, choices)
    return controls


def _number(c: Controls, step: int, choices: Choices) -> Controls:
    if c.recording:
        return replace(c, note="stop recording (r) to change the number of hypotheses")
    if not choices.drawn:
        return replace(c, note="still loading")
    if choices.fixed:
        return replace(c, note=f"{c.lifter} always gives {choices.drawn}")
    more, fewer = [n for n in _LADDER if n > choices.drawn], [n for n in _LADDER if n < choices.drawn]
    found = more[:1] if step > 0 else fewer[-1:]
    return replace(c, hypotheses=found[0]) if found else c


def _next_lifter(c: Controls, choices: Choices) -> Controls:
    if c.recording:
        return replace(c, note="stop recording (r) to change the lifter")
    if len(choices.lifters) < 2:
        return replace(c, note="there are weights for no other lifter")
    place = choices.lifters.index(c.lifter) + 1 if c.lifter in choices.lifters else 0
    return replace(c, lifter=choices.lifters[place % len(choices.lifters)])
