"""The facts in ``protocols/`` agree with themselves, with their published sources and with the joint layouts."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmcl_bench.core import facts
from mmcl_bench.core.errors import UserError
from mmcl_bench.core.paths import packaged
from mmcl_bench.datasets.classes import TEXT_FIELDS, ClassText, class_texts
from mmcl_bench.protocols import splits
from mmcl_bench.skeleton.joint_maps import joint_map

FILES = sorted(packaged("protocols").rglob("*.toml"))
SPLITS = [
    (table, name)
    for table in splits.split_tables()
    for name, split in splits.splits(table).items()
    if split.family != "fold"
]
FOLDS = {"utd-mhad": "22/5", "msr-action3d": "16/4", "nw-ucla": "8/2", "utkinect": "8/2", "hdm05": "9/2"}
FOLDS |= {"jhmdb14": "11/3"}
DESCRIBED = {
    **{"ntu60": 60, "ntu120": 120, "pku-mmd": 51, "utd-mhad": 27, "nw-ucla": 10},
    **{"msr-action3d": 20, "utkinect": 10, "hdm05": 11, "jhmdb": 21},
}
NAMED_ONLY = {"sysu-3d-hoi": 12, "kinetics-400": 400}
TEXTS = [field for field in TEXT_FIELDS if field not in ("name", "noun")]
REFERENCE_TABLES = {
    "ntu60": "ntu60",
    "ntu120": "ntu120",
    "pku51": "pku-mmd",
    "kinetics200": "kinetics-200",
    "kinetics400": "kinetics-400",
    "nwucla": "nw-ucla",
    "utdmhad": "utd-mhad",
    "uwa3dii": "uwa3d-ii",
}


def table_and_counts(key: str) -> tuple[str, str]:
    """``ntu60_55_5`` -> (``ntu60``, ``55/5``)."""
    table, seen, unseen = key.rsplit("_", 2)
    return REFERENCE_TABLES[table], f"{seen}/{unseen}"


@pytest.fixture(scope="session")
def reference_splits(reference_dir: Path) -> dict[str, Any]:
    return json.loads((reference_dir / "splits.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def reference_maps(reference_dir: Path) -> dict[str, Any]:
    return json.loads((reference_dir / "class_maps.json").read_text(encoding="utf-8"))


@pytest.fixture
def own_facts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of splits that takes the place of the packaged facts."""
    (tmp_path / "splits").mkdir()
    monkeypatch.setattr(facts, "packaged", lambda kind: tmp_path)
    return tmp_path / "splits"


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_file_states_a_source_and_is_named_after_what_it_holds(path: Path) -> None:
    file = tomllib.loads(path.read_text(encoding="utf-8"))
    assert file["source"].strip()
    parts = ("name", "table", "source_table", "target_table", "source_layout", "target_layout", "variant")
    assert "--".join(file[part] for part in parts if part in file) == path.stem


def test_every_kind_of_fact_is_there() -> None:
    hashed = {table for table, name in SPLITS if splits.split(table, name).family == "hashed"}
    assert set(splits.split_tables()) == set(REFERENCE_TABLES.values()) | hashed
    assert set(facts.fact_names("classes")) == set(DESCRIBED) | set(NAMED_ONLY)
    assert {path.parent.name for path in FILES} == {
        *("splits", "classes", "class_maps", "joint_maps", "layouts", "samples")
    }


@pytest.mark.parametrize(("table", "name"), SPLITS)
def test_seen_and_unseen_are_exact_complements(table: str, name: str) -> None:
    split = splits.split(table, name)
    assert sorted(split.seen + split.unseen) == list(range(split.n_classes))
    assert list(split.unseen) == sorted(set(split.unseen))
    assert name.partition(":")[0] == f"{len(split.seen)}/{len(split.unseen)}"
    assert split.table == table
    assert (":" not in name) or name.partition(":")[2].rpartition("-")[0] == split.family


@pytest.mark.parametrize("table", splits.split_tables())
def test_splits_count_the_classes_of_their_table(table: str) -> None:
    published = {"ntu60": 60, "ntu120": 120, "pku-mmd": 51, "nw-ucla": 10, "utd-mhad": 27}
    published |= {"uwa3d-ii": 30, "kinetics-200": 200, "kinetics-400": 400, "jhmdb14": 14}
    known = DESCRIBED | NAMED_ONLY | published
    assert {split.n_classes for split in splits.splits(table).values()} == {known[table]}


