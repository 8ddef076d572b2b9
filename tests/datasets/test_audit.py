"""The audit finds every fault that was planted, says where, and finds nothing in a set without any."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from mmcl_bench.core.errors import UserError
from mmcl_bench.datasets.audit import Audit, Severity, audit
from mmcl_bench.datasets.audit.checks import CHECKS, Finding
from mmcl_bench.datasets.audit.clip_facts import Anatomy, frame_codes, measure
from mmcl_bench.datasets.audit.page import write_page
from mmcl_bench.datasets.prepare import prepare
from mmcl_bench.datasets.store import TRACKS, Clip, Completeness, DatasetCard, Side, SkeletonDataset
from mmcl_bench.skeleton.clips import BodyTrack
from mmcl_bench.skeleton.drawing import standing_pose
from mmcl_bench.skeleton.layouts import KINECT_V1
from prepared import write_dataset
from toys import tiny_card

FRAMES = 24
HAND = KINECT_V1.index("left_hand")
CARD = tiny_card(
    name="acted",
    classes=("sit", "stand", "wave"),
    sides={"x-sub": Side(column="subject", train=(1, 3), test=(2, 4), source="test")},
    frame_rate=30.0,
)
Acted = tuple[dict[str, Clip], DatasetCard]


def acted_clip(sample_id: str, label: int, subject: int, seed: int, n_frames: int = FRAMES) -> Clip:
    """Someone who stands 3 m away, every joint swaying by itself, by no more than 10 cm."""
    random = np.random.default_rng(seed)
    rate, phase = random.uniform(0.2, 0.5, (20, 3)), random.uniform(0, 6, (20, 3))
    sway = np.sin(rate * np.arange(n_frames)[:, None, None] + phase) / 10
    positions = (standing_pose(KINECT_V1) + np.array([0.0, -1.0, 3.0]) + sway).astype(np.float32)
    return Clip(sample_id, label, subject, n_frames, (BodyTrack(0, positions),))


def acted() -> Acted:
    """24 clips: 4 subjects do 3 actions twice."""
    clips = {}
    for seed, (subject, label, take) in enumerate(product((1, 2, 3, 4), (0, 1, 2), (1, 2))):
        sample_id = f"s{subject}_a{label}_t{take}"
        clips[sample_id] = acted_clip(sample_id, label, subject, seed)
    return clips, CARD


def written(acting: Acted, folder: Path) -> SkeletonDataset:
    clips, card = acting
    dataset = write_dataset(folder / "acted", clips.values(), 20, card)
    # Writing counts what readers leave out anew.
    return SkeletonDataset(dataset.folder, dataset.card.model_copy(update={"skipped": card.skipped}))


def audited(acting: Acted, folder: Path) -> Audit:
    return audit(written(acting, folder), lambda done, total: None)


def of_kind(audit: Audit, kind: str) -> Finding:
    (finding,) = [finding for finding in audit.findings if finding.kind == kind]
    return finding


def with_clip(acting: Acted, sample_id: str, **changes: object) -> Acted:
    clips, card = acting
    return {**clips, sample_id: replace(clips[sample_id], **changes)}, card


def with_positions(sample_id: str, change: Callable[[np.ndarray], None]) -> Acted:
    """A set with one clip's positions changed in place."""
    acting = acted()
    positions = acting[0][sample_id].bodies[0].positions.copy()
    change(positions)
    return with_clip(acting, sample_id, bodies=(BodyTrack(0, positions),), n_frames=len(positions))


def with_card(**changes: object) -> Acted:
    clips, card = acted()
    return clips, card.model_copy(update=changes)


def without(sample_id: str) -> Acted:
    clips, card = acted()
    return {name: clip for name, clip in clips.items() if name != sample_id}, card


def shows(sample_id: str, other: str) -> Acted:
    acting = acted()
    return with_clip(acting, sample_id, bodies=acting[0][other].bodies)


def cut(sample_id: str, n_frames: int) -> Acted:
    bodies = acted()[0][sample_id].bodies
    return with_clip(acted(), sample_id, n_frames=n_frames, bodies=(BodyTrack(0, bodies[0].positions[:n_frames]),))


