"""Names and descriptions of the classes of a table, in label order, from ``protocols/classes``."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import ConfigDict, Field

from mmcl_bench.core.errors import UserError
from mmcl_bench.core.facts import Fact, Words, read_fact
from mmcl_bench.core.registry import unknown

TEXT_FIELDS = (
    *("name", "label", "verb", "noun", "global"),
    *("head", "hands", "torso", "legs"),
    *("start", "middle", "end"),
)
"""What may be chosen to describe a class: its name, a readable label, its verb and noun, the whole motion, body parts,
phases in time."""


class ClassText(Fact):
    """The official name of a class, and what it looks like in words written for this project."""

    model_config = ConfigDict(populate_by_name=True, use_attribute_docstrings=True)

    name: Words
    """The official name."""
    label: Words | None = None
    """The name in readable words."""
    verb: Words | None = None
    """What is done, without what it is done to."""
    noun: Words | None = None
    """What it is done to or with."""
    global_: Words | None = Field(None, alias="global")
    """One sentence on how the whole body moves."""
    head: Words | None = None
    """What the head does."""
    hands: Words | None = None
    """What arms and hands do."""
    torso: Words | None = None
    """What the torso does."""
    legs: Words | None = None
    """What legs and feet do."""
    start: Words | None = None
    """How the motion starts."""
    middle: Words | None = None
    """What happens in the middle of the motion."""
    end: Words | None = None
    """How the motion ends."""

    def text(self, fields: Sequence[str]) -> str:
        """The chosen :data:`TEXT_FIELDS` in one text; several are joined as sentences.

        Raises :class:`UserError` for no field, an unknown field, or one that this class lacks.
        """
        if not fields:
            raise UserError(f"no text field is chosen; choose from {', '.join(TEXT_FIELDS)}")
        texts = [self._field(field) for field in fields]
        return texts[0] if len(texts) == 1 else " ".join(f"{text[0].upper()}{text[1:].rstrip('.')}." for text in texts)

    @classmethod
    def meaning(cls, slot: str) -> str:
        """What one of :data:`TEXT_FIELDS` says of a class, in a sentence."""
        fields = {field.alias or name: field for name, field in cls.model_fields.items()}
        return fields[slot].description or ""

    def slot(self, name: str) -> tuple[str, str]:
        """The text of one of :data:`TEXT_FIELDS`, and the field that it is from: this one, else label, else name.

        Raises :class:`UserError` for another slot.
        """
        if name not in TEXT_FIELDS:
            raise UserError(unknown("text slot", name, list(TEXT_FIELDS)))
        for field in (name, "label"):
            text: str | None = getattr(self, "global_" if field == "global" else field)
            if text is not None:
                return text, field
        return self.name, "name"

    def _field(self, field: str) -> str:
        if field not in TEXT_FIELDS:
            raise UserError(unknown("text field", field, list(TEXT_FIELDS)))
        text: str | None = getattr(self, "global_" if field == "global" else field)
        if text is None:
            raise UserError(f"class {self.name!r} has no text {field!r}; choose another field, such as 'name'")
        return text


class ClassTexts(Fact):
    """The classes of a table, in label order."""

    table: str
    source: Words
    """Where the names and their order come from."""
    classes: tuple[ClassText, ...]
    extends: str | None = None
    """The table whose classes are the first of these."""

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(text.name for text in self.classes)


def class_texts(table: str) -> ClassTexts:
    """Names and descriptions of a class table. Raises :class:`UserError` for an unknown table."""
    file = read_fact("classes", "class table", table, _ClassFile)
    inherited = class_texts(file.extends).classes if file.extends else ()
    return ClassTexts(table=file.table, source=file.source, classes=inherited + file.classes, extends=file.extends)


class _ClassFile(Fact):
    table: str
    source: Words
    description_source: Words | None = None
    extends: str | None = None
    """The table whose classes stand before these, with their descriptions."""
    classes: tuple[ClassText, ...] = Field(alias="class")
