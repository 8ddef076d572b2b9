"""Cards bind to tasks, and a task's identity asks for it again."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import pytest

from mmcl_bench.core.errors import UserError
from mmcl_bench.datasets.classes import ClassText, class_texts
from mmcl_bench.datasets.readers import READERS
from mmcl_bench.evaluation.metrics import METRICS
from mmcl_bench.protocols import PROTOCOLS
from mmcl_bench.protocols.catalogue import cards, find_task, list_tasks, load_task, with_splits
from prepared import write_dataset
from toys import tiny_card, toy_clip

EVERY_CARD = sorted(cards())


@pytest.mark.parametrize("path", EVERY_CARD)
def test_every_card_names_things_that_exist(path: str) -> None:
    card = cards()[path]
    assert card.family in PROTOCOLS
    for dataset in card.bind({}).datasets:
        assert dataset in READERS
    for metric in card.metrics:
        assert card.family in METRICS.get(metric).families
    assert card.citation


@pytest.mark.parametrize("path", EVERY_CARD)
def test_every_split_of_a_card_binds_and_its_identity_finds_it_again(path: str) -> None:
    card = cards()[path]
    for split in card.split_names() or [None]:
        task = card.bind({"split": split} if split else {})
        again = load_task(task.identity)
        assert (again.identity, again.hash) == (task.identity, task.hash)


def test_identity_shows_the_split_always_and_others_where_they_differ() -> None:
    assert load_task("zero-shot/synth60").identity == "zero-shot/synth60@1[split=55/5]"
    described = load_task("zero-shot/synth60", fields="label+global")
    assert described.identity == "zero-shot/synth60@1[split=55/5,fields=label+global]"
    assert load_task("transfer").identity == "transfer/nw-ucla-to-utd-mhad@3"


def test_splits_with_one_name_and_other_classes_have_other_hashes() -> None:
    names = ["55/5", "55/5:smie-1", "55/5:sadvae-1"]
    assert len({load_task("zero-shot/synth60", split=name).hash for name in names}) == 3


@pytest.mark.parametrize(
    ("copy", "carded"), [("ntu60-cv-npz", "ntu60"), ("ntu120-cset-npz", "ntu120"), ("pku-mmd-2", "pku-mmd")]
)
def test_a_set_without_a_card_reads_the_texts_that_cards_of_its_classes_do(copy: str, carded: str) -> None:
    made, written = load_task(f"zero-shot/{copy}"), load_task(f"zero-shot/{carded}")
    assert f"zero-shot/{copy}" not in cards()
    assert made.class_texts() == written.class_texts()


def test_what_decides_a_score_is_in_the_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other words for a class, and other subjects on a side, make another task hash."""
    before = load_task("zero-shot/nw-ucla").hash
    assert load_task("zero-shot/nw-ucla", fields="label").hash != before
    reader = READERS.get("nw-ucla")
    other = reader.sides["x-sub"].model_copy(update={"test": (2,)})
    monkeypatch.setattr(reader, "sides", {**reader.sides, "x-sub": other})
    assert load_task("zero-shot/nw-ucla").hash != before


