"""The loops of `kinema.reinforce.reposed`, compiled by numba: look a surface point up in the first frame, and draw.

Input: arrays as `reposed` prepares them. Output: colours of vertices, and RGB with how well it is known, of one frame.
A sample is one of the points of a pixel, S along each side. Pixels count from the picture's corner: the first one's
centre is (0.5, 0.5).
Source: mean value coordinates as in Hormann and Floater, "Mean value coordinates for arbitrary planar polygons" (2006);
Catmull-Rom's spline for pictures as in Keys, "Cubic convolution interpolation for digital image processing" (1981).
"""

from __future__ import annotations

import numpy as np
from numba import njit

DEPTH_SLACK_M = 0.03
"""A point this little behind the first frame's z-buffer is still what was seen there: the z-buffer has steps."""
LEAST_FACING = 0.12
"""A face whose area in the first frame is less than this much of the area it now has would be a smear: not known."""
LEAST_WEIGHT = 0.05
"""A point is known where the subject's own texels, weighted by trust, make up at least this much of those around it."""
MOST_RELIT = 0.9
"""Limit of the logarithm by which brightness changes as a surface turns."""
SAME_PATCH_PX = 3.0
"""Samples of one pixel that lie this near each other in the first frame are looked up once, at their mean."""
_COMPILE = {"cache": True, "nogil": True, "error_model": "numpy"}


@njit(**_COMPILE)
def _cubic(t):
    """Weights of the 4 texels around a point, t in 0-1 past the second one's centre."""
    a = t * t
    b = a * t
    return -0.5 * t + a - 0.5 * b, 1.0 - 2.5 * a + 1.5 * b, 0.5 * t + 2.0 * a - 1.5 * b, -0.5 * a + 0.5 * b


@njit(**_COMPILE)
def look_up(texture, label, u, v):
    """The colour of what has a label at a point of the first frame -> r, g, b, and the weight 0-1 of its texels.

    texture  image float32 [H,W,3]; labels int32 [H,W]; trust float32 [H,W], 1 away from a subject's border
    Only texels of that label count. Smooth (cubic) where all are trusted, else their weighted mean.
    """
    image, labels, trust = texture
    height, width = labels.shape
    x, y = int(np.floor(u - 0.5)), int(np.floor(v - 0.5))
    fx, fy = u - 0.5 - x, v - 0.5 - y
    r = g = b = total = 0.0
    smooth = 1 <= x < width - 2 and 1 <= y < height - 2
    if smooth:
        for j in range(y - 1, y + 3):
            for i in range(x - 1, x + 3):
                smooth = smooth and labels[j, i] == label and trust[j, i] >= 1.0
    if smooth:
        wx, wy = _cubic(fx), _cubic(fy)
        for j in range(4):
            for i in range(4):
                w, p, q = wy[j] * wx[i], y - 1 + j, x - 1 + i
                r, g, b = r + w * image[p, q, 0], g + w * image[p, q, 1], b + w * image[p, q, 2]
        return min(max(r, 0.0), 255.0), min(max(g, 0.0), 255.0), min(max(b, 0.0), 255.0), 1.0
    for j in range(2):
        for i in range(2):
            p, q = min(max(y + j, 0), height - 1), min(max(x + i, 0), width - 1)
            if labels[p, q] == label:
                w = (fy if j else 1 - fy) * (fx if i else 1 - fx) * trust[p, q]
                r, g, b = r + w * image[p, q, 0], g + w * image[p, q, 1], b + w * image[p, q, 2]
                total += w
    if total > 1e-6:
        return r / total, g / total, b / total, total
    return 0.0, 0.0, 0.0, 0.0


@njit(**_COMPILE)
def _seen_first(depth, drawn, subject, u, v, z):
    """Whether the first frame's z-buffer (2x2 samples a pixel) has this subject, no nearer than z, around a point."""
    height, width = depth.shape
    x, y = int(np.floor(2 * u - 0.5)), int(np.floor(2 * v - 0.5))
    for j in range(max(y, 0), min(y + 2, height)):
        for i in range(max(x, 0), min(x + 2, width)):
            if drawn[j, i] == subject and depth[j, i] >= z - DEPTH_SLACK_M:
                return True
    return False


@njit(**_COMPILE)
def vertex_colours(first, facing, owner, labels, texture, z_buffer, colours, weights):
    """The first frame's colour of every vertex that it shows, and the weight of it (0: not seen there).

    first    float64 [V,3] homogeneous pixels of the first frame      facing  float32 [V] cosine towards the camera
    owner    uint8 [V] subject ids     labels  int32 [V]     colours, weights  float32 [V,3], [V], written
    """
    depth, drawn = z_buffer
    for n in range(len(first)):
        z = first[n, 2]
        if z > 0 and facing[n] > LEAST_FACING:
            u, v = first[n, 0] / z, first[n, 1] / z
            if _seen_first(depth, drawn, owner[n], u, v, z):
                r, g, b, weight = look_up(texture, labels[n], u, v)
                colours[n, 0], colours[n, 1], colours[n, 2], weights[n] = r, g, b, weight


