"""Classes that several data sets have in common, from the class maps of pairs of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mmcl_bench.datasets.classes import ClassText
from mmcl_bench.protocols.dataset_facts import DatasetFacts, class_map
from mmcl_bench.protocols.splits import ClassMap


@dataclass(frozen=True)
class CommonClass:
    """A class of several data sets."""

    name: str
    labels: Mapping[str, tuple[int, ...]]
    """Its zero-based labels by data set; one that lacks it is absent."""


def shared_classes(maps: Mapping[str, ClassMap], target: str) -> tuple[CommonClass, ...]:
    """The classes that a target shares with some of its sources, by the map from each source to it.

    Target labels that are one class in any of the maps are one class here.
    """
    classes: list[CommonClass] = []
    for source, found in maps.items():
        for entry in found.shared:
            met = [each for each in classes if not set(entry.target).isdisjoint(each.labels[target])]
            classes = [each for each in classes if each not in met]
            classes.append(_merged([*met, CommonClass(entry.name, {source: entry.source, target: entry.target})]))
    return tuple(classes)


def _merged(classes: Sequence[CommonClass]) -> CommonClass:
    names = dict.fromkeys(name for each in classes for name in each.labels)
    labels = {name: sorted({label for each in classes for label in each.labels.get(name, ())}) for name in names}
    return CommonClass(classes[0].name, {name: tuple(of_set) for name, of_set in labels.items()})


def joined_classes(sets: Sequence[DatasetFacts]) -> tuple[tuple[CommonClass, ClassText], ...]:
    """All classes of several data sets, each with its text, that of the first set that has it.

    Classes of two sets are one where a class map pairs these two alone. Two classes of one set stay two.
    """
    classes: list[tuple[CommonClass, ClassText]] = []
    for at, own in enumerate(sets):
        pairs = [
            ((other.name, entry.source), entry.target[0])
            for other in sets[:at]
            for entry in class_map(other, own).shared
            if len(entry.source) == len(entry.target) == 1
        ]
        for label, text in enumerate(own.class_texts):
            there = {pair for pair, mine in pairs if mine == label}
            for number, (each, former) in enumerate(classes):
                if own.name not in each.labels and not there.isdisjoint(each.labels.items()):
                    classes[number] = CommonClass(each.name, {**each.labels, own.name: (label,)}), former
                    break
            else:
                classes.append((CommonClass(text.name, {own.name: (label,)}), text))
    return tuple(classes)