def overlapping() -> Acted:
    """A test clip that begins in the middle of a training clip."""
    clips, _ = acted()
    own, other = clips["s2_a0_t1"].bodies[0].positions, clips["s1_a0_t1"].bodies[0].positions
    joined = np.concatenate([other[10:], own[:10]])
    return with_clip(acted(), "s2_a0_t1", bodies=(BodyTrack(0, joined),))


def relabelled(old: int, new: int, subjects: set[int]) -> Acted:
    clips, card = acted()
    changed = {
        name: replace(clip, label=new) if clip.label == old and clip.subject in subjects else clip
        for name, clip in clips.items()
    }
    return changed, card


def with_bodies(sample_id: str, second: Callable[[np.ndarray], BodyTrack]) -> Acted:
    first = acted()[0][sample_id].bodies[0]
    return with_clip(acted(), sample_id, bodies=(first, second(first.positions)))


def by_fold(column: str) -> Acted:
    """A set that is parted by take, so that all four subjects are on both sides."""
    clips, card = acted()
    changed = {name: replace(clip, fold=int(name[-1]), camera=int(name[-1])) for name, clip in clips.items()}
    return changed, card.model_copy(
        update={"sides": {"takes": Side(column=column, train=(1,), test=(2,), source="test")}}
    )


def at(frames: object, joints: object, value: object, add: bool = False) -> Callable[[np.ndarray], None]:
    def change(positions: np.ndarray) -> None:
        positions[frames, joints] = positions[frames, joints] + value if add else value

    return change


def held(first: int) -> Callable[[np.ndarray], None]:
    """From a frame on, nothing moves any more."""

    def change(positions: np.ndarray) -> None:
        positions[first:] = positions[first]

    return change


def hold_hand(positions: np.ndarray) -> None:
    positions[:, HAND] = positions[0, HAND]