def test_hashed_splits_follow_from_their_names() -> None:
    for table, name in SPLITS:
        split = splits.split(table, name)
        if split.family == "hashed":
            order = sorted(
                range(split.n_classes), key=lambda label: hashlib.sha256(f"{table}:{name}:{label}".encode()).digest()
            )
            assert split.unseen == tuple(sorted(order[: len(split.unseen)])), (table, name)


@pytest.mark.parametrize(("table", "counts"), FOLDS.items())
def test_folds_divide_the_classes_five_times_by_hashing(table: str, counts: str) -> None:
    folds = [split for split in splits.splits(table).values() if split.family == "fold"]
    n_classes, n_unseen = folds[0].n_classes, int(counts.partition("/")[2])
    n_folds = n_classes // n_unseen
    assert [split.name for split in folds] == [f"{counts}:fold-{at + 1}" for at in range(5 * n_folds)]
    assert len({split.unseen for split in folds}) == len(folds), "no fold comes twice"
    orders = [
        sorted(
            range(n_classes),
            key=lambda label: hashlib.sha256(f"{table}:{counts}:draw-{draw}:{label}".encode()).digest(),
        )
        for draw in range(1, 200)
    ]
    drawn = [[sorted(map(int, part)) for part in np.array_split(order, n_folds)] for order in orders]
    for repetition in range(5):
        parts = [list(split.unseen) for split in folds[repetition * n_folds : (repetition + 1) * n_folds]]
        assert sorted(label for part in parts for label in part) == list(range(n_classes)), "each class once"
        assert {len(part) for part in parts} <= {n_unseen, n_unseen + 1}
        assert parts in drawn


def test_more_folds_than_there_are_without_repetition_are_refused(own_facts: Path) -> None:
    head = 'table = "own"\nn_classes = 4\nindex_base = 0\nclass_order = "any"\nsource = "ours"\n'
    (own_facts / "own.toml").write_text(
        f'{head}split = []\n[folds]\ncounts = "2/2"\nrepetitions = 4\n', encoding="utf-8"
    )
    with pytest.raises(UserError, match="no 4 repetitions without a fold that comes twice"):
        splits.splits("own")


def test_synse_holds_out_as_many_pseudo_unseen_classes_as_there_are_unseen_ones() -> None:
    for table, name in (("ntu60", "55/5"), ("ntu60", "48/12"), ("ntu120", "110/10"), ("ntu120", "96/24")):
        split = splits.split(table, name)
        assert split.validation_unseen is not None
        assert len(split.validation_unseen) == len(split.unseen)
        assert set(split.validation_unseen) <= set(split.seen)


def test_unseen_classes_of_the_synse_split_have_the_names_that_its_readme_lists() -> None:
    names = class_texts("ntu60").names
    unseen = [names[label] for label in splits.split("ntu60", "55/5").unseen]
    assert unseen == ["reading", "writing", "put on a hat/cap", "jump up", "touch other person's pocket"]


def test_fixed_splits_equal_the_published_lists(reference_splits: dict[str, Any]) -> None:
    for family in ("synse", "star_pku", "purls"):
        for key, entry in reference_splits[family].items():
            if not key.startswith("_"):
                split = splits.split(*table_and_counts(key))
                assert list(split.unseen) == entry["unseen"], key
                assert split.n_classes == entry["n_classes"], key
                assert split.family == family.partition("_")[0], key


def test_pseudo_unseen_classes_equal_the_published_lists(reference_splits: dict[str, Any]) -> None:
    published = {
        table_and_counts(key): labels
        for key, labels in reference_splits["synse_validation_unseen"].items()
        if isinstance(labels, list)
    }
    ours = {
        (table, name): list(labels)
        for table, name in SPLITS
        if (labels := splits.split(table, name).validation_unseen) is not None
    }
    assert ours == published


