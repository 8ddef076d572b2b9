"""Two sets side by side as a picture: bones, lengths of clips, headings and features."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.decomposition import PCA

from mmcl_bench.core.errors import UserError
from mmcl_bench.core.files import write_atomically
from mmcl_bench.core.plotting import own_style, picture_of
from mmcl_bench.protocols.domain_shift.measures import DomainShift
from mmcl_bench.report.drawing import LIGHT

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS, _MARKERS = (LIGHT["c0"], LIGHT["c1"]), ("o", "s")
_BINS = 24


@own_style()
def write_picture(shift: DomainShift, path: Path) -> None:
    """Writes a PNG. Raises :class:`UserError` where it cannot be written."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 8.5), dpi=110, layout="constrained")
    _bones(figure.add_subplot(2, 2, 1), shift)
    _lengths(figure.add_subplot(2, 2, 2), shift)
    _headings(figure.add_subplot(2, 2, 3, projection="polar"), shift)
    _features(figure.add_subplot(2, 2, 4), shift)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    try:
        write_atomically(path, lambda draft: picture_of(figure).save(draft, format="PNG", optimize=True))
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error}); choose another --picture") from error


def _bones(axes: Axes, shift: DomainShift) -> None:
    axes.set_title("Bone lengths")
    for facts, colour, marker in zip((shift.first, shift.second), _COLOURS, _MARKERS, strict=True):
        bones = facts.poses.bones
        axes.plot(list(bones.values()), list(bones), marker, color=colour, alpha=0.8, label=facts.summary["name"])
    axes.invert_yaxis()
    axes.grid(axis="y", alpha=0.3)
    axes.tick_params(axis="y", labelsize=7)
    axes.set_xlabel("share of the torso")


def _lengths(axes: Axes, shift: DomainShift) -> None:
    axes.set_title("Clip lengths")
    rates = [facts.frame_rate for facts in (shift.first, shift.second)]
    known = all(rates)
    lengths = [drawn.lengths / ((rate if known else None) or 1) for drawn, rate in zip(shift.drawn, rates, strict=True)]
    edges = np.histogram_bin_edges(np.concatenate(lengths), _BINS).tolist()
    for of_set, colour in zip(lengths, _COLOURS, strict=True):
        axes.hist(of_set, edges, weights=np.full(len(of_set), 1 / len(of_set)), color=colour, alpha=0.55)
    axes.set_xlabel("seconds" if known else "frames")
    axes.set_ylabel("share of the clips")


def _headings(axes: Any, shift: DomainShift) -> None:
    axes.set_title("Facing, from above; 0 is towards -z")
    axes.set_theta_zero_location("N")
    edges = np.linspace(-np.pi, np.pi, _BINS + 1)
    for drawn, colour in zip(shift.drawn, _COLOURS, strict=True):
        if len(drawn.headings):
            counts = np.histogram(np.radians(drawn.headings), edges)[0]
            axes.bar(edges[:-1], counts / counts.sum(), np.diff(edges), align="edge", color=colour, alpha=0.55)
    axes.tick_params(axis="y", labelsize=7)


def _features(axes: Axes, shift: DomainShift) -> None:
    axes.set_title("Features, first two principal components")
    first, second = (drawn.features for drawn in shift.drawn)
    placed = PCA(2, random_state=0).fit_transform(np.concatenate([first, second]))
    for places, colour, marker in zip((placed[: len(first)], placed[len(first) :]), _COLOURS, _MARKERS, strict=True):
        axes.scatter(places[:, 0], places[:, 1], s=10, c=colour, marker=marker, alpha=0.5, linewidths=0)
