"""Random anatomy of one patient: position, size and brightness of organs and tumours; a rough sketch.

Organs are ellipsoids in the patient's frame in mm: x points left, y to the back, z to the feet, and the
kidneys are near z = 0. Sums of plane waves give irregular outlines and textures.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numpy.random import Generator
from scipy.special import ndtr

FAT_HU = -102
FAR_MM = 900.0  # radius along z of structures that cross all slices
# Percentiles over the 489 CTs of KiTS23, which include KiTS19. The values at 0 and 1 are assumed.
PERCENTILE = (0.00, 0.05, 0.25, 0.50, 0.75, 0.95, 1.00)
KIDNEY_MEDIAN_HU = (66, 71, 96, 120, 146, 195, 205)
KIDNEY_MINUS_TUMOUR_HU = (-34, -27, -8, 39, 65, 121, 130)

Field = npt.NDArray[np.floating]
Point = tuple[float, float, float]


class Waves:
    """Smooth random field with mean 0 and variance 1: a sum of ``count`` plane waves."""

    def __init__(self, rng: Generator, shortest_mm: float, longest_mm: float, count: int = 14) -> None:
        direction = rng.standard_normal((count, 3))
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        length_mm = np.exp(rng.uniform(np.log(shortest_mm), np.log(longest_mm), (count, 1)))
        self.k = 2 * np.pi * direction / length_mm
        self.phase = rng.uniform(0, 2 * np.pi, count)

    def __call__(self, x: Field, y: Field, z: float) -> Field:
        """Return the values [H, W] at columns x [W] and rows y [H] of slice z."""
        kx, ky, kz = self.k.T
        rows = np.exp(1j * (np.outer(y, ky) + kz * z + self.phase)).astype(np.complex64)
        columns = np.exp(1j * np.outer(kx, x)).astype(np.complex64)
        return np.asarray(np.sqrt(2 / len(kx), dtype=np.float32) * (rows @ columns).real)


@dataclass(frozen=True)
class Blob:
    """Ellipsoid, rotated about z, sheared and bent."""

    centre: Point
    radii: Point  # along the local axes
    hu: float = 0.0
    yaw: float = 0.0  # rotation about z in radians
    lean: tuple[float, float] = (0.0, 0.0)  # shear of x and y per mm of z
    bend_mm: float = 0.0  # displacement of the ends along z, as in a bean
    ripple_mm: float = 0.0  # amplitude of the irregular outline
    mottle_hu: float = 0.0  # amplitude of the texture
    wall_hu: float | None = None  # of a hollow organ
    gas_mm: float | None = None  # level of the gas in a hollow organ, relative to its centre along y

    def axis(self, z: float) -> tuple[float, float]:
        """Return x and y of the long axis in slice z."""
        x, y, middle = self.centre
        return x + self.lean[0] * (z - middle), y + self.lean[1] * (z - middle)

    def meets(self, z: float, margin: float = 0.0) -> bool:
        """Return whether slice z is within ``margin`` mm of the ellipsoid."""
        return abs(z - self.centre[2]) < self.radii[2] + margin + 2 * self.ripple_mm

    def distance(self, x: Field, y: Field, z: float) -> Field:
        """Return the signed distance to the surface in mm, negative inside, exact near the surface."""
        (cx, cy), (a, b, c), dz = self.axis(z), self.radii, z - self.centre[2]
        cos, sin = math.cos(self.yaw), math.sin(self.yaw)
        u = (cos * (x - cx) + sin * (y - cy) - self.bend_mm * (dz / c) ** 2) / a
        v = (cos * (y - cy) - sin * (x - cx)) / b
        level = np.sqrt(u * u + v * v + (dz / c) ** 2)
        slope = np.sqrt((u / a) ** 2 + (v / b) ** 2 + (dz / c / c) ** 2) + 1e-6
        return np.asarray(level * (level - 1) / slope)


@dataclass(frozen=True)
class Lesion:
    """Tumour or cyst."""

    blob: Blob
    lobes: Waves  # outline
    texture: Waves
    rim_hu: float = 0.0  # relative to the lesion
    necrosis_hu: float | None = None


class Patient:
    """Random parameters of a case with slices at ``z_mm``, all drawn from ``rng``."""

    def __init__(self, rng: Generator, z_mm: Field) -> None:
        self.rng, uniform = rng, rng.uniform
        self.half = uniform(148, 182), uniform(102, 128)
        fat = uniform(8, 30), uniform(7, 20)
        self.wall = self.half[0] - fat[0], self.half[1] - fat[1]
        self.back = self.wall[1] - 62  # y of the vertebral bodies
        a, b = rng.standard_normal(2)
        kidney_hu = float(np.interp(ndtr(a), PERCENTILE, KIDNEY_MEDIAN_HU))
        # Bright kidneys have a larger difference; the factor 0.6 keeps the range of the tumours.
        gap = float(np.interp(ndtr(0.6 * a + 0.8 * b), PERCENTILE, KIDNEY_MINUS_TUMOUR_HU))
        self.tumour_hu = max(kidney_hu - gap, 24.0)
        self.arterial = uniform() ** 1.5  # contrast phase: 1 is corticomedullary, 0 is late
        self.gap_hu = (0.25 + 0.6 * self.arterial) * (kidney_hu - 40)
        self.cortex_hu = kidney_hu + 0.45 * self.gap_hu
        self.blood_hu = kidney_hu * (0.95 + 0.8 * self.arterial)
        self.vein_hu = kidney_hu * (0.95 - 0.3 * self.arterial)
        self.liver_hu = 58 + 0.5 * (kidney_hu - 70) * (1 - 0.6 * self.arterial)
        self.marrow_hu, self.disc_z, self.muscle_hu = uniform(140, 240), uniform(0, 34), 55
        self.noise_hu = math.exp(uniform(math.log(8), math.log(26)))
        self.coarse, self.fine = Waves(rng, 45, 110), Waves(rng, 8, 30)
        self.pyramids = Waves(rng, 17, 26)
        self.organs = self._organs()
        self.muscles = self._muscles()
        self.kidneys = [self._kidney(side) for side in (-1, 1)]
        reach = 0.36 * (z_mm[-1] - z_mm[0])  # leaves background slices at both ends
        self.tumours = [self._tumour(z_mm, reach) for _ in range(1 + (uniform() < 0.12))]
        self.cysts = [self._cyst(reach) for _ in range(rng.choice(4, p=[0.5, 0.25, 0.15, 0.1]))]

    def _organs(self) -> list[Blob]:
        u, (w, h), back, liver = self.rng.uniform, self.wall, self.back, self.liver_hu
        oral = u(180, 320) if u() < 0.25 else u(5, 35)  # contrast medium or water in the bowel
        bowel = 45 + 0.35 * (liver - 40)
        top = u(-12, 12)
        at, size = (0.36 * w, -0.42 * h, top - 78), (0.44 * w, 0.36 * h, 58.0)
        organs = [Blob(at, size, oral, 0.4, wall_hu=bowel, gas_mm=u(-30, -8))]  # stomach
        for _ in range(38):  # bowel
            at = u(-0.62, 0.62) * w, u(-0.72, 0.12) * h, u(-35, 125)
            size = u(13, 24), u(11, 18), u(13, 34)
            gas = u(-14, 2) if u() < 0.3 else None
            lean = u(-0.6, 0.6), u(-0.3, 0.3)
            organs.append(Blob(at, size, oral + u(-12, 12), u(0, 3), lean, 0, 2, 12, bowel, gas))
        for side, low in ((-1, 75), (1, 45)):  # ascending and descending colon
            at = side * (w - 42), back - u(18, 40), top + low
            organs.append(Blob(at, (22, 24, 88), u(-60, 30), 0, (0, -0.05), 0, 4, 90, bowel, u(-14, 0)))
        at = u(-20, 20), -0.72 * h, u(0, 50)  # transverse colon
        organs.append(Blob(at, (80, 18, 17), -20, u(-0.2, 0.2), (0, 0), 0, 4, 60, bowel, u(-6, 6)))
        spleen = (w - 40, back - 16, top - 70), (28, 50, 55), liver + 12 + 30 * self.arterial
        organs += [  # pancreas, two lobes of the liver, gallbladder, spleen
            Blob((12, back - 46, top - 32), (52, 11, 15), liver - 8, -0.35, (0, 0), 0, 3, 14),
            Blob((-0.5 * w, -0.06 * h, top - 62), (0.56 * w, 0.95 * h, 82), liver, 0, (0, 0), 0, 3, 5),
            Blob((0, -0.55 * h, top - 78), (0.42 * w, 0.4 * h, 48), liver, 0.25, (0, 0), 0, 3, 5),
            Blob((-0.42 * w, -0.42 * h, top - 10), (14, 17, 24), u(4, 18), wall_hu=liver),
            Blob(*spleen, 0.35, (0, 0), 0, 3, 4),
        ]
        for _ in range(34):  # mesenteric and hepatic vessels
            at, r = (u(-0.7, 0.7) * w, u(-0.7, 0.3) * h, u(-100, 110)), u(1.8, 4.2)
            lean = u(-0.8, 0.8), u(-0.5, 0.5)
            organs.append(Blob(at, (r, r, u(15, 40)), self.vein_hu, 0, lean))
        return organs

    def _muscles(self) -> list[Blob]:
        back, thick, hu = self.back, self.rng.uniform(0.85, 1.15), self.muscle_hu
        muscles = []
        for s in (-1, 1):  # psoas, erector spinae, quadratus lumborum, crus of the diaphragm
            muscles += [
                Blob((s * 46, back + 4, 125), (30 * thick, 26 * thick, 165), hu, 0, (s * 0.08, 0)),
                Blob((s * 30, back + 41, 0), (29, 19 * thick, FAR_MM), hu, s * 0.25),
                Blob((s * 62, back + 38, 60), (20, 8 * thick, 80), hu, s * -0.3),
                Blob((s * 26, back - 14, -75), (7, 17, 75), hu, s * 0.5),
            ]
        return muscles

    def _kidney(self, side: int) -> tuple[Blob, Blob, Blob]:
        """Return kidney, renal sinus and renal pelvis. Their local x axis points to the hilum."""
        u = self.rng.uniform
        at = side * u(64, 74), self.back + u(-4, 8), u(-9, 5) - 5 * side
        a, b, c = u(26, 32), u(20, 26), u(43, 54)
        turn = u(0.3, 0.9)  # the hilum points inward and forward
        yaw = np.pi + turn if side > 0 else -turn
        lean = side * u(0.08, 0.25), -u(0.05, 0.2)
        kidney = Blob(at, (a, b, c), self.cortex_hu, yaw, lean, u(3, 9), 1.5)
        out = u(0.6, 0.8) * a
        inner = at[0] + out * math.cos(yaw), at[1] + out * math.sin(yaw), at[2]
        sinus = Blob(inner, (0.72 * a, u(0.34, 0.5) * b, u(0.4, 0.52) * c), FAT_HU, yaw, lean)
        urine = u(250, 600) if self.arterial < 0.2 and u() < 0.3 else u(2, 20)
        pelvis = Blob(inner, (0.5 * a, 0.2 * b, 0.3 * c), urine, yaw, lean)
        return kidney, sinus, pelvis

    def _seat(self, depth: float, reach_mm: float, radius_mm: float) -> Point:
        """Return a point at ``depth`` (0 axis, 1 surface) of a kidney, opposite to the hilum."""
        u = self.rng.uniform
        kidney = self.kidneys[int(u() < 0.5)][0]
        a, b, c = kidney.radii
        high, turn = u(-0.8, 0.8), kidney.yaw + np.pi + min(max(self.rng.normal(0, 0.8), -1.9), 1.9)
        room = max(reach_mm - radius_mm, 0.0)
        z = min(max(kidney.centre[2] + high * c, -room), room)
        x, y = kidney.axis(z)
        ring = depth * math.sqrt((1 - high**2 * 0.8) * (a * a + b * b) / 2)
        forward = max(radius_mm - 22, 0)  # large lesions grow away from spine and back
        x += math.copysign(0.3 * forward, x)
        return x + ring * math.cos(turn), y + ring * math.sin(turn) - 0.6 * forward, z

    def _tumour(self, z_mm: Field, reach_mm: float) -> Lesion:
        u, rng = self.rng.uniform, self.rng
        radius = 0.5 * min(max(42 * math.exp(rng.normal(0, 0.45)), 15), 105)
        x, y, z = self._seat(u(0.45, 0.95) + 0.008 * radius, reach_mm, radius)
        z = float(z_mm[np.abs(z_mm - z).argmin()])  # otherwise thick slices can miss a small tumour
        radii = radius * u(0.88, 1.12), radius * u(0.88, 1.12), radius * u(0.88, 1.12)
        yaw, ripple, mottle = u(0, 3), u(0.04, 0.12) * radius, u(14, 26)
        blob = Blob((x, y, z), radii, self.tumour_hu, yaw, ripple_mm=ripple, mottle_hu=mottle)
        is_necrotic = radius > 20 and u() < 0.55
        lobes, texture = Waves(rng, 0.9 * radius, 2.2 * radius, 8), Waves(rng, 9, 20)
        rim = math.copysign(u(12, 30), u(-1, 1))
        return Lesion(blob, lobes, texture, rim, u(8, 30) if is_necrotic else None)

    def _cyst(self, reach_mm: float) -> Lesion:
        u, rng = self.rng.uniform, self.rng
        r = min(max(9 * math.exp(rng.normal(0, 0.45)), 4), 24)
        blob = Blob(self._seat(u(0.7, 1.1), reach_mm, r), (r, r, r), u(0, 40))
        return Lesion(blob, Waves(rng, 30, 60, 4), self.fine)
