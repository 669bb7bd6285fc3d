"""Render a labelled CT: each slice is painted organ by organ, with soft edges, in a warped frame."""

import math

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from kitsseg.data.labels import KITS19
from kitsseg.data.sources.phantom.patient import FAR_MM, FAT_HU, Blob, Field, Lesion, Patient, Waves

VERSION = 1  # increase it with every change of the rendered voxels

KIDNEY, TUMOUR = map(KITS19.classes.index, ("kidney", "tumour"))
AIR_HU, GAS_HU, LUNG_HU, CORTICAL_HU = -1000, -930, -840, 480
WALL_MM = 13.0  # thickness of the abdominal wall

Box = tuple[slice, slice]
ALL: Box = np.s_[:, :]


def rounded(x: Field, y: Field, half_x: float, half_y: float) -> Field:
    """Return the signed radial distance in mm to an oval around the origin."""
    radius = np.hypot(x, y) + 1e-3
    level = ((np.abs(x) / half_x) ** 2.4 + (np.abs(y) / half_y) ** 2.4) ** (1 / 2.4) + 1e-5
    return radius * (1 - 1 / level)


class Canvas:
    """One slice at a time. Fields are [H, W]; x and y are in the patient's frame."""

    def __init__(self, patient: Patient, size: int, fov_mm: float, dz_mm: float) -> None:
        self.p, rng = patient, patient.rng
        self.pixel = fov_mm / size
        self.edge = math.hypot(max(self.pixel, 1.2), 0.12 * dz_mm)  # width of an edge
        self.grid = ((np.arange(size) - (size - 1) / 2) * self.pixel).astype(np.float32)
        self.turn, self.shift = rng.normal(0, 0.05), rng.normal(0, 5, 2).tolist()
        x, y = self.grid[None] - self.shift[0], self.grid[:, None] - self.shift[1]
        cos, sin = math.cos(self.turn), math.sin(self.turn)
        waves = (Waves(rng, 110, 220, 6)(self.grid, self.grid, 0) for _ in range(2))
        bend_x, bend_y = (3 * np.clip(each, -2, 2) for each in waves)
        self.x = (cos * x + sin * y + bend_x).astype(np.float32)
        self.y = (cos * y - sin * x + bend_y).astype(np.float32)
        self.skin, self.wall = (rounded(self.x, self.y, *half) for half in (patient.half, patient.wall))
        self.from_back = np.arctan2(np.abs(self.x), self.y)  # 0 at the spine, pi at the navel
        self.table = self.y - patient.half[1] - 9 + (self.x / 40) ** 2

    def slice(self, z: float) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.uint8]]:
        """Return HU and labels [H, W] of the slice at z."""
        p = self.p
        self.z, self.hu = z, np.full(self.skin.shape, AIR_HU, np.float32)
        self.label = np.zeros(self.skin.shape, np.uint8)
        self.stiff = np.full(self.skin.shape, 99, np.float32)  # distance to spine and muscles
        texture, coarse = self.waves(p.fine), self.waves(p.coarse)
        self.paint(ALL, np.maximum(np.abs(self.table) - 2, np.abs(self.x) - 205), -250)
        self.paint(ALL, self.skin, 25)
        self.paint(ALL, self.skin + 2.5, FAT_HU)
        self.paint(ALL, self.wall + 1.5 * coarse, p.muscle_hu)
        self.paint(ALL, np.abs(self.wall + 6 + coarse) - 0.6, -40)  # fat between the muscles
        self.inside = self.wall + WALL_MM + 1.5 * coarse
        self.paint(ALL, self.inside, FAT_HU)
        for blob in (b for b in p.organs if b.meets(z)):
            self.organ(blob, coarse, texture)
        for blob in [k[0] for k in p.kidneys] + [t.blob for t in p.tumours]:
            box, d = self.reach(blob, 10)  # perirenal fat
            self.paint(box, np.maximum(d - 8, self.inside[box]), FAT_HU)
        self.lungs(texture)
        for blob in p.muscles:
            box, d = self.reach(blob)
            d = np.maximum(d, self.wall[box] + 3)
            self.stiff[box] = np.minimum(self.stiff[box], d)
            self.paint(box, d, blob.hu)
        self.skeleton()
        self.vessels()
        for kidney in p.kidneys:
            self.kidney(*kidney)
        for lesion in p.cysts:
            self.lesion(lesion, KIDNEY)
        for lesion in p.tumours:
            self.lesion(lesion, TUMOUR)
        self.hu += np.where(self.hu > -300, 6, 1) * texture
        noise = gaussian_filter(p.rng.standard_normal(self.hu.shape, np.float32), 0.6)
        hu = self.hu + noise * (p.noise_hu / float(noise.std()))
        return np.rint(np.clip(hu, -1024, 3071)).astype(np.int16), self.label

    def reach(self, blob: Blob, margin: float = 0.0) -> tuple[Box, Field]:
        """Return the part of the slice near a blob (it may be empty) and the distance to it there."""
        if not blob.meets(self.z, margin):
            return np.s_[:0, :0], self.x[:0, :0]
        extent = max(blob.radii[:2]) + abs(blob.bend_mm) + margin + 12  # 12 covers the warp
        (x, y), cos, sin = blob.axis(self.z), math.cos(self.turn), math.sin(self.turn)
        middle = sin * x + cos * y + self.shift[1], cos * x - sin * y + self.shift[0]
        row, column = (slice(*np.searchsorted(self.grid, (m - extent, m + extent))) for m in middle)
        box = row, column
        return box, blob.distance(self.x[box], self.y[box], self.z)

    def paint(self, box: Box, distance: Field, hu: float | Field) -> None:
        """Paint the inside of a surface, where ``distance`` is negative."""
        cover = np.clip(0.5 - distance / self.edge, 0, 1)
        self.hu[box] += cover * (hu - self.hu[box])

    def waves(self, waves: Waves, box: Box = ALL) -> Field:
        return waves(self.grid[box[1]], self.grid[box[0]], self.z)

    def organ(self, blob: Blob, coarse: Field, texture: Field) -> None:
        box, d = self.reach(blob)
        d = np.maximum(d + blob.ripple_mm * coarse[box], self.inside[box] + 1)
        hu = blob.hu + blob.mottle_hu * texture[box]
        if blob.wall_hu is not None:
            self.paint(box, d, blob.wall_hu)
            d = d + 3
        self.paint(box, d, hu)
        if blob.gas_mm is not None:
            surface = self.y[box] - blob.axis(self.z)[1] - blob.gas_mm
            self.paint(box, np.maximum(d, surface), GAS_HU)

    def lungs(self, texture: Field) -> None:
        thick = -58 - self.z  # the lung becomes thinner toward the feet
        if thick > 0:
            d = np.maximum(self.inside + 2, -self.inside - 0.75 * thick)
            d = np.maximum(d, 45 - 0.75 * thick - self.y + np.abs(self.x) * 0.25)
            self.paint(ALL, d, LUNG_HU + 60 * np.maximum(texture, 0) ** 2)

    def skeleton(self) -> None:
        p, back, disc = self.p, self.p.back, (self.z + self.p.disc_z) % 34 < 8
        box, d = self.reach(Blob((0, back, 0), (23, 17, FAR_MM)), 70)
        x, y = self.x[box], self.y[box] - back
        canal = np.hypot(x, (y - 26) * 1.15) - 8.5
        spinous = np.hypot(x / 1.2, np.maximum(np.abs(y - 50) - 9, 0)) - 3.2
        across = np.hypot(np.maximum(np.abs(x) - 30, 0), y - 25 - 0.1 * np.abs(x)) - 3.5
        arch = np.minimum(np.abs(canal - 3) - 3, spinous if disc else np.minimum(spinous, across))
        self.stiff[box] = np.minimum(self.stiff[box], np.minimum(d, arch) - 1)
        self.paint(box, arch, CORTICAL_HU - 130)
        self.paint(box, d, 85 if disc else CORTICAL_HU)
        if not disc:
            self.paint(box, d + 2.5, p.marrow_hu + 25 * self.waves(p.fine, box))
        self.paint(box, canal, 35)
        if self.z < 60:  # ribs descend toward the front, 30 mm apart; the lowest two are short
            fall = (-40 - self.z + 42 * self.from_back) / 30
            rib = np.maximum(np.rint(fall), 0)
            d = np.maximum(np.abs(self.wall + 6) - 3.8, np.abs(fall - rib) * 23 - 6)
            d = np.maximum(d, (self.from_back - np.minimum(0.8 + 0.5 * rib, 2.3)) * 100)
            self.bone(np.maximum(d, (0.2 - self.from_back) * 100), 2)
        if (grown := self.z - 78) > 0:
            for side in (-1, 1):  # iliac wings
                ends = (side * 48, back + 34), (side * (60 + 0.9 * grown), back + 30 - 1.1 * grown)
                self.bone(self.segment(*ends) - 6, 3)

    def bone(self, distance: Field, cortex_mm: float) -> None:
        self.paint(ALL, distance, CORTICAL_HU - 60)
        self.paint(ALL, distance + cortex_mm, self.p.marrow_hu)

    def segment(self, a: tuple[float, float], b: tuple[float, float]) -> Field:
        """Return the distance in mm to the line segment from a to b."""
        x, y, dx, dy = self.x - a[0], self.y - a[1], b[0] - a[0], b[1] - a[1]
        t = np.clip((x * dx + y * dy) / (dx * dx + dy * dy), 0, 1)
        return np.asarray(np.hypot(x - t * dx, y - t * dy))

    def vessels(self) -> None:
        p, front = self.p, self.p.back - 29
        aorta = Blob((11, front, 0), (10.5, 10, FAR_MM), p.blood_hu, 0, (-0.05, 0.02))
        cava = Blob((-18, front, 0), (13, 10, FAR_MM), p.vein_hu, 0.2, (0.02, 0.0))
        for trunk in (aorta, cava):
            self.paint(*self.reach(trunk), trunk.hu)
        for kidney, sinus, _ in p.kidneys:
            for trunk, radius, below in ((aorta, 3.2, 0), (cava, 5.0, 8)):
                off = self.z - kidney.centre[2] - below
                if abs(off) < radius + 3:
                    d = self.segment(trunk.axis(self.z), sinus.axis(self.z))
                    self.paint(ALL, np.hypot(d, max(abs(off) - 3, 0)) - radius, trunk.hu)

    def kidney(self, kidney: Blob, sinus: Blob, pelvis: Blob) -> None:
        p = self.p
        box, d = self.reach(kidney)
        x, y = self.x[box], self.y[box]
        waves = self.waves(p.pyramids, box)
        hollow = sinus.distance(x, y, self.z) + 2 * waves
        d = np.maximum(d + kidney.ripple_mm * waves, 1 - self.stiff[box])
        outer = np.maximum(d, self.inside[box] + 1)
        medulla = np.clip(-(outer + 6) / 3, 0, 1) * np.clip(waves + 0.9, 0, 1)
        outer = np.maximum(outer, -hollow)
        self.paint(box, outer, kidney.hu - p.gap_hu * medulla)
        self.label[box][outer < 0] = KIDNEY
        self.paint(box, np.maximum(pelvis.distance(x, y, self.z), d), pelvis.hu)

    def lesion(self, lesion: Lesion, label: int) -> None:
        blob, (box, d) = lesion.blob, self.reach(lesion.blob)
        lobes = self.waves(lesion.lobes, box)
        d = d + blob.ripple_mm * np.clip(lobes, -2, 2)
        d = np.maximum(d, np.maximum(1 - self.stiff[box], self.inside[box] + 1))
        hu = blob.hu + blob.mottle_hu * self.waves(lesion.texture, box)
        hu += lesion.rim_hu * np.clip(d / 2 + 2.5, 0, 1)
        self.paint(box, d, hu)
        if lesion.necrosis_hu is not None:
            core = np.maximum(d + 0.3 * blob.radii[0], -6 * (lobes + 0.3))
            self.paint(box, core, lesion.necrosis_hu)
        self.label[box][d < 0] = label


def draw(
    seed: int, case: int, slices: int, size: int
) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.uint8], tuple[float, float, float]]:
    """Return a case as HU and labels, both [slices, size, size], and spacing (z, y, x) in mm.

    Axis 0 points to the feet, 1 to the back, 2 to the patient's left. Each case has voxels of both
    labels (1 kidney, 2 tumour), and slices without labels.
    """
    rng = np.random.default_rng([seed, case])
    depth_mm, margin = rng.uniform(212, 238), rng.uniform(1.06, 1.16)
    dz_mm = depth_mm / slices
    z_mm = (np.arange(slices) - (slices - 1) / 2) * dz_mm
    patient = Patient(rng, z_mm)
    fov_mm = float(np.clip(2 * margin * patient.half[0], 350, 420))
    canvas = Canvas(patient, size, fov_mm, dz_mm)
    hu, label = zip(*(canvas.slice(float(z)) for z in z_mm), strict=True)
    return np.stack(hu), np.stack(label), (dz_mm, canvas.pixel, canvas.pixel)