def test_options_find_the_card_of_a_data_set() -> None:
    assert find_task("zero-shot", None, None, {"split": "48/12"}).identity == "zero-shot/synth60@1[split=48/12]"
    assert find_task("supervised", "nw-ucla", None, {}).identity == "supervised/nw-ucla@2[split=x-view]"
    assert find_task("transfer", "nw-ucla", "utd-mhad", {}).card.name == "utd-mhad-to-nw-ucla"


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("zero-shoot", {}, "Did you mean zero-shot"),
        ("zero-shot/synth6", {}, "Did you mean zero-shot/synth60"),
        ("zero-shot/synth60", {"split": "55/6"}, "Did you mean 55/5"),
        ("zero-shot/synth60", {"splitt": "55/5"}, "Did you mean split"),
        ("zero-shot/synth60@7", {}, "is at version 1, not 7"),
        ("zero-shot/synth60[55/5]", {}, "not key=value"),
        ("no-such-card.toml", {}, "not a readable task card"),
    ],
)
def test_wrong_names_are_one_line_with_a_hint(name: str, parameters: dict[str, str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        load_task(name, **parameters)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_transfer_between_sets_without_shared_classes_says_so() -> None:
    with pytest.raises(UserError, match="two classes or more of one name; nw-ucla and synth60 have 1"):
        find_task("transfer", "synth60", "nw-ucla", {})


def test_a_transfer_that_no_card_describes_goes_by_the_class_map() -> None:
    task = find_task("transfer", "nw-ucla", "utkinect", {})
    assert task.identity == load_task(task.identity).identity == "transfer/utkinect-to-nw-ucla@3"
    assert len(task.shared_classes) > 2


@pytest.mark.parametrize(
    ("family", "dataset", "source", "message"),
    [
        ("supervised/nw-ucla", "utd-mhad", None, "names its data itself"),
        ("supervised", "utd-mhad", "nw-ucla", "--source is for transfer"),
        ("transfer", "utd-mhad", None, "give both --source and --target"),
        ("transfer", "utkinect", "utkinect", "from utkinect to itself would train on its test clips"),
        ("supervised", "nw-ukla", None, "Did you mean nw-ucla"),
        ("zero-shot", "sysu-3d-hoi", None, "has no zero-shot split"),
    ],
)
def test_options_that_do_not_fit_are_refused(family: str, dataset: str, source: str | None, message: str) -> None:
    with pytest.raises(UserError, match=message):
        find_task(family, dataset, source, {})


def test_leaving_out_duplicates_is_a_task_version_of_its_own() -> None:
    usual, without = load_task("supervised/nw-ucla"), load_task("supervised/nw-ucla", duplicates="removed")
    assert load_task("supervised/nw-ucla", duplicates="kept").hash == usual.hash
    assert without.identity == "supervised/nw-ucla@2[split=x-view,duplicates=removed]"
    assert load_task(without.identity).hash == without.hash != usual.hash
    with pytest.raises(UserError, match="unknown value of duplicates 'gone'"):
        load_task("supervised/nw-ucla", duplicates="gone")
    with pytest.raises(UserError, match="unknown parameter 'duplicates'"):
        load_task("transfer", duplicates="removed")


def test_all_clips_of_unseen_classes_are_a_task_of_its_own_with_the_same_draws() -> None:
    usual, every = load_task("zero-shot/utd-mhad"), load_task("zero-shot/utd-mhad", unseen_clips="all")
    assert every.identity == "zero-shot/utd-mhad@1[split=22/5,unseen_clips=all]"
    assert load_task(every.identity).hash == every.hash != usual.hash
    other_texts = load_task("zero-shot/utd-mhad", unseen_clips="all", text="smollm2")
    assert usual.draws_hash == every.draws_hash == other_texts.draws_hash == usual.hash


@pytest.mark.parametrize("changed", [{"shots": "1"}, {"classes": "texts", "text": "smollm2"}])
def test_other_shots_and_another_text_encoder_leave_the_draws_of_a_transfer(changed: dict[str, str]) -> None:
    kept = {key: value for key, value in changed.items() if key == "classes"}
    usual, other = (load_task("transfer/nw-ucla-to-utd-mhad", **given) for given in (kept, changed))
    assert other.hash != usual.hash
    assert other.draws_hash == usual.draws_hash == usual.hash


def test_a_new_option_leaves_the_hashes_of_stored_results_as_they_are() -> None:
    # Of results/leaderboard.csv, which was made before tasks had options.
    assert load_task("supervised/utd-mhad[split=x-sub]").hash.startswith("161662533cc6")
    assert load_task("zero-shot/utd-mhad[split=22/5]").hash.startswith("9e8bed8c0cfc")


CARD = """
family = "zero-shot"
name = "mine"
version = 1
title = "My own"
dataset = "nw-ucla"
table = "nw-ucla"
metrics = ["zsl_top1"]
main_metric = "zsl_top1"
seeds = 1
citation = "none"

[parameters]
split = "8/2"
side = "x-sub"
text = "minilm"
fields = "global"
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('side = "x-sub"\n', "", "a default for the parameter side"),
        ("zsl_top1", "zsl_top2", "unknown zero-shot metric 'zsl_top2'. Did you mean zsl_top1"),
        ('"zsl_top1"', '"top1"', "unknown zero-shot metric 'top1'"),
        ('split = "8/2"', 'splits = "8/2"', "a default for the parameter split"),
        ('text = "minilm"', 'text = "minilm"\ntxt = "minilm"', "unknown parameter 'txt'. Did you mean text"),
        ("seeds = 1", "seeds = " + "1" * 5000, "not a readable task card"),
        ("seeds = 1", "seeds = " + "[" * 5000, "not a readable task card"),
    ],
)
def test_a_card_with_a_mistake_is_refused_when_it_is_read(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(CARD.replace(old, new))
    with pytest.raises(UserError, match=message):
        load_task(str(path))


def test_a_transfer_card_from_a_set_to_itself_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    text = CARD.partition("[parameters]")[0].replace("zero-shot", "transfer").replace("zsl_top1", "top1")
    path.write_text(text.replace('table = "nw-ucla"', 'sources = ["nw-ucla"]') + '[parameters]\nside = "x-sub"\n')
    with pytest.raises(UserError, match="source and dataset are both nw-ucla"):
        load_task(str(path))


def test_a_transfer_between_two_forms_of_the_same_recordings_is_refused(tmp_path: Path) -> None:
    """Their clips need not be equal in numbers, as files are cleaned and moved in different ways."""
    prepared = tiny_card(name="ntu60-raw", reader="ntu60", class_table="ntu60", classes=class_texts("ntu60").names)
    write_dataset(tmp_path / "ntu60-raw", [toy_clip(0, 0, 1, 1, 25)], 25, prepared)
    published = [name for name in READERS if name.startswith("ntu")]
    for source, target in permutations([*published, "ntu60-raw"], 2):
        with pytest.raises(UserError, match=f"{source} and {target} are both NTU RGB"):
            load_task(f"transfer/{source}-to-{target}", tmp_path)
    with pytest.raises(UserError, match="ntu60 and ntu120 are both NTU RGB"):
        _ = load_task("transfer/ntu60-to-ntu120[classes=texts]", tmp_path).hash
    # Clips of people that are held out of one source would train in the other.
    with pytest.raises(UserError, match="ntu120-pyskl and ntu60 are both NTU RGB"):
        load_task("transfer/ntu120-pyskl-and-ntu60-to-pku-mmd", tmp_path)


def test_a_card_may_leave_duplicates_out_by_itself_and_the_name_tells_what_was_chosen(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(CARD + 'duplicates = "removed"\n')
    removed, kept = load_task(str(path)), load_task(str(path), duplicates="kept")
    assert removed.parameters["duplicates"] == "removed"
    assert kept.identity == "zero-shot/mine@1[split=8/2,duplicates=kept]" != removed.identity
    assert kept.hash != removed.hash


def test_a_card_of_ones_own_runs_from_its_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        """
family = "supervised"
name = "mine"
version = 3
title = "My own"
dataset = "nw-ucla"
splits = ["x-sub"]
metrics = ["top1"]
main_metric = "top1"
seeds = 1
citation = "nobody"
[parameters]
split = "x-sub"
"""
    )
    assert load_task(str(path)).identity == "supervised/mine@3[split=x-sub]"
    path.write_text(path.read_text().replace('main_metric = "top1"', 'main_metric = "top9"'))
    with pytest.raises(UserError, match="top9 is not among metrics"):
        load_task(str(path))


def test_listing_filters_by_glob() -> None:
    assert {task.card.family for task in list_tasks("zero-shot/*")} == {"zero-shot"}


def test_a_set_of_ones_own_has_the_splits_of_its_name_and_classes(tmp_path: Path) -> None:
    """JHMDB's 14 classes are prepared as a set of one's own, whose file names no split."""
    names = ("catch", "clap", "golf", "jump", "pick", "pour", "pullup", "push", "run", "sit", "stand", "throw")
    names += ("walk", "wave")
    for name, classes in (("jhmdb14", names), ("other", names), ("uwa3d-ii", tuple(map(str, range(30))))):
        texts = tuple(ClassText(name=each) for each in classes)
        card = tiny_card(name=name, class_table=name, classes=classes, class_texts=texts)
        write_dataset(tmp_path / name, [toy_clip(0, at, 1 + at % 2, 1, 25) for at in range(len(classes))], 25, card)
    task = load_task("zero-shot/jhmdb14", tmp_path)
    assert task.identity == "zero-shot/jhmdb14@3[split=11/3]"
    folds = with_splits(task, ("folds",))
    assert len(folds) == 20
    assert sorted(label for fold in folds[:4] for label in fold.zero_shot_split.unseen) == list(range(14))
    for name in ("other", "uwa3d-ii"):
        with pytest.raises(UserError, match=f"{name} has no zero-shot split"):
            load_task(f"zero-shot/{name}", tmp_path)