@pytest.mark.parametrize("family", ["smie", "star-smie", "sadvae"])
def test_random_splits_equal_the_published_lists(family: str, reference_splits: dict[str, Any]) -> None:
    published = {
        (table, f"{counts}:{family}-{number}"): labels
        for key, lists in reference_splits[f"{family.replace('-', '_')}_random"].items()
        if key not in ("source", "note")
        for table, counts in [table_and_counts(key)]
        for number, labels in enumerate(lists, 1)
    }
    ours = {
        (table, name): list(split.unseen)
        for table, name in SPLITS
        if (split := splits.split(table, name)).family == family
    }
    assert ours == published


def test_every_published_list_is_there_and_no_other(reference_splits: dict[str, Any]) -> None:
    fixed = [k for family in ("synse", "star_pku", "purls") for k in reference_splits[family] if not k.startswith("_")]
    published = [split for split in SPLITS if splits.split(*split).family != "hashed"]
    assert len(published) == len(fixed) + 3 * 3 * 3


def test_a_random_list_under_two_names_says_so() -> None:
    for table in splits.split_tables():
        known = [split for split in splits.splits(table).values() if split.family != "fold"]
        for at, later in enumerate(known):
            for earlier in known[:at]:
                if earlier.unseen == later.unseen:
                    assert f"Equal to {earlier.name}" in (later.note or "").replace("the fixed split ", "")


def test_purls_label_order_is_doubted_in_writing() -> None:
    published = [split for split in splits.splits("nw-ucla").values() if split.family == "purls"]
    assert published
    assert all("does not state their class order" in (split.note or "") for split in published)


@pytest.mark.parametrize(("table", "count"), [*DESCRIBED.items(), *NAMED_ONLY.items()])
def test_class_tables_are_whole_and_their_names_unique(table: str, count: int) -> None:
    names = class_texts(table).names
    assert len(names) == len(set(names)) == count


@pytest.mark.parametrize(
    ("table", "label", "name"),
    [
        ("ntu60", 0, "drink water"),
        ("ntu60", 10, "reading"),
        ("ntu60", 26, "jump up"),
        ("ntu60", 42, "falling"),
        ("ntu60", 56, "touch other person's pocket"),
        ("ntu60", 59, "walking apart from each other"),
        ("ntu120", 60, "put on headphone"),
        ("ntu120", 79, "squat down"),
        ("ntu120", 119, "finger-guessing game (playing rock-paper-scissors)"),
        ("pku-mmd", 0, "bow"),
        ("pku-mmd", 50, "writing"),
        ("nw-ucla", 8, "throw"),
        ("utd-mhad", 26, "squat"),
        ("msr-action3d", 18, "golf swing"),
        ("utkinect", 4, "carry"),
    ],
)
def test_names_stand_at_their_official_labels(table: str, label: int, name: str) -> None:
    assert class_texts(table).names[label] == name


def test_pku_mmd_is_in_alphabetical_order() -> None:
    names = class_texts("pku-mmd").names
    assert list(names) == sorted(names)


def test_ntu120_begins_with_ntu60() -> None:
    assert class_texts("ntu120").classes[:60] == class_texts("ntu60").classes


@pytest.mark.parametrize("table", DESCRIBED)
def test_every_class_is_described_in_every_field(table: str) -> None:
    for text in class_texts(table).classes:
        for field in TEXTS:
            assert text.text([field]).strip(), (text.name, field)
        assert text.text(["global"]).endswith(".")
        assert text.text(["global"]).count(".") == 1, text.name


@pytest.mark.parametrize(
    "fields", [["label"], ["global"], ["head", "hands", "torso", "legs"], ["start", "middle", "end"]]
)
@pytest.mark.parametrize("table", DESCRIBED)
def test_no_two_classes_read_the_same(table: str, fields: list[str]) -> None:
    texts = [text.text(fields) for text in class_texts(table).classes]
    assert len(texts) == len(set(texts))


@pytest.mark.parametrize("table", DESCRIBED)
def test_verbs_and_nouns_are_short_lower_case_and_tell_the_classes_apart(table: str) -> None:
    words = [(text.verb or "", text.noun or "") for text in class_texts(table).classes]
    assert len(set(words)) == len(words)
    for verb, noun in words:
        assert (verb + noun).islower()
        assert len(verb.split()) <= 4, verb
        assert len(noun.split()) <= 4, noun


