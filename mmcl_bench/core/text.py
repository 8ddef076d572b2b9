"""Text for people and for names of files; how names are sorted and matched."""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby

_JOINERS = dict.fromkeys((0x200C, 0x200D))
_NUMBERED = re.compile(r"(.+)-([0-9]{1,3})")
_WHOLE = re.compile(r"([+-]?\d{1,4000})(\.0*)?")
# The mark of UTF-32 begins with that of UTF-16.
_WIDE = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""Byte order marks, and the encodings that they announce."""


def as_utf8(content: bytes, errors: str = "strict") -> bytes:
    """Text without its byte order mark. Text that has none, and need not be UTF-8 then, comes back as it is.

    Editors and shells of Windows write such marks. Raises :class:`UnicodeDecodeError` where the mark announces UTF-16
    or UTF-32 and the rest is not in it.
    """
    for mark, encoding in _WIDE:
        if content.startswith(mark):
            return content.decode(encoding, errors).encode()
    return content.removeprefix(codecs.BOM_UTF8)


def joined_datasets(names: Sequence[str]) -> str:
    """The data sets of a task in few words; the last one is tested: ``hdm05 + nw-ucla to utd-mhad``."""
    *sources, target = names
    return f"{' + '.join(sources)} to {target}" if sources else target


def slug(text: str, longest: int = 72) -> str:
    """Lower-case ASCII letters, digits and single hyphens, for names of files and anchors."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:longest].strip("-") or "unnamed"


def numbered(name: str) -> tuple[str, int] | None:
    """``("fold", 3)`` of ``fold-3``; None for a name that does not end so."""
    match = _NUMBERED.fullmatch(name)
    return (match[1], int(match[2])) if match else None


FOLDS = "folds"
"""The one name of all splits that are folds."""


def fold_number(name: str | None) -> int:
    """3 of the splits ``fold-3`` and ``22/5:fold-3``; 0 for one that is no fold."""
    told = numbered(name or "")
    return told[1] if told and told[0].rpartition(":")[2] == "fold" else 0


def with_folds_together(names: Iterable[str]) -> list[str]:
    """Names of splits, in which folds of a family that follow each other are one: ``22/5:fold-1 to fold-25``."""
    families: dict[str, list[str]] = {}
    for name in names:
        families.setdefault(name.rpartition("-")[0] if fold_number(name) else name, []).append(name)
    found = []
    for members in families.values():
        for _, numbered_on in groupby(enumerate(sorted(members, key=fold_number)), _number_less_place):
            first, *_, last = [name for _, name in numbered_on] * 2
            found.append(first if first == last else f"{first} to {last.rpartition(':')[2]}")
    return found


def _number_less_place(placed: tuple[int, str]) -> int:
    """The same for folds that follow each other."""
    place, name = placed
    return fold_number(name) - place


def first_line(error: BaseException) -> str:
    """The first line of an exception's message; its class name if the message is empty."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def some_of(names: Sequence[str], count: int | None = None, shown: int = 8) -> str:
    """The first names, and how many more there are; ``count`` in all, where ``names`` are the first of them."""
    left = (len(names) if count is None else count) - len(names[:shown])
    more = f" and {left:,} more" if left > 0 else ""
    return ", ".join(names[:shown]) + more


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """``1 job``, ``2 jobs``, ``1,200 jobs``; ``plural`` where that is not made by an s."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def duration(seconds: float) -> str:
    """``45 s``, ``12 min``, ``3.5 h`` or ``2.1 days``."""
    for size, unit, digits in ((86400, "days", 1), (3600, "h", 1), (60, "min", 0)):
        if seconds >= 2 * size or (seconds >= size and unit != "days"):
            return f"{seconds / size:.{digits}f} {unit}"
    return f"{seconds:.0f} s"


def columns(text: str) -> int:
    """How many letters wide a text is: signs of Chinese, Japanese and Korean and emoji take two, accents none."""
    return sum(
        0 if unicodedata.combining(sign) else 2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in text
    )


def is_printable(text: str) -> bool:
    """Whether a text is one line of visible signs, with the joiners between them that some scripts and emoji need."""
    return text.translate(_JOINERS).isprintable()


def sorted_names(names: Iterable[str]) -> list[str]:
    """Whole numbers by value, before all other names, which are sorted as text: ``0, 1, 2, 10, run, walk``."""
    return sorted(names, key=name_order)


def name_order(name: str) -> tuple[bool, int, str]:
    """What :func:`sorted_names` sorts by."""
    whole = _WHOLE.fullmatch(name)
    return whole is None, int(whole[1]) if whole else 0, name


def match_names(names: Sequence[str], known: Sequence[str]) -> list[int | None]:
    """For each name, the position of the known name that it means; None where it means none, or perhaps several.

    Equal names first, then equal ones in Unicode's composed form (NFC), then without regard to case, then by letters,
    their marks and digits alone. Each step matches only names that no other name, given or known, is equal to by it:
    ``turn 90`` is neither ``turn +90`` nor ``turn -90``.
    """
    found: list[int | None] = [None] * len(names)
    for form in _FORMS:
        given, there = [form(name) for name in names], [form(name) for name in known]
        place = {text: at for at, text in enumerate(there)}
        times_given, times_there, taken = Counter(given), Counter(there), set(found)
        for at, text in enumerate(given):
            alone = text and times_given[text] == times_there[text] == 1
            if alone and found[at] is None and place[text] not in taken:
                found[at] = place[text]
    return found


def match_name(name: str, known: Sequence[str]) -> int | None:
    """The position of the known name that a name means, see :func:`match_names`."""
    return match_names([name], known)[0]


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def without_case(name: str) -> str:
    """A name in composed form without regard to case: two names that are equal so look alike."""
    return _composed(_composed(name).casefold())


def _letters(name: str) -> str:
    # Vowel signs of Hindi and other scripts are marks, and no "word characters" to regular expressions.
    plain = unicodedata.normalize("NFKC", name).casefold()
    return "".join(sign for sign in plain if unicodedata.category(sign)[0] in "LMN")


_FORMS: tuple[Callable[[str], str], ...] = (str, _composed, without_case, _letters)