FAULTS: dict[str, tuple[Acted, list[str]]] = {
    "incomplete": (with_card(completeness=Completeness(published=25, present=0)), ["acted"]),
    "duplicates-across": (shows("s2_a0_t1", "s1_a0_t1"), ["s2_a0_t1"]),
    "duplicate-labels": (shows("s1_a1_t1", "s1_a0_t1"), ["s1_a0_t1"]),
    "both-sides": (
        with_card(sides={"x-sub": Side(column="subject", train=(1, 3), test=(2, 3, 4), source="test")}),
        [f"s3_a{label}_t{take}" for label in range(3) for take in (1, 2)],
    ),
    "mostly-empty": (with_positions("s1_a0_t1", at(slice(0, 13), slice(None), 0)), ["s1_a0_t1"]),
    "long-bones": (with_positions("s1_a0_t1", lambda positions: np.multiply(positions, 10, positions)), ["s1_a0_t1"]),
    "duplicates-within": (shows("s3_a0_t1", "s1_a0_t1"), ["s3_a0_t1"]),
    "shared-poses": (overlapping(), ["s2_a0_t1"]),
    "left-out": (with_card(skipped={"s5.txt": "is all zeros"}), ["s5.txt"]),
    "untrained-classes": (relabelled(2, 1, {1, 3}), ["wave"]),
    "absent-classes": (relabelled(2, 1, {1, 2, 3, 4}), ["wave"]),
    "subjects-across": (by_fold("fold"), ["subject 1", "subject 2", "subject 3", "subject 4"]),
    "one-frame": (cut("s1_a0_t1", 1), ["s1_a0_t1"]),
    "short": (cut("s1_a0_t1", 7), ["s1_a0_t1"]),
    "long": (
        with_clip(acted(), "s1_a0_t1", n_frames=121, bodies=acted_clip("", 0, 1, 99, 121).bodies),
        ["s1_a0_t1"],
    ),
    "empty-frames": (with_positions("s1_a0_t1", at(5, slice(None), 0)), ["s1_a0_t1"]),
    "stuck": (with_positions("s1_a0_t1", held(10)), ["s1_a0_t1"]),
    "frozen-joints": (with_positions("s1_a0_t1", hold_hand), ["s1_a0_t1"]),
    "jumps": (with_positions("s1_a0_t1", at(7, slice(None), (0.0, 0.0, 1.0), add=True)), ["s1_a0_t1"]),
    "bone-changes": (with_positions("s1_a0_t1", at(7, HAND, (0.0, 0.0, 0.8), add=True)), ["s1_a0_t1"]),
    "upside-down": (
        with_positions("s1_a0_t1", lambda p: np.multiply(p, (1, -1, 1), p, casting="unsafe")),
        ["s1_a0_t1"],
    ),
    "twins": (with_bodies("s1_a0_t1", lambda positions: BodyTrack(0, positions.copy())), ["s1_a0_t1"]),
    "far": (with_positions("s1_a0_t1", at(slice(None), slice(None), (0.0, 0.0, 6.0), add=True)), ["s1_a0_t1"]),
    "unseen-joints": (with_positions("s1_a0_t1", at(slice(None), HAND, 0)), ["s1_a0_t1"]),
    "repeated-frames": (with_positions("s1_a0_t1", held(22)), ["s1_a0_t1"]),
    "brief-bodies": (with_bodies("s1_a0_t1", lambda positions: BodyTrack(3, positions[:7] + 1)), ["s1_a0_t1"]),
    "neither-side": (
        with_card(sides={"x-sub": Side(column="subject", train=(1, 3), test=(2,), source="test")}),
        [f"s4_a{label}_t{take}" for label in range(3) for take in (1, 2)],
    ),
    "subjects-across-by-design": (by_fold("camera"), ["subject 1", "subject 2", "subject 3", "subject 4"]),
    "untested-classes": (relabelled(2, 1, {2, 4}), ["wave"]),
    "rare-classes": (relabelled(2, 1, {1, 2, 4}), ["wave"]),
    "gaps": (without("s1_a0_t1"), ["subject 1, sit"]),
    "known-faults": (with_card(noted={"s1.txt": "is short; read as it is"}), ["s1.txt"]),
    "frame-rate": (with_card(frame_rate=None), ["acted"]),
}


def test_a_set_without_faults_has_no_findings(tmp_path: Path) -> None:
    found = audited(acted(), tmp_path)
    assert found.findings == ()
    assert found.tally == {Severity.ERROR: 0, Severity.WARNING: 0, Severity.NOTE: 0}
    assert found.n_frames == 24 * FRAMES
    assert len(found.not_found) == len(CHECKS)


def test_every_check_has_a_fault_here() -> None:
    assert set(FAULTS) == set(CHECKS)


@pytest.mark.parametrize("kind", FAULTS)
def test_a_planted_fault_is_found(kind: str, tmp_path: Path) -> None:
    acting, names = FAULTS[kind]
    finding = of_kind(audited(acting, tmp_path), kind)
    assert [example.name for example in finding.examples] == names


def test_clean_clips_are_not_named_beside_a_fault(tmp_path: Path) -> None:
    found = audited(FAULTS["jumps"][0], tmp_path)
    assert [(finding.kind, finding.count, finding.of) for finding in found.findings] == [("jumps", 1, 24)]


@pytest.mark.parametrize(
    ("kind", "detail"),
    [
        ("duplicates-across", "equals s1_a0_t1; class sit"),
        ("duplicate-labels", "also s1_a1_t1 as stand"),
        ("duplicates-within", "equals s1_a0_t1; training"),
        ("shared-poses", "shares 14 of 24 poses with s1_a0_t1; across x-sub"),
        ("left-out", "is all zeros"),
        ("mostly-empty", "13 of 24 frames (54%)"),
        ("long", "121 frames, 5.0 times the median of its class"),
        ("stuck", "13 of 24 frames"),
        ("frozen-joints", "left_hand"),
        ("brief-bodies", "bodies of 24, 7 frames"),
        ("gaps", "1 clip; others 2"),
        ("subjects-across", "3 training clips, 3 test clips"),
    ],
)
def test_a_finding_says_what_is_wrong(kind: str, detail: str, tmp_path: Path) -> None:
    finding = of_kind(audited(FAULTS[kind][0], tmp_path), kind)
    assert finding.examples[0].detail == detail