@njit(**_COMPILE)
def spread(colours, fixed, edges, steps):
    """Smooth colours [V,3] along edges [E,2], in place, `steps` times over; those of `fixed` [V] vertices stay."""
    total, count = np.empty_like(colours), np.empty(len(colours), np.float32)
    for _ in range(steps):
        total[:] = colours
        count[:] = 1
        for e in range(len(edges)):
            i, j = edges[e, 0], edges[e, 1]
            for k in range(3):
                total[i, k] += colours[j, k]
                total[j, k] += colours[i, k]
            count[i] += 1
            count[j] += 1
        for n in range(len(colours)):
            if not fixed[n]:
                for k in range(3):
                    colours[n, k] = total[n, k] / count[n]


@njit(**_COMPILE)
def mean_value_point(x, y, polygon, values):
    """Where a point goes when the corners [N,2] of a polygon go to `values` [N,2]; exact for any affine map."""
    count = len(polygon)
    u = v = total = 0.0
    for k in range(count):
        n, p = (k + 1) % count, (k - 1) % count
        sx, sy = polygon[k, 0] - x, polygon[k, 1] - y
        nx, ny = polygon[n, 0] - x, polygon[n, 1] - y
        px, py = polygon[p, 0] - x, polygon[p, 1] - y
        r, rn, rp = np.hypot(sx, sy), np.hypot(nx, ny), np.hypot(px, py)
        if r < 1e-6:
            return values[k, 0], values[k, 1]
        after, before = sx * ny - sy * nx, px * sy - py * sx
        dot_after, dot_before = sx * nx + sy * ny, px * sx + py * sy
        if abs(after) < 1e-9 and dot_after <= 0:
            share = r / (r + rn) if r + rn > 0 else 0.0
            return (values[k, 0] + share * (values[n, 0] - values[k, 0]),
                    values[k, 1] + share * (values[n, 1] - values[k, 1]))  # fmt: skip
        w = 0.0
        if abs(before) > 1e-9:
            w += (rp - dot_before / r) / before
        if abs(after) > 1e-9:
            w += (rn - dot_after / r) / after
        u, v, total = u + w * values[k, 0], v + w * values[k, 1], total + w
    if abs(total) < 1e-12:
        return values[0, 0], values[0, 1]
    return u / total, v / total


@njit(**_COMPILE)
def _area(points, a, b, c):
    """Twice the area on the picture of three homogeneous points; below zero where the face is seen from outside."""
    ax, ay = points[a, 0] / points[a, 2], points[a, 1] / points[a, 2]
    bx, by = points[b, 0] / points[b, 2], points[b, 1] / points[b, 2]
    cx, cy = points[c, 0] / points[c, 2], points[c, 1] / points[c, 2]
    return (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)


@njit(**_COMPILE)
def _first_point(corners, weights, first, now, subject, z_buffer):
    """Where the surface point of a sample was in the first frame -> u, v, whether it was seen there."""
    a, b, c = corners[0], corners[1], corners[2]
    z = weights[0] * first[a, 2] + weights[1] * first[b, 2] + weights[2] * first[c, 2]
    if not (first[a, 2] > 0 and first[b, 2] > 0 and first[c, 2] > 0):
        return 0.0, 0.0, False
    before, after = _area(first, a, b, c), _area(now, a, b, c)
    if before >= 0 or before > LEAST_FACING * after:
        return 0.0, 0.0, False
    u = (weights[0] * first[a, 0] + weights[1] * first[b, 0] + weights[2] * first[c, 0]) / z
    v = (weights[0] * first[a, 1] + weights[1] * first[b, 1] + weights[2] * first[c, 1]) / z
    return u, v, _seen_first(z_buffer[0], z_buffer[1], subject, u, v, z)


@njit(**_COMPILE)
def _body_sample(seen, skin, texture, z_buffer, subject, label):
    """-> r, g, b, how well it is known, u, v: its place in the first frame where that shows it, else u = -1; and how
    much brighter it is now than there."""
    corners, weights = seen
    first, now, colours, known, lit, lit_now = skin
    u, v, shown = _first_point(corners, weights, first, now, subject, z_buffer)
    a, b, c = corners[0], corners[1], corners[2]
    gain = weights[0] * lit_now[a] + weights[1] * lit_now[b] + weights[2] * lit_now[c]
    if shown:
        red, green, blue, weight = look_up(texture, label, u, v)
        if weight >= LEAST_WEIGHT:
            gain -= weights[0] * lit[a] + weights[1] * lit[b] + weights[2] * lit[c]
            gain = np.exp(min(max(gain, -MOST_RELIT), MOST_RELIT))
            return gain * red, gain * green, gain * blue, 1.0, u, v, gain
    gain = np.exp(min(max(gain, -MOST_RELIT), MOST_RELIT))
    red = green = blue = sure = 0.0
    for k in range(3):
        n, w = corners[k], weights[k]
        red, green, blue = red + w * colours[n, 0], green + w * colours[n, 1], blue + w * colours[n, 2]
        sure += w * known[n]
    return gain * red, gain * green, gain * blue, sure, -1.0, -1.0, gain


