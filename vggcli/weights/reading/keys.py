"""Keys without what wrappers put in front of them, in the order of the layers that they name."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable

Token = int | str

_WRAPPED = re.compile(r"(?:^|(?<=\.))(?:module|_orig_mod)\.")
_OUTER = re.compile(r"(?:(?:model|net|network|backbone|vgg|encoder|ema|student|teacher|timm_model)\.)+")
_TOKEN = re.compile(r"[0-9]+|[^0-9._]+")
_LONGEST_NUMBER = 9  # digits; no layer has a longer one, and int() refuses to read thousands


def clean(keys: Iterable[str]) -> dict[str, str]:
    """Canonical spelling without the prefixes that wrappers add, to the key in the file, in file order."""
    plain = list(keys)
    cleaned = cleaner(plain)
    return {cleaned(key): key for key in plain}


def cleaner(keys: Iterable[str]) -> Callable[[str], str]:
    """What takes away the prefixes that wrappers have added to these keys.

    `module.` (DataParallel) and `_orig_mod.` (torch.compile) go wherever they stand; an outer `model.` and the like
    when more than half of the keys have it: what a loss or a second network left beside them stays as it is.
    """
    plain = set(keys)
    names = {_WRAPPED.sub("", key) for key in plain}
    if len(names) < len(plain):
        return str  # the prefix tells two networks apart
    outers = Counter(match.group() for name in names if (match := _OUTER.match(name)))
    outer, count = next(iter(outers.most_common(1)), ("", 0))
    if 2 * count <= len(names) or len(outers) > 1:  # student and teacher
        return lambda key: _WRAPPED.sub("", key)
    if len({name.removeprefix(outer) for name in names}) < len(names):
        return lambda key: _WRAPPED.sub("", key)
    return lambda key: _WRAPPED.sub("", key).removeprefix(outer)


def parts(key: str) -> tuple[Token, ...]:
    """What dots separate, with numbers as such: "features.0.conv" is ("features", 0, "conv")."""
    return tuple(_token(part) for part in key.split("."))


def tokens(key: str) -> tuple[Token, ...]:
    """Words and numbers: "conv3_512a.2" is ("conv", 3, 512, "a", 2)."""
    return tuple(_token(token) for token in _TOKEN.findall(key))


def natural(key: str) -> tuple[tuple[int, int, str], ...]:
    """What sorts keys as people count: conv2 before conv10."""
    return tuple((0, token, "") if isinstance(token, int) else (1, 0, token) for token in tokens(key))


def numbers(key: str) -> tuple[int, ...]:
    """The numbers of a key: those of "bn3_2" are (3, 2)."""
    return tuple(token for token in tokens(key) if isinstance(token, int))


def pattern(key: str) -> str:
    """The key with N for every number that stands by itself, and for those at the end of a name."""
    return re.sub(r"(?<![0-9])[0-9]+(?=\.|_|$)", "N", key)


def _token(part: str) -> Token:
    return int(part) if part.isascii() and part.isdigit() and len(part) <= _LONGEST_NUMBER else part
