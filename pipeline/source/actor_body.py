"""The rendered actor's body: bone vectors, girths and colours of an adult, and a few varied people.

Body frame of a segment: x to the actor's left, y up, z forward (the way the actor faces); metres. Joint definitions
are those of our CMU -> H36M-17 mapping: hip = middle of the hip joints, thorax = base of the neck, neck = end of the
upper neck (base of the skull), head = end of the head bone, inside the skull below the crown. Lengths are means over
the CMU subjects' skeletons, but for the forearm, which is anatomical (elbow to wrist crease).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from posepipe.noise import NoiseKey, uniform

Rgb = tuple[int, int, int]
Vector = tuple[float, float, float]

HAIR_COLOURS: tuple[Rgb, ...] = ((52, 36, 26), (24, 20, 20), (120, 84, 48), (150, 120, 80), (90, 44, 26))
SKIN_COLOURS: tuple[Rgb, ...] = ((224, 172, 140), (240, 200, 172), (176, 122, 88), (116, 78, 56), (206, 150, 112))
SHIRT_COLOURS: tuple[Rgb, ...] = ((58, 98, 170), (186, 60, 56), (60, 132, 92), (214, 176, 70), (200, 204, 210))
TROUSER_COLOURS: tuple[Rgb, ...] = ((58, 60, 70), (104, 88, 70), (44, 54, 88), (96, 100, 104), (70, 76, 60))


@dataclass(frozen=True)
class Colours:
    """RGB 0..255 of what the renderer paints. print_on: the print on the shirt's front; the back is plain."""

    skin: Rgb = SKIN_COLOURS[0]
    hair: Rgb = HAIR_COLOURS[0]
    shirt: Rgb = SHIRT_COLOURS[0]
    print_on: Rgb = (244, 240, 228)
    trousers: Rgb = TROUSER_COLOURS[0]
    shoes: Rgb = (196, 70, 50)
    sole: Rgb = (236, 236, 232)


@dataclass(frozen=True)
class ActorBody:
    """Lengths in metres for a body of 1.72 m; `height` scales every length, `build` every girth (1 = average)."""

    height: float = 1.72
    build: float = 1.0
    hip_half_width: float = 0.088
    thigh: float = 0.410
    shin: float = 0.420
    ankle_height: float = 0.080
    heel_back: float = 0.055
    toe_forward: float = 0.180
    hip_to_spine: Vector = (0.0, 0.220, -0.035)
    spine_to_thorax: Vector = (0.0, 0.240, -0.010)
    thorax_to_neck: Vector = (0.0, 0.180, 0.012)
    neck_to_head: Vector = (0.0, 0.095, 0.010)
    thorax_to_shoulder: Vector = (0.182, 0.030, 0.020)
    upper_arm: float = 0.285
    forearm: float = 0.250
    hand: float = 0.095
    colours: Colours = Colours()

    @property
    def scale(self) -> float:
        """Factor from the 1.72 m body to this one."""
        return self.height / 1.72

    @property
    def leg(self) -> float:
        """Hip joint to ankle with a straight knee, metres, scaled."""
        return (self.thigh + self.shin) * self.scale


def varied_body(seed: int) -> ActorBody:
    """A person for a seed: 0 is the average one, others differ in height (1.58-1.88 m), build, legs and colours."""
    if seed == 0:
        return ActorBody()
    u = uniform(NoiseKey(seed, "actor-body", 0, 0), 12).astype(float)
    pick = [int(v * 5) for v in u[6:10]]
    legs = 0.97 + 0.06 * u[2]
    base = ActorBody()
    return replace(
        base,
        height=round(1.58 + 0.30 * u[0], 3),
        build=round(0.9 + 0.25 * u[1], 3),
        thigh=base.thigh * legs,
        shin=base.shin * legs,
        hip_half_width=base.hip_half_width * (0.94 + 0.12 * u[3]),
        colours=Colours(
            skin=SKIN_COLOURS[pick[0]],
            hair=HAIR_COLOURS[pick[1]],
            shirt=SHIRT_COLOURS[pick[2]],
            print_on=(40, 40, 48) if pick[2] >= 3 else (244, 240, 228),
            trousers=TROUSER_COLOURS[pick[3]],
        ),
    )
