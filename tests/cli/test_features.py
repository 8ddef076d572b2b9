"""``mmcl-bench features``: from videos to a trained MMCL, and what is said when something lacks."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from typing_in import type_in

import tiny_multimodal
from feature_inputs import write_features, write_image_model, write_skeletons, write_videos
from mmcl_bench.cli import app
from mmcl_bench.core.errors import UserError
from mmcl_bench.datasets.store import SkeletonDataset
from mmcl_bench.results.store import stored_results
from mmcl_bench.skeleton.clips import Modality
from toys import write_toy

SHORT = ["--set", "epochs=1", "--set", "min_steps=0", "--set", "n_frames=8"]
RUN = ["run", "supervised", "--dataset", "nw-ucla", "--split", "x-sub", *SHORT]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data root with a synthetic stand-in for NW-UCLA, 20 clips, and videos of them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MMCL_BENCH_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("MMCL_BENCH_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "200")
    write_toy(tmp_path / "data", "nw-ucla", 10, 2, 1)
    write_videos(tmp_path / "videos", opened().index["sample_id"])
    return tmp_path


def opened() -> SkeletonDataset:
    return SkeletonDataset.open(Path("data/nw-ucla"))


def features(*words: str) -> None:
    app(["features", *words], standalone_mode=False)


def listed(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    capsys.readouterr()
    features("list", "nw-ucla", "--json")
    lines: list[dict[str, object]] = json.loads(capsys.readouterr().out)
    return lines


def test_from_videos_to_a_trained_mmcl(capsys: pytest.CaptureFixture[str]) -> None:
    tiny_multimodal.write("blip-vqa", Path("tiny-blip"))
    write_image_model("resnet18", Path("resnet18.pth"))
    encoder = "torchvision:resnet18:resnet18.pth"
    whole = ["--videos", "videos", "--crop", "none", "--size", "48x32", "--workers", "1"]
    ask = ["--ask", "tiny-blip", "--longest", "3", "--batch", "4", "--instruction", "Please describe the hands ."]
    features("build", "nw-ucla", *whole, "--encode", encoder, *ask)
    lines = {(line["kind"], line["name"]): line for line in listed(capsys)}
    assert lines["strips", "strips"]["clips"] == 20
    assert lines["features", "tiny-blip"]["numbers"] == 16
    assert lines["features", "tiny-blip"]["use"] == "instruct_encoder=stored:tiny-blip"
    assert lines["encoded", "torchvision:resnet18 on cpu, 4 at once"]["clips"] == 20
    answers = opened().answers()
    assert len(answers) == 20
    assert set(answers["instruction"]) == {"Please describe the hands ."}
    app(["data", "verify", "nw-ucla"], standalone_mode=False)
    app([*RUN, "--set", f"rgb_encoder={encoder}", "--set", "instruct_encoder=stored:tiny-blip"], standalone_mode=False)
    (stored,) = stored_results(Path("results"))
    assert stored.result.notes["losses"] == ["classification", "contrastive", "refinement"]
    stored_features, addition = opened().features("tiny-blip", Modality.INSTRUCT), opened().card.addition("features")
    assert stored_features[1].shape == (20, 16)
    assert stored.result.notes["features"] == {encoder: "on cpu, 4 at once"}
    assert addition is not None
    assert stored.result.provenance.weight_hashes["stored:tiny-blip"] == addition.sha256


def test_training_names_the_clips_that_lack_a_strip_and_runs_without_them_where_they_are_not_needed() -> None:
    ids = opened().index["sample_id"].tolist()
    train = next(name for name in ids if "_s01_" in name)
    Path(f"videos/{train}_rgb.avi").write_bytes(b"broken")
    whole = ["--videos", "videos", "--crop", "none", "--size", "48x32", "--workers", "1"]
    with pytest.raises(UserError, match=f"the video of {train} is no video .*--skip-bad"):
        features("build", "nw-ucla", *whole)
    features("build", "nw-ucla", *whole, "--skip-bad")
    with pytest.raises(
        UserError, match=rf"1 of the clips to learn from have no strips: {train} \(is no video"
    ) as caught:
        app([*RUN, "--set", "frm=false"], standalone_mode=False)
    assert "\n" not in str(caught.value)
    app([*RUN, "--set", "fam=false"], standalone_mode=False)


def test_imported_features_stand_in_for_encoders(capsys: pytest.CaptureFixture[str]) -> None:
    ids = opened().index["sample_id"].tolist()
    write_features(Path("Their RGB"), ids)
    Path("matrix").mkdir()
    np.save("matrix/any.npy", np.random.default_rng(0).normal(size=(20, 3, 6)))
    Path("matrix/sample_ids.txt").write_text("\n".join(reversed(ids)))
    features("import", "nw-ucla", "--rgb", "Their RGB")
    features("import", "nw-ucla", "--instruct", "matrix", "--as", "llm")
    uses = {line["use"] for line in listed(capsys)}
    assert uses == {"rgb_encoder=stored:their-rgb", "instruct_encoder=stored:llm"}
    rows, matrix = opened().features("llm", Modality.INSTRUCT)
    np.testing.assert_allclose(matrix[rows == 0][0], np.load("matrix/any.npy")[19].mean(axis=0), rtol=1e-6)
    with pytest.raises(UserError, match=r"has no strips; .*rgb_encoder=stored:their-rgb"):
        app(RUN, standalone_mode=False)
    sets = ["--set", "rgb_encoder=stored:their-rgb", "--set", "instruct_encoder=stored:llm"]
    app([*RUN, *sets], standalone_mode=False)
    (stored,) = stored_results(Path("results"))
    assert stored.result.notes["losses"] == ["classification", "contrastive", "refinement"]


def test_other_features_under_the_same_name_are_another_result() -> None:
    ids = opened().index["sample_id"].tolist()
    run = [*RUN, "--set", "rgb_encoder=stored:mine", "--set", "frm=false"]
    for size in (4, 5):
        write_features(Path(f"of-{size}"), ids, size)
        features("import", "nw-ucla", "--rgb", f"of-{size}", "--as", "mine")
        app(run, standalone_mode=False)
    weights = {stored.result.provenance.weight_hashes["stored:mine"] for stored in stored_results(Path("results"))}
    newest = opened().card.addition("features")
    assert newest is not None
    assert newest.sha256 in weights, "a stored result of other features is not taken for this one"


def test_bad_features_are_named_or_left_out() -> None:
    ids = opened().index["sample_id"].tolist()
    write_features(Path("mine"), ids)
    Path(f"mine/{ids[0]}.npy").unlink()
    np.save(f"mine/{ids[1]}.npy", np.full(8, np.nan))
    np.save(f"mine/{ids[2]}.npy", np.array([{"code": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(UserError, match=f"3 of 20 clips are without features: {ids[0]}, {ids[1]}, {ids[2]} "):
        features("import", "nw-ucla", "--rgb", "mine")
    features("import", "nw-ucla", "--rgb", "mine", "--skip-bad")
    addition = opened().card.addition("features", "mine")
    assert addition is not None
    assert addition.n_clips == 17
    assert "numpy" in addition.lacking[ids[2]]
    with pytest.raises(UserError, match="have no rgb features"):
        app([*RUN, "--set", "rgb_encoder=stored:mine"], standalone_mode=False)


def test_people_are_cut_out_where_skeleton_files_say_that_they_are() -> None:
    write_skeletons(Path("skeletons.zip"), opened())
    features("build", "nw-ucla", "--videos", "videos", "--skeletons", "skeletons.zip", "--size", "16x24")
    strips = opened().card.addition("strips")
    assert strips is not None
    assert strips.n_clips == 20
    assert strips.made["around"] == ["skeletons"]


def test_what_a_classifier_sees_is_an_answer_that_a_text_encoder_reads(capsys: pytest.CaptureFixture[str]) -> None:
    whole = ["--videos", "videos", "--crop", "none", "--size", "48x32", "--workers", "1"]
    features("build", "nw-ucla", *whole, "--ask", "imagenet-labels")
    lines = {(line["kind"], line["name"]): line for line in listed(capsys)}
    assert lines["features", "imagenet-labels"]["numbers"] == 1000
    answers = opened().answers()
    assert set(answers["instruction"]) == {"What does the picture show?"}
    assert all(len(answer.split(", ")) == 5 for answer in answers["answer"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["build", "nw-ucla"], "give --videos to make strips"),
        (["build", "nw-ucla", "--videos", "videos"], "say how to find people"),
        (["build", "nw-ucla", "--videos", "videos", "--crop", "nome"], "choose person or none"),
        (["build", "nw-ucla", "--videos", "videos", "--crop", "none", "--size", "big"], "expected two numbers"),
        (["build", "nw-ucla", "--videos", "videos", "--crop", "none", "--size", "1700x48"], "at most 8192 each way"),
        (["build", "nw-ucla", "--videos", "videos", "--crop", "none", "--detector", "hf:x"], "leave out --skeletons"),
        (["build", "nw-ucla", "--videos", "nowhere", "--crop", "none"], "no such file or folder"),
        (["build", "nw-ucla", "--videos", "videos", "--detector", "torchvision:yolo"], "has no model 'yolo'"),
        (["build", "nw-ucla", "--videos", "videos", "--skeletons", "videos"], "holds no .skeleton file"),
        (["build", "nw-ucla", "--encode", "torchvision:resnet18"], "has no rgb data"),
        (["build", "nw-ucla", "--ask", "nobody/nothing"], "nothing is downloaded"),
        (["build", "nw-ucla", "--ask", "imagenet-labels", "--instruction", "Why?"], "leave out --instruction"),
        (["import", "nw-ucla"], "give --rgb FOLDER or --instruct FOLDER"),
        (["import", "nw-ucla", "--rgb", "nowhere"], "no such folder"),
        (["import", "nw-ucla", "--rgb", "videos"], "20 of 20 clips are without features"),
        (["list", "nw-uclaa"], "Did you mean nw-ucla"),
    ],
)
def test_a_mistake_is_one_line(words: list[str], message: str) -> None:
    before = opened().card
    with pytest.raises(UserError) as caught:
        features(*words)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert opened().card == before


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    for name in ("decode", "strips", "build"):
        monkeypatch.delitem(sys.modules, f"mmcl_bench.video.{name}", raising=False)
    build = ["features", "build", "nw-ucla", "--videos", "videos", "--crop", "none"]
    found = type_in(build, monkeypatch, capsys)
    assert found.code == 2
    line = "mmcl-bench: features build needs the extra 'video': pip install 'mmcl-bench[video]'\n"
    assert (found.out, found.err) == ("", line)


def test_a_set_that_brings_its_own_images_keeps_them() -> None:
    dataset = opened()
    card = dataset.card.model_copy(update={"modalities": (Modality.SKELETON, Modality.RGB)})
    (dataset.folder / "card.json").write_text(card.model_dump_json())
    with pytest.raises(UserError, match="brings its own rgb data"):
        features("build", "nw-ucla", "--videos", "videos", "--crop", "none")


def test_listing_a_set_of_skeletons_alone_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    features("list", "nw-ucla")
    assert "skeletons alone" in capsys.readouterr().out


def test_image_encoders_refuse_a_device_that_they_do_not_know() -> None:
    from mmcl_bench.encoders import image_encoder, on_device

    encoder = image_encoder("efficientnet-lite0")
    assert on_device(encoder, "cpu", "efficientnet-lite0") is encoder
    with pytest.raises(UserError, match="works on the CPU alone"):
        on_device(torch.nn.Identity(), "cuda", "mine")  # type: ignore[arg-type]