def test_a_jump_is_told_with_its_frame_and_length(tmp_path: Path) -> None:
    leap = with_positions("s1_a0_t1", at(7, HAND, (0.0, 0.0, 30.0), add=True))
    example = of_kind(audited(leap, tmp_path), "jumps").examples[0]
    joint, metres, before, after = re.fullmatch(
        r"(\w+) moves ([\d.]+) m from frame (\d+) to (\d+)", example.detail
    ).groups()
    assert joint == "left_hand"
    assert float(metres) == pytest.approx(30, abs=0.2)
    assert int(after) == int(before) + 1
    assert 7 in (int(before), int(after))


@pytest.mark.parametrize(("rate", "is_found"), [(60.0, True), (30.0, True), (15.0, False), (None, False)])
def test_a_jump_is_a_matter_of_speed(rate: float | None, is_found: bool, tmp_path: Path) -> None:
    clips, card = with_positions("s1_a0_t1", at(slice(7, None), slice(None), (0.0, 0.0, 1.0), add=True))
    found = audited((clips, card.model_copy(update={"frame_rate": rate})), tmp_path)
    assert any(finding.kind == "jumps" for finding in found.findings) == is_found


def test_key_points_of_images_have_no_bones_in_metres(tmp_path: Path) -> None:
    clips, card = FAULTS["long-bones"][0]
    found = audited((clips, card.model_copy(update={"unit": "image"})), tmp_path)
    assert {finding.kind for finding in found.findings} <= {"jumps"}


def test_figures_are_those_of_a_plain_loop() -> None:
    random = np.random.default_rng(5)
    positions = random.normal(size=(9, 20, 3)).astype(np.float32)
    positions[4] = 0
    positions[6] = positions[5]
    positions[:, 3] = (1, 2, 3)
    positions[4] = 0
    positions[:, 8] = 0
    facts = measure(12, [BodyTrack(2, positions)], Anatomy(KINECT_V1))
    steps = {
        (float(np.sqrt(((positions[t] - positions[t - 1])[v] ** 2).sum())), v, t + 2)
        for t in range(1, 9)
        for v in range(20)
        if positions[t, v].any() and positions[t - 1, v].any()
    }
    step, joint, frame = max(steps)
    assert (facts.step, facts.step_joint, facts.step_frame) == (pytest.approx(step), joint, frame)
    assert facts.empty_frames == 4  # two before, one after, one within
    assert facts.repeated_frames == 1
    # Of a joint that is seen, vanishes and is back where it was, it is not said that it never moved.
    assert (facts.frozen_joints, facts.unseen_joints, facts.unseen_joint) == (0, 1, 8)
    lengths = {
        bone: [
            (float(np.linalg.norm(positions[t, outer] - positions[t, inner])), t)
            for t in range(9)
            if positions[t, outer].any() and positions[t, inner].any()
        ]
        for bone, (outer, inner) in enumerate(KINECT_V1.bone_pairs)
    }
    medians = {bone: float(np.median([length for length, _ in seen])) for bone, seen in lengths.items() if seen}
    change, bone, t = max(
        (abs(length - medians[bone]), bone, t) for bone, seen in lengths.items() for length, t in seen
    )
    assert (facts.bone_change, facts.bone, facts.bone_frame) == (pytest.approx(change, abs=1e-5), bone, t + 2)
    assert facts.longest_bone == pytest.approx(max(medians.values()))


def test_two_bodies_that_take_turns_leave_no_frame_empty() -> None:
    positions = acted_clip("", 0, 1, 3, 10).bodies[0].positions
    facts = measure(10, [BodyTrack(0, positions[:6]), BodyTrack(6, positions[6:])], Anatomy(KINECT_V1))
    assert (facts.empty_frames, facts.repeated_frames) == (0, 0)