def test_an_action_has_the_same_verb_and_noun_in_every_table() -> None:
    words: dict[str, set[tuple[str | None, str | None]]] = {}
    for table in DESCRIBED:
        for text in class_texts(table).classes:
            words.setdefault(text.text(["label"]), set()).add((text.verb, text.noun))
    assert {label: many for label, many in words.items() if len(many) > 1} == {}


def test_an_action_without_an_object_has_its_label_for_a_noun() -> None:
    hopping = class_texts("ntu60").classes[25]
    assert hopping.slot("verb") == ("hop on one foot", "verb")
    assert hopping.slot("noun") == ("hopping on one foot", "label")


def test_a_slot_that_no_class_has_is_refused() -> None:
    with pytest.raises(UserError, match=r"unknown text slot 'hand'\. Did you mean hands"):
        class_texts("ntu60").classes[0].slot("hand")


def test_pku_mmd_words_the_actions_of_ntu_as_they_are_there() -> None:
    ntu = {text.name: text for text in class_texts("ntu60").classes}
    own = [text.name for text in class_texts("pku-mmd").classes if ntu.get(text.name) != text]
    assert own == ["bow", "put something inside pocket", "standing up", "take out something from pocket"]


def test_two_person_actions_are_described_with_two_people() -> None:
    """NTU RGB+D: A50 to A60 and A106 to A120 are the mutual actions; PKU-MMD has eight, in alphabetical order."""
    mutual = {"ntu120": {*range(49, 60), *range(105, 120)}, "pku-mmd": {11, 13, 15, 17, 20, 23, 25, 26}}
    for table, labels in mutual.items():
        texts = [text.text(["global"]) for text in class_texts(table).classes]
        assert {label for label, text in enumerate(texts) if text.startswith("Two people")} == labels