@njit(**_COMPILE)
def _object_sample(x, y, outline_now, outline_first, sheet, labels, label):
    """As `_body_sample`, of an object: its picture, filled up beyond its border, moves as its outline [16,2] does."""
    u, v = mean_value_point(x, y, outline_now, outline_first)
    height, width = labels.shape
    u, v = min(max(u, 0.5), width - 0.5), min(max(v, 0.5), height - 0.5)
    i, j = min(int(u - 0.5), width - 2), min(int(v - 0.5), height - 2)
    fx, fy = u - 0.5 - i, v - 0.5 - j
    a, b, c, d = (1 - fx) * (1 - fy), fx * (1 - fy), (1 - fx) * fy, fx * fy
    red = a * sheet[j, i, 0] + b * sheet[j, i + 1, 0] + c * sheet[j + 1, i, 0] + d * sheet[j + 1, i + 1, 0]
    green = a * sheet[j, i, 1] + b * sheet[j, i + 1, 1] + c * sheet[j + 1, i, 1] + d * sheet[j + 1, i + 1, 1]
    blue = a * sheet[j, i, 2] + b * sheet[j, i + 1, 2] + c * sheet[j + 1, i, 2] + d * sheet[j + 1, i + 1, 2]
    return red, green, blue, 1.0 if labels[int(v), int(u)] == label else 0.25, -1.0, -1.0, 1.0


@njit(**_COMPILE)
def draw_frame(surface, meshes, skin, first_frame, objects, background, known, out):
    """One frame: every pixel the mean of its SxS samples, each a surface point's colour or the background's.

    surface      face_ids int32 [SH,SW] (-1: none), weights float32 [SH,SW,3]
    meshes       faces int32 [F,3]; subject uint8 [F]; label int32 [F]; for every subject its row in `objects`, -1 for a
                 body [S+1]
    skin         homogeneous pixels float64 [V,3] of the first frame and of this one; vertex colours, evenly lit [V,3],
                 known [V]; logarithm of light in the first frame and in this one [V]
    first_frame  texture as `look_up` takes it; z-buffer: depth float32 and subjects uint8, both [2H,2W]
    objects      outlines float64 [N,16,2] in this frame and in the first; pictures float32 [N,H,W,3]
    background   of this frame, float32 [H,W,3] 0-255
    known        float32 [H,W]: comes as the background's, is left as the frame's     out  float32 [H,W,3] 0-255
    """
    face_ids, weights = surface
    faces, face_subjects, face_labels, rows = meshes
    texture, z_buffer = first_frame
    outlines_now, outlines_first, sheets = objects
    side = face_ids.shape[0] // known.shape[0]
    samples = side * side
    us, vs = np.empty(samples), np.empty(samples)
    for y in range(known.shape[0]):
        for x in range(known.shape[1]):
            r = g = b = sure = 0.0
            patch, count, gain = -1, 0, 0.0
            for k in range(samples):
                j, i = side * y + k // side, side * x + k % side
                face = face_ids[j, i]
                if face < 0:
                    r, g, b = r + background[y, x, 0], g + background[y, x, 1], b + background[y, x, 2]
                    sure += known[y, x]
                    continue
                subject, label = int(face_subjects[face]), face_labels[face]
                row = rows[subject]
                if row < 0:
                    found = _body_sample((faces[face], weights[j, i]), skin, texture, z_buffer, subject, label)
                else:
                    found = _object_sample(
                        (i + 0.5) / side, (j + 0.5) / side, outlines_now[row], outlines_first[row], sheets[row],
                        texture[1], label,
                    )  # fmt: skip
                r, g, b, sure = r + found[0], g + found[1], b + found[2], sure + found[3]
                if found[4] >= 0 and (count == 0 or patch == label):
                    us[count], vs[count], patch, count = found[4], found[5], label, count + 1
                    gain += found[6] / samples
            r, g, b, sure = r / samples, g / samples, b / samples, sure / samples
            if 1 < count == samples and np.ptp(us) <= SAME_PATCH_PX and np.ptp(vs) <= SAME_PATCH_PX:
                exact = look_up(texture, patch, us.mean(), vs.mean())
                if exact[3] >= LEAST_WEIGHT:
                    r, g, b = gain * exact[0], gain * exact[1], gain * exact[2]
            out[y, x, 0], out[y, x, 1], out[y, x, 2], known[y, x] = r, g, b, sure