def test_poses_have_equal_codes_when_they_are_equal() -> None:
    positions = np.random.default_rng(2).normal(size=(6, 20, 3)).astype(np.float32)
    positions[3] = positions[1]
    positions[4, 7, 2] = np.nextafter(positions[4, 7, 2], np.float32(9))
    almost = positions.copy()
    almost[4, 7, 2] = np.nextafter(almost[4, 7, 2], np.float32(9))
    codes = frame_codes([BodyTrack(0, positions)])
    assert len(codes) == 5
    assert len(np.intersect1d(codes, frame_codes([BodyTrack(2, almost)]))) == 4


def test_clips_without_a_pose_in_common_share_none(tmp_path: Path) -> None:
    found = audited(FAULTS["stuck"][0], tmp_path)
    assert "shared-poses" not in {finding.kind for finding in found.findings}


def test_classes_are_counted_by_side(tmp_path: Path) -> None:
    found = audited(relabelled(2, 1, {1, 3}), tmp_path)
    assert [(count.name, count.clips, count.sides["x-sub"]) for count in found.classes] == [
        ("sit", 8, (4, 4)),
        ("stand", 12, (8, 4)),
        ("wave", 4, (0, 4)),
    ]


def test_the_gravest_come_first(tmp_path: Path) -> None:
    clips, _ = shows("s2_a0_t1", "s1_a0_t1")
    _, card = with_card(frame_rate=None, skipped={"s5.txt": "is all zeros"})
    found = audited((clips, card), tmp_path)
    assert [str(finding.check.severity) for finding in found.findings] == ["error", "warning", "note"]


def test_progress_ends_with_all_clips(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    audit(written(acted(), tmp_path), lambda done, total: seen.append((done, total)))
    assert seen[-1] == (24, 24)


def test_a_set_that_is_cut_short_is_refused_in_one_line(tmp_path: Path) -> None:
    dataset = written(acted(), tmp_path)
    path = dataset.folder / TRACKS
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"tracks\.npy: is cut short; run mmcl-bench data prepare acted again$"):
        audit(dataset, lambda done, total: None)