def test_several_fields_are_joined_as_sentences() -> None:
    text = ClassText.model_validate({"name": "wave", "label": "waving", "global": "A hand swings.", "legs": "still"})
    assert text.text(["label"]) == "waving"
    assert text.text(["label", "global", "legs"]) == "Waving. A hand swings. Still."


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (["global"], "'zumba' has no text 'global'"),
        (["lable"], "Did you mean label"),
        ([], "no text field"),
    ],
)
def test_a_text_that_is_missing_is_named(fields: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        class_texts("kinetics-400").classes[-1].text(fields)


def test_pku_map_equals_the_published_one(reference_maps: dict[str, Any]) -> None:
    published = reference_maps["pku51_to_ntu60"]
    ours = splits.class_map("pku-mmd", "ntu60")
    assert [(entry.name, entry.source, entry.target) for entry in ours.shared] == [
        (name, (pku,), (ntu,)) for pku, (name, ntu) in enumerate(zip(published["names"], published["map"], strict=True))
    ]


def test_eighteen_classes_equal_the_published_ones(reference_maps: dict[str, Any]) -> None:
    published = {"pku-mmd": "pku", "ntu60": "ntu60", "etri": "etri"}
    for source, target in (("pku-mmd", "ntu60"), ("etri", "pku-mmd"), ("ntu60", "etri")):
        ours = splits.class_map(source, target, variant="common-18")
        for table, labels in ((source, ours.source_to_shared), (target, ours.target_to_shared)):
            wanted = reference_maps["eighteen_classes"][published[table]]
            assert labels == {int(label): shared for label, shared in wanted.items()}


def test_mmcl_transfer_map_and_figures_equal_the_published_ones(reference_maps: dict[str, Any]) -> None:
    published = reference_maps["mmcl_utd_mhad"]
    ours = splits.class_map("utd-mhad", "ntu120")
    assert {f"a{entry.source[0] + 1}": entry.target[0] for entry in ours.shared} == published["map"]
    assert {entry.method: [entry.top1, entry.top5] for entry in ours.reported} == published["published_top1_top5"][
        "UTD-MHAD"
    ]


def test_small_kinect_maps_equal_the_published_pairs(reference_maps: dict[str, Any]) -> None:
    ids = {"nw-ucla": [1, 2, 3, 4, 5, 6, 8, 9, 11, 12]}
    for pair, shared in reference_maps["small_kinect_v1_sets"]["pairs"].items():
        source, target = pair.split("|")
        ours = splits.class_map(source, target)
        one_based = [
            (
                [ids.get(source, range(1, 99))[label] for label in entry.source],
                [ids.get(target, range(1, 99))[label] for label in entry.target],
            )
            for entry in ours.shared
        ]
        assert one_based == [(theirs, other) for _, theirs, other in shared], pair


@pytest.mark.parametrize(
    "path", [path for path in FILES if path.parent.name == "class_maps"], ids=lambda path: path.stem
)
def test_class_maps_stay_within_their_tables_and_invert(path: Path) -> None:
    source, target, *variant = path.stem.split("--")
    forth, back = splits.class_map(source, target, *variant), splits.class_map(target, source, *variant)
    assert back.inverted() == forth
    assert (back.source_table, back.target_table) == (target, source)
    sizes = DESCRIBED | NAMED_ONLY | {"etri": 55}
    assert max(forth.source_to_shared) < sizes[source]
    assert max(forth.target_to_shared) < sizes[target]


def test_mapped_classes_of_pku_mmd_and_ntu_mean_the_same() -> None:
    pku, ntu = class_texts("pku-mmd").names, class_texts("ntu60").names
    differing = {
        pku[entry.source[0]]
        for entry in splits.class_map("pku-mmd", "ntu60").shared
        if pku[entry.source[0]] != ntu[entry.target[0]]
    }
    # Worded otherwise in NTU RGB+D; the last is the loose pair that the file's note names.
    assert differing == {
        "bow",
        "standing up",
        "take out something from pocket",
        "put something inside pocket",
    }


@pytest.mark.parametrize(
    ("ask", "guess"),
    [
        (lambda: splits.split("ntu60", "55-5"), "55/5"),
        (lambda: splits.splits("ntu-60"), "ntu60"),
        (lambda: class_texts("nwucla"), "nw-ucla"),
        (lambda: splits.class_map("ntu60", "etri"), "ntu60--etri--common-18"),
        (lambda: splits.class_map("nw-ucla", "utkinekt"), "nw-ucla--utkinect"),
        (lambda: joint_map("kinect-v1", "kinect-v3"), "kinect-v1--kinect-v2"),
        (lambda: class_texts("../splits/ntu60"), "ntu60"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest_one(ask: Any, guess: str) -> None:
    with pytest.raises(UserError, match=f"Did you mean.*{guess}"):
        ask()


HEADER = 'table = "t"\nn_classes = 3\nindex_base = 0\nclass_order = "synthetic"\nsource = "synthetic"\n'


def a_split(name: str, unseen: str, more: str = "") -> str:
    return f'[[split]]\nname = "{name}"\nfamily = "f"\nsource = "s"\nunseen = {unseen}\n{more}'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("table = ", "not a readable"),
        (HEADER, r"no \[\[split\]\] entries"),
        (HEADER + 'split = ["2/1"]\n', r"no \[\[split\]\] entries"),
        (HEADER.replace("= 0", "= 1") + a_split("2/1", "[1]"), "index_base"),
        (HEADER + a_split("2/1", "[3]"), "sorted, unique and below 3"),
        (HEADER + a_split("1/2", "[2, 0]"), "sorted, unique and below 3"),
        (HEADER + a_split("1/2", "[1]"), "has 2 seen and 1 unseen"),
        (HEADER + a_split("2/1", "[1]", "validation_unseen = [1]"), "holds unseen classes"),
        (HEADER + a_split("2/1", "[1]", "color = 1"), "color"),
        (HEADER + a_split("2/1", "[1]") + a_split("2/1", "[2]"), "two splits have one name"),
    ],
)
def test_a_malformed_file_is_one_clear_line(own_facts: Path, content: str, message: str) -> None:
    (own_facts / "t.toml").write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=message) as error:
        splits.splits("t")
    assert "t.toml" in str(error.value)
    assert "\n" not in str(error.value)


def test_facts_cost_no_heavy_import() -> None:
    code = "import sys, mmcl_bench.protocols.splits; print({'numpy', 'pandas', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
