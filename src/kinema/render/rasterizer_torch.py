"""The z-buffer in torch, for a GPU: every (triangle, pixel of its bounding box) pair at once.

Input and output as `kinema.render.rasterizer.rasterize`, whose rules it follows to the same bits. The few triangles
that must be clipped are cut on the CPU. Nearest and first is one maximum: inverse depth above, face below.
"""

from __future__ import annotations

import numpy as np
import torch

from kinema.render import raster_kernels as kernels
from kinema.render.rasterizer import Geometry, Raster

PAIRS_AT_ONCE = 1 << 23
_BITS, _ONE = kernels.SUBPIXEL_BITS, kernels.SUBPIXELS


def rasterize_torch(geometry: Geometry, normals: bool, near_m: float, device: str) -> Raster:
    """Frame by frame on `device`; arrays come back as numpy."""
    faces = torch.from_numpy(geometry.faces.astype(np.int64)).to(device)
    labels = torch.from_numpy(np.stack([geometry.face_parts, geometry.face_subjects], -1)).to(device)
    frames, shape = len(geometry.vertices), (geometry.height, geometry.width)
    parts, subjects = np.zeros((frames, *shape), np.uint8), np.zeros((frames, *shape), np.uint8)
    depth, shown = np.empty((frames, *shape), np.float32), np.zeros((frames, *shape, 3), np.float32)
    for t in range(frames):
        vertices = torch.from_numpy(geometry.vertices[t]).to(device)
        m = torch.from_numpy(geometry.matrices[t]).to(device)
        x, y, z = vertices.double().unbind(-1)
        points = torch.stack([row[0] * x + row[1] * y + row[2] * z + row[3] for row in m], -1)
        key = torch.zeros(geometry.height * geometry.width, dtype=torch.int64, device=device)
        _fill(*_triangles(points, faces, near_m, geometry), key, *shape)
        hit = (key > 0).nonzero()[:, 0]
        face = 0xFFFFFFFF - (key[hit] & 0xFFFFFFFF)
        image = torch.zeros((len(key), 2), dtype=torch.uint8, device=device)
        image[hit] = labels[face]
        parts[t], subjects[t] = image.T.reshape(2, *shape).cpu().numpy()
        depth[t] = (1 / (key >> 32).int().view(torch.float32)).reshape(shape).cpu().numpy()
        if normals:
            rotation = torch.from_numpy(geometry.rotations[t]).to(device)
            smooth = _vertex_normals(vertices, faces) @ rotation.T
            flat = torch.zeros((len(key), 3), device=device)
            pixel = torch.stack([hit % shape[1] + 0.5, hit // shape[1] + 0.5, torch.ones_like(hit)], -1)
            flat[hit] = _pixel_normals(points[faces[face]], pixel.double(), smooth[faces[face]])
            shown[t] = flat.reshape(*shape, 3).cpu().numpy()
    return Raster(parts, subjects, depth, shown if normals else None)


def _triangles(points: torch.Tensor, faces: torch.Tensor, near_m: float, geometry: Geometry):
    """Snapped corners int64 [N,3,2], inverse depths [N,3], face ids [N] and whether they are drawn from outside only,
    of all that is left after clipping."""
    limit = kernels.GUARD_PX * points[:, 2]
    finite = points.isfinite().all(-1)
    whole = finite & (points[:, 2] >= near_m) & (points[:, :2].abs() <= limit[:, None]).all(-1)
    simple = whole[faces].all(-1)
    crossing = (finite[faces].all(-1) & ~simple).nonzero()[:, 0]
    corners, ids = [points[faces[simple]]], [simple.nonzero()[:, 0]]
    for face, triangle in zip(crossing.tolist(), points[faces[crossing]].cpu().numpy(), strict=True):
        polygon = kernels.clip(triangle, near_m)
        fan = [np.stack([polygon[0], polygon[k], polygon[k + 1]]) for k in range(1, len(polygon) - 1)]
        if fan:
            corners.append(torch.from_numpy(np.stack(fan)).to(points.device))
            ids.append(torch.full((len(fan),), face, device=points.device))
    all_corners = torch.cat(corners)
    xy = (all_corners[..., :2] / all_corners[..., 2:] * _ONE).round().long()
    outside_only, vertex, face = torch.zeros(len(faces), dtype=torch.bool, device=points.device), 0, 0
    for (last_vertex, last_face), closed in zip(geometry.mesh_ends, geometry.mesh_closed, strict=True):
        outside_only[face:last_face] = bool(closed) and bool(whole[vertex:last_vertex].all())
        vertex, face = last_vertex, last_face
    all_ids = torch.cat(ids)
    return xy, 1.0 / all_corners[..., 2], all_ids, outside_only[all_ids]


def _fill(xy, inverse, ids, outside_only, key, height: int, width: int):
    """Raise `key` [H*W] to (float32 bits of the inverse depth, 2^32 - 1 - face) wherever a triangle is nearer."""
    (x0, y0), (x1, y1), (x2, y2) = (xy[:, k].unbind(-1) for k in range(3))
    area = (x1 - x0) * (y2 - y0) - (y1 - y0) * (x2 - x0)
    drawn = (area != 0) & ~(outside_only & (area > 0))
    turned = torch.where(area < 0, 1, 0)[:, None] * torch.tensor([0, 1, -1], device=xy.device) + torch.arange(
        3, device=xy.device
    )
    xy = xy.gather(1, turned[..., None].expand(-1, -1, 2))
    inverse, area = inverse.gather(1, turned), area.abs()
    size = torch.tensor([width, height], device=xy.device)
    low = ((xy.amin(1) + _ONE // 2 - 1) >> _BITS).clamp_min(0)
    span = (torch.minimum((xy.amax(1) - _ONE // 2) >> _BITS, size - 1) - low + 1).clamp_min(0)
    count = span[:, 0] * span[:, 1] * drawn
    keep = (count > 0).nonzero()[:, 0]
    total = count[keep].cumsum(0)
    start = 0
    while start < len(keep):
        done = 0 if start == 0 else int(total[start - 1])
        stop = max(start + 1, int(torch.searchsorted(total, done + PAIRS_AT_ONCE)))
        part = keep[start:stop]
        pair = part.repeat_interleave(count[part])
        offset = torch.arange(len(pair), device=xy.device) - (total[start:stop] - count[part] - done).repeat_interleave(
            count[part]
        )
        px = low[pair, 0] + offset % span[pair, 0]
        py = low[pair, 1] + offset // span[pair, 0]
        inside, edges = _edges(xy[pair], px * _ONE + _ONE // 2, py * _ONE + _ONE // 2)
        per_area = 1.0 / area[pair].double()
        i0, i1, i2 = inverse[pair].unbind(-1)
        blend = (i0 + (edges[1] * ((i1 - i0) * per_area) + edges[2] * ((i2 - i0) * per_area))).float()
        value = (blend.view(torch.int32).long() << 32) | (0xFFFFFFFF - ids[pair])
        key.scatter_reduce_(0, (py * width + px)[inside], value[inside], "amax")
        start = stop


def _edges(xy, px, py):
    inside, edges = torch.ones_like(px, dtype=torch.bool), []
    for k in range(3):
        a, b = xy[:, (k + 1) % 3], xy[:, (k + 2) % 3]
        dx, dy = (b - a).unbind(-1)
        edge = dx * (py - a[:, 1]) - dy * (px - a[:, 0])
        inside &= (edge > 0) | ((edge == 0) & ((dy < 0) | ((dy == 0) & (dx > 0))))
        edges.append(edge)
    return inside, edges


def _vertex_normals(vertices, faces):
    a, b, c = vertices[faces].unbind(1)
    each = torch.linalg.cross(b - a, c - a)
    total = torch.zeros_like(vertices).index_add_(0, faces.flatten(), each.repeat_interleave(3, 0))
    return torch.nn.functional.normalize(total, dim=-1, eps=1e-30)


def _pixel_normals(corners, ray, normals):
    crosses = torch.linalg.cross(corners[:, [1, 2, 0]], corners[:, [2, 0, 1]])
    side = torch.where((corners[:, 0] * crosses[:, 0]).sum(-1, keepdim=True) < 0, -1.0, 1.0)
    weights = (side * (crosses * ray[:, None]).sum(-1)).clamp_min(0)
    weights = torch.where(weights.sum(-1, keepdim=True) > 0, weights, 1.0)
    blend = -side * (weights[..., None] * normals).sum(1)
    return torch.nn.functional.normalize(blend, dim=-1, eps=1e-30).float()
