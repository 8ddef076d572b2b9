"""What frozen encoders gave, kept on disk: a second run reads it and loads neither weights nor torch.

Every file is written beside its place and then moved there, and says in its header whose it is and what its bytes
hash to. A file that is cut short, damaged or another's is computed again. Two processes that need the same file
both compute it and write the same bytes, so nothing is locked. What cannot be written there, as beside data that are
shared read-only, is kept in the user's own cache folder.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import platformdirs
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from mmcl_bench.core.files import is_read_only, write_atomically
from mmcl_bench.encoders import TextEncoder, text_encoder
from mmcl_bench.encoders.options import centred

FORMAT = "2"
"""Raised when an encoder's preparation of its input changes, so that older features are computed again."""
BLOCK = 128
"""Clips in one file of features."""
ARRAY, ROWS = "features", "rows"

Progress = Callable[[int, int], None]
"""Called with the clips done and the clips in all."""


def cached_text(
    spec: str,
    texts: Sequence[str],
    cache_dir: Path,
    encoder: TextEncoder | None = None,
    seen: np.ndarray | None = None,
) -> tuple[np.ndarray, str]:
    """Embeddings of class texts by the encoder ``spec``: float32 (N, D) and the sha256 of the weights.

    Kept under encoder, weights and the sha256 of all texts in their order. An encoder that centres them does so
    afterwards, unless all texts are the same: it subtracts the mean of the ``seen`` ones, bool (N,), by default of all.
    ``encoder``: one that ``spec`` made before, as loading takes long.
    """
    if not texts:
        raise ValueError("no text to encode")
    encoder = encoder or text_encoder(spec)
    digest = hashlib.sha256(json.dumps(list(texts)).encode()).hexdigest()
    identity = {"encoder": encoder.name, "weights": encoder.weight_hash, "texts": digest}
    path = cache_dir / "texts" / folder_name(encoder.name, encoder.weight_hash) / f"{digest[:32]}.safetensors"
    stored = read_arrays(path, identity)
    if stored is None:
        stored = {ARRAY: np.asarray(encoder.encode(texts), dtype=np.float32)}
        write_arrays(path, stored, identity)
    rows = stored[ARRAY]
    # Encoders of plugins need not know of it.
    if getattr(encoder, "centre", False) and len(set(texts)) > 1:
        rows = centred(rows, encoder.name, seen)
    return rows, encoder.weight_hash


class _NotStoredError(LookupError):
    """Features that would have to be computed."""