class _Page(HTMLParser):
    """What a browser would make of a page: its text, and whatever it would load."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loaded: list[str] = []
        self.text: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loaded += [value or "" for name, value in attrs if name in ("src", "href", "action", "data")]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


HOSTILE = "<script>alert(1)</script>"


def hostile_page(folder: Path) -> str:
    clips, card = shows("s2_a0_t1", "s1_a0_t1")
    clips["s2_a0_t1"] = replace(clips["s2_a0_t1"], sample_id=f"s2 {HOSTILE}")
    card = card.model_copy(update={"title": HOSTILE, "classes": (HOSTILE, "stand", '"onload="'), "name": "<b>acted"})
    path = folder / "pages" / "audit.html"
    write_page(audited((clips, card), folder), path)
    return path.read_text()


def test_names_in_a_page_are_text(tmp_path: Path) -> None:
    page = _Page(hostile_page(tmp_path))
    assert "script" not in page.tags
    assert "b" not in page.tags
    assert any(text == f"s2 {HOSTILE}" for text in page.text)


def test_a_page_loads_nothing_and_suits_dark_screens(tmp_path: Path) -> None:
    html = hostile_page(tmp_path)
    assert _Page(html).loaded == ["data:,"]
    assert "@import" not in html
    assert "url(" not in html
    assert "prefers-color-scheme: dark" in html


def test_a_page_says_what_was_found_and_what_was_not(tmp_path: Path) -> None:
    text = "".join(_Page(hostile_page(tmp_path)).text)
    assert "Test clips that equal a training clip (x-sub)" in text
    assert "1 of 12 test clips" in text
    assert "synthetic" in text
    assert CHECKS["jumps"].title in text.partition("Looked for and not found")[2]


def test_the_same_audit_gives_the_same_page(tmp_path: Path) -> None:
    assert hostile_page(tmp_path / "one") == hostile_page(tmp_path / "two")


def test_a_page_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="choose another --page"):
        write_page(audited(acted(), tmp_path), tmp_path / "file" / "page.html")


def test_every_known_fault_of_nw_ucla_is_found(sources_dir: Path, tmp_path: Path) -> None:
    found = audit(prepare("nw-ucla", sources_dir / "nw-ucla.zip", tmp_path), lambda done, total: None)
    equal = of_kind(found, "duplicates-across")
    assert (equal.side, equal.count, equal.of) == ("x-view", 95, 464)
    by_class = Counter(example.name[:3] for example in equal.examples)
    assert by_class == {"a02": 50, "a03": 45}
    assert of_kind(found, "one-frame").count == 2


def test_every_known_fault_of_msr_action3d_is_found(sources_dir: Path, tmp_path: Path) -> None:
    source = sources_dir / "msr-action3d.zip"
    found = audit(prepare("msr-action3d", source, tmp_path, skip_bad=True), lambda done, total: None)
    (left_out,) = of_kind(found, "left-out").examples
    assert "a13_s09_e02" in left_out.name
    assert left_out.detail == "is all zeros or NaN: it shows nobody in any of its 38 frames"
    assert of_kind(found, "empty-frames").count == 19  # the twentieth is the one that was left out
    longest = {example.name: example.detail for example in of_kind(found, "long").examples}
    assert longest["a13_s09_e03"].startswith("936 frames")
    emptiest = {example.name: example.detail for example in of_kind(found, "mostly-empty").examples}
    assert emptiest["a13_s09_e03"].endswith("(79%)")


def test_every_known_fault_of_utkinect_is_found(sources_dir: Path, tmp_path: Path) -> None:
    found = audit(prepare("utkinect", sources_dir / "utkinect.zip", tmp_path), lambda done, total: None)
    assert [example.name for example in of_kind(found, "gaps").examples] == ["subject 10, carry"]
    noted = {example.name: example.detail for example in of_kind(found, "known-faults").examples}
    assert "no range of frames" in next(noted[name] for name in noted if "s10_e02 carry" in name)
    assert any("twice" in detail for detail in noted.values())
    assert of_kind(found, "frame-rate").count == 1


@pytest.mark.parametrize("mark", [np.nan, 0.0])
@pytest.mark.parametrize("n_unseen", [1, FRAMES])
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_joints_that_were_not_seen_are_no_jump_no_bone_and_no_pose(mark: float, n_unseen: int, tmp_path: Path) -> None:
    clips, card = acted()
    whole = {finding.kind for finding in audited((clips, card), tmp_path / "whole").findings}
    chosen = clips["s1_a0_t1"]
    chosen.bodies[0].positions[:n_unseen, HAND] = mark
    found = audited((clips, card), tmp_path / "part")
    expected = whole | ({"unseen-joints"} if n_unseen == FRAMES else set())
    assert {finding.kind for finding in found.findings} == expected
    if n_unseen == FRAMES:
        assert [(each.name, each.detail) for each in of_kind(found, "unseen-joints").examples] == [
            ("s1_a0_t1", "left_hand")
        ]


def test_equal_bodies_with_joints_that_were_not_seen_are_twins(tmp_path: Path) -> None:
    clips, card = acted()
    (body,) = clips["s1_a0_t1"].bodies
    body.positions[:, HAND] = np.nan
    clips["s1_a0_t1"] = replace(clips["s1_a0_t1"], bodies=(body, replace(body, positions=body.positions.copy())))
    assert [each.name for each in of_kind(audited((clips, card), tmp_path), "twins").examples] == ["s1_a0_t1"]


def test_a_set_that_is_moved_onto_the_hip_has_no_unseen_and_no_frozen_joint(tmp_path: Path) -> None:
    clips, card = acted()
    for clip in clips.values():
        positions = clip.bodies[0].positions
        positions -= positions[:, [KINECT_V1.index("hip_center")]]
    kinds = {finding.kind for finding in audited((clips, card), tmp_path).findings}
    assert not kinds & {"unseen-joints", "frozen-joints", "empty-frames"}
