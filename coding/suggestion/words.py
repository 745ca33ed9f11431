"""Words of a medical text: jieba with our own small dictionary."""

from __future__ import annotations

import hashlib
import io
import logging
import re
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_WORD = re.compile(r"[一-鿿]+|[A-Z]+|\d+")


def _jieba() -> Any:
    with warnings.catch_warnings():
        # jieba imports pkg_resources and has unescaped backslashes; neither concerns us.
        warnings.simplefilter("ignore")
        import jieba  # noqa: PLC0415

    jieba.setLogLevel(logging.ERROR)
    # The default is a file of a fixed name in the shared temporary folder, which others can write.
    jieba.dt.tmp_dir = tempfile.gettempdir()
    return jieba


class Tokenizer:
    """Cuts texts into words by a dictionary of word → frequency; no file cache, no network."""

    def __init__(self, frequencies: dict[str, int]) -> None:
        self._tokenizer = _jieba().Tokenizer()
        # jieba reads its dictionary from a path only and caches it; we hand it the tables instead.
        table: dict[str, int] = {}
        for word, frequency in frequencies.items():
            table[word] = frequency
            for end in range(1, len(word)):
                table.setdefault(word[:end], 0)
        self._tokenizer.FREQ = table
        self._tokenizer.total = sum(frequencies.values()) or 1
        self._tokenizer.initialized = True
        self.frequencies = frequencies

    def tokenize(self, text: str) -> list[str]:
        """The words of ``text``; letters and digits stay together, punctuation is left out."""
        return [word for part in _WORD.findall(text) for word in self._tokenizer.cut(part, HMM=False)]

    @classmethod
    def learn(cls, names: Iterable[str]) -> Tokenizer:
        """A dictionary of the words that jieba's own dictionary finds in ``names``."""
        jieba = _jieba()
        with tempfile.TemporaryDirectory() as folder:
            general = jieba.Tokenizer()
            general.tmp_dir = folder
            count: Counter[str] = Counter()
            for name in names:
                for part in _WORD.findall(name):
                    count.update(word for word in general.cut(part, HMM=False))
        return cls({word: count[word] for word in sorted(count) if len(word) > 1 or count[word] > 1})

    def dump(self) -> str:
        """The dictionary as lines ``word frequency``, sorted."""
        out = io.StringIO()
        for word in sorted(self.frequencies):
            out.write(f"{word} {self.frequencies[word]}\n")
        return out.getvalue()

    def dump_cuts(self, names: Iterable[str]) -> str:
        """The words of ``names``, so that starting need not cut them again: ``load_cuts`` reads it.

        The first line says of which dictionary they are.
        """
        lines = [self.digest()]
        for name in sorted(set(names)):
            words = " ".join(self.tokenize(name))
            lines.append(words if words.replace(" ", "") == name else f"{name}\t{words}")
        return "\n".join(lines) + "\n"

    def load_cuts(self, path: Path) -> dict[str, str]:
        """Name → its words joined with blanks; empty when there is no file or it is of another dictionary."""
        if not path.is_file():
            return {}
        digest, *lines = path.read_text(encoding="utf-8").splitlines() or [""]
        if digest != self.digest():
            return {}
        found = {}
        for line in lines:
            name, tab, words = line.partition("\t")
            found[name if tab else name.replace(" ", "")] = words if tab else name
        return found

    def digest(self) -> str:
        """SHA-256 of ``dump``."""
        return hashlib.sha256(self.dump().encode()).hexdigest()

    @classmethod
    def load(cls, path: Path) -> Tokenizer:
        """Read what ``dump`` wrote."""
        pairs = (line.rsplit(" ", 1) for line in path.read_text(encoding="utf-8").splitlines())
        return cls({word: int(frequency) for word, frequency in pairs})
