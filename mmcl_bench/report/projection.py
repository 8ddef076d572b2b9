"""Two dimensions of the space of class texts, for a map of clips."""

from __future__ import annotations

import numpy as np

from mmcl_bench.evaluation.metrics import Scored
from mmcl_bench.report.figures import MappedSamples
from mmcl_bench.results.store import Stored


def map_samples(job: Stored, scored: Scored) -> MappedSamples | None:
    """The clips of unseen classes of a job and their class texts on a plane; None where it keeps no embeddings.

    Deterministic: see :func:`plane`. ``scored`` is the job's score sheet.
    """
    kept = job.embeddings()
    if kept is None or len(kept.prototypes) < 2:
        return None
    samples, prototypes = plane(kept.samples.astype(np.float64), kept.prototypes.astype(np.float64))
    unseen = np.flatnonzero(~scored.seen)
    labels = np.searchsorted(unseen, scored.labels[kept.rows])
    chosen = scored.scores[np.ix_(kept.rows, unseen)].argmax(axis=1)
    names = [job.result.classes[int(k)] for k in unseen]
    return MappedSamples(samples, labels, chosen == labels, prototypes, names)


def plane(samples: np.ndarray, prototypes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N, 2) and (K, 2) coordinates of unit rows (N, D) and (K, D), K > 1.

    A choice among classes depends on where a clip lies in the span of the differences of their texts, and on nothing
    else of it. The map is a principal component analysis (PCA) within that span, of clips and texts with equal weight
    in all. Between two texts the span is a line; the second axis is then the first principal component of what the
    clips have beside it.
    """
    from sklearn.decomposition import PCA

    centre = prototypes.mean(axis=0)
    _, sizes, directions = np.linalg.svd(prototypes - centre, full_matrices=False)
    span = directions[sizes > 1e-6 * max(float(sizes[0]), 1e-12)]
    within, texts = (samples - centre) @ span.T, (prototypes - centre) @ span.T
    if within.shape[1] < 2:
        beside = samples - centre - within @ span
        extra = _first_component(beside)
        return np.column_stack([_or_zero(within), extra]), np.column_stack([_or_zero(texts), np.zeros(len(texts))])
    repeated = np.repeat(texts, max(1, round(len(within) / len(texts))), axis=0)
    fitted = PCA(2, svd_solver="full").fit(np.concatenate([within, repeated]))
    return fitted.transform(within), fitted.transform(texts)


def _first_component(rows: np.ndarray) -> np.ndarray:
    from sklearn.decomposition import PCA

    if len(rows) < 2 or not np.ptp(rows, axis=0).any():
        return np.zeros(len(rows))
    found: np.ndarray = PCA(1, svd_solver="full").fit_transform(rows)[:, 0]
    return found


def _or_zero(coordinates: np.ndarray) -> np.ndarray:
    """The first column; zeros where texts are all the same."""
    return coordinates[:, 0] if coordinates.shape[1] else np.zeros(len(coordinates))