@dataclass(frozen=True)
class FeatureCache:
    """Features of a data set's clips by one encoder, one row a clip, filled as they are asked for.

    Rows lie in files of 128 clips each; a file holds those of its clips that were asked for so far. Numbers must not
    depend on which task asked first or how often a run was killed, so a clip's features must not depend on the clips
    beside it: encoders take every input by itself. Where they do not, and on another kind of device, the last digits
    are others, and those features are apart.
    """

    cache_dir: Path
    fingerprint: str
    """Of the data set."""
    modality: str
    """``rgb`` or ``instruct``: one encoder may serve both."""
    encoder: str
    weight_hash: str
    device: str = "cpu"
    """Its kind: ``cpu``, ``cuda``, ..."""
    batch: int = 1
    """Clips that go through the encoder together."""

    @property
    def folder(self) -> Path:
        return self._of_encoder / f"{self.device}-{self.batch}"

    @property
    def _of_encoder(self) -> Path:
        return self.cache_dir / self.fingerprint[:16] / self.modality / folder_name(self.encoder, self.weight_hash)

    def made_otherwise(self) -> list[FeatureCache]:
        """The same features as other kinds of devices and batches made them, as far as they are there."""
        found = [folder.name.rpartition("-") for folder in sorted(self._of_encoder.glob("*-*/"))]
        there = [replace(self, device=device, batch=int(batch)) for device, _, batch in found if batch.isdigit()]
        return [each for each in there if each != self]

    def stored(self, rows: Sequence[int]) -> np.ndarray | None:
        """float32 (len(rows), D), in the order of ``rows``; None unless all of them are there."""

        def refuse(missing: list[int]) -> np.ndarray:
            raise _NotStoredError

        try:
            return self.features(rows, refuse)
        except _NotStoredError:
            return None

    def features(
        self,
        rows: Sequence[int],
        compute: Callable[[list[int]], np.ndarray],
        progress: Progress | None = None,
    ) -> np.ndarray:
        """float32 (len(rows), D), in the order of ``rows``.

        ``compute`` gives the features (n, D) of n rows that are not there yet. ``progress`` counts distinct rows.
        """
        if not len(rows):
            raise ValueError("no clip to encode")
        distinct, position = np.unique(np.asarray(rows, dtype=np.int64), return_inverse=True)
        parts: list[np.ndarray] = []
        done = 0
        for block in np.unique(distinct // BLOCK).tolist():
            wanted = distinct[distinct // BLOCK == block]
            parts.append(self._block(block, wanted, compute))
            done += len(wanted)
            if progress is not None:
                progress(done, len(distinct))
        return np.concatenate(parts)[position]

    def _block(self, block: int, wanted: np.ndarray, compute: Callable[[list[int]], np.ndarray]) -> np.ndarray:
        path = self.folder / f"{block:06d}.safetensors"
        identity = {
            "data": self.fingerprint,
            "modality": self.modality,
            "encoder": self.encoder,
            "weights": self.weight_hash,
            "device": self.device,
            "batch": str(self.batch),
        }
        stored = read_arrays(path, identity) or {ROWS: wanted[:0]}
        missing = np.setdiff1d(wanted, stored[ROWS])
        if len(missing):
            computed = np.asarray(compute(missing.tolist()), dtype=np.float32)
            if computed.ndim != 2 or len(computed) != len(missing):
                raise ValueError(f"{self.encoder} gave {computed.shape} for {len(missing)} clips")
            stored = _merged(stored, {ROWS: missing, ARRAY: computed})
            write_arrays(path, stored, identity)
        chosen: np.ndarray = stored[ARRAY][np.searchsorted(stored[ROWS], wanted)]
        return chosen


def _merged(stored: Mapping[str, np.ndarray], new: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Both, sorted by row."""
    both = {name: np.concatenate([stored.get(name, added[:0]), added]) for name, added in new.items()}
    order = np.argsort(both[ROWS])
    return {name: array[order] for name, array in both.items()}


def made_on(device: str, batch: int | str) -> str:
    """What changes the digits of features, in words."""
    return f"on {device}, {batch} at once"


def folder_name(encoder: str, weight_hash: str) -> str:
    """A folder name that any file system takes: ``clip_ViT-B-32-40d365715913``."""
    return f"{re.sub(r'[^A-Za-z0-9.-]+', '_', encoder)[:80]}-{weight_hash[:12]}"


def read_arrays(path: Path, identity: Mapping[str, str]) -> dict[str, np.ndarray] | None:
    """What :func:`write_arrays` wrote for ``path``; None when absent, damaged or another's."""
    found = (_read(place, identity) for place in (path, _in_own_cache(path)))
    return next((arrays for arrays in found if arrays is not None), None)


def _in_own_cache(path: Path) -> Path:
    """Where the user's cache folder has what cannot be written at ``path``."""
    own = platformdirs.user_cache_path("mmcl-bench", appauthor=False)
    whole = path.absolute()
    return own.joinpath("read-only", *whole.relative_to(whole.anchor).parts)


def _read(path: Path, identity: Mapping[str, str]) -> dict[str, np.ndarray] | None:
    try:
        with safe_open(path, framework="np") as file:
            header = file.metadata() or {}
            arrays: dict[str, np.ndarray] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, KeyError):
        return None
    return arrays if header == {**identity, "format": FORMAT, "sha256": _digest(arrays)} else None


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray], identity: Mapping[str, str]) -> None:
    """Writes ``arrays`` at ``path`` in one step, with ``identity`` and their sha256 in the header.

    Where nothing can be written, they go to the user's cache folder; where not even that can be, they are not kept.
    """
    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    header = {**identity, "format": FORMAT, "sha256": _digest(whole)}
    for place in (path, _in_own_cache(path)):
        try:
            write_atomically(place, lambda draft: draft.write_bytes(save(whole, metadata=header)))
        except OSError as error:
            if not is_read_only(error):
                raise
        else:
            return


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(f"{name}:{arrays[name].shape}:{arrays[name].dtype}".encode())
        digest.update(np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()
