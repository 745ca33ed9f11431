"""Past codings of this hospital: the nearest ones to a text, used the moment they are accepted."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from coding.suggestion.grams import Float, Grams
from coding.suggestion.index import NameIndex

NEAREST = 30
OWN_VOCABULARY = 200
"""From so many texts on, the characters and weights of the past texts themselves are used."""
MOST_REMEMBERED = 6000
"""Texts in the regression: its matrix has the square of this many numbers (144 MB while training)."""
RIDGE = 0.5
DEPARTMENT_SMOOTHING = 20.0
"""As many codings of the whole hospital are added to a department's own before both are compared."""
LEAST_WEIGHT = 0.01
LEAST_EVIDENCE = 0.002
"""What the regression gives a name below this is rounding, and counts as nothing."""
KERNEL_POWER = 1.5
"""The likeness of two texts counts raised to this: 2 trusts the nearest more, 1 the many."""
LEAST_LIKENESS = 0.1
"""A text less like than this takes no part."""
BY_REGRESSION = 12
"""Names that the regression puts forward as candidates."""


@dataclass(frozen=True)
class Memory:
    """Kernel ridge regression from past texts to the names chosen for them.

    ``weights[text, name]``: how much likeness to that text speaks for the name. ``texts`` are in compared
    form; ``names`` as the index spells them. ``inverse`` and ``unrounded`` stand only while training: with
    them, the answer for a text is exactly what it would be had that text never been seen. Rounded weights
    would not do: what rounding leaves over at a name that only the text itself has gives the name away.
    """

    texts: tuple[str, ...]
    names: tuple[str, ...]
    weights: sparse.csr_matrix
    inverse: Float | None = field(default=None, repr=False)
    unrounded: Float | None = field(default=None, repr=False)

    def dump(self) -> bytes:
        """As a numpy archive of plain arrays."""
        buffer = io.BytesIO()
        table = self.weights
        np.savez(
            buffer,
            texts=np.array(self.texts, dtype=np.str_),
            names=np.array(self.names, dtype=np.str_),
            data=table.data.astype(np.float32),
            indices=table.indices.astype(np.int32),
            indptr=table.indptr.astype(np.int32),
        )
        return buffer.getvalue()

    @classmethod
    def read(cls, content: bytes) -> Memory:
        """What ``dump`` wrote. Raises ValueError."""
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as parts:
                texts = tuple(str(text) for text in parts["texts"].tolist())
                names = tuple(str(name) for name in parts["names"].tolist())
                table = (parts["data"], parts["indices"], parts["indptr"])
                weights = sparse.csr_matrix(table, shape=(len(texts), len(names)))
            weights.check_format()
        except (OSError, EOFError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as error:
            raise ValueError(str(error)) from error
        return cls(texts, names, weights)

    @classmethod
    def fit(cls, past: PastCodings) -> Memory:
        """Learn from the whole texts of ``past``, the latest where there are very many."""
        chosen: dict[str, list[Sequence[int]]] = {}
        for place in reversed(past.whole().tolist()):
            text = past.texts[place]
            if text in chosen or len(chosen) < MOST_REMEMBERED:
                chosen.setdefault(text, []).append(past.names[place])
        texts = tuple(reversed(chosen))
        known = sorted({name for codings in chosen.values() for names in codings for name in names})
        column = {name: place for place, name in enumerate(known)}
        wanted = np.zeros((len(texts), len(known)), dtype=np.float32)
        for row, text in enumerate(texts):
            for names in chosen[text]:
                for name in names:
                    wanted[row, column[name]] += 1 / len(chosen[text])
        vectors = past.vectors(texts)
        kernel = np.asarray((vectors @ vectors.T).todense(), dtype=np.float32) ** KERNEL_POWER
        kernel[np.diag_indices_from(kernel)] += RIDGE
        inverse = np.asarray(np.linalg.inv(kernel), dtype=np.float32)
        weights = inverse @ wanted
        kept = np.where(np.abs(weights) < LEAST_WEIGHT, 0, weights)
        spelled = tuple(past.index.names[name] for name in known)
        return cls(texts, spelled, sparse.csr_matrix(kept), inverse, weights)


@dataclass(frozen=True, slots=True)
class Recall:
    """What past codings say about one statement: ``names`` by falling weight, and each feature."""

    names: NDArray[np.int64]
    best: Mapping[int, float]
    total: Mapping[int, float]
    exact: Mapping[int, float]
    by_code: Mapping[int, float]
    by_category: Mapping[str, float]
    count: NDArray[np.float32]
    kernel: Float
    """What the regression gives each name, shape (units, names); no units where there is none."""
    index: NameIndex = field(repr=False)

    def features(self, candidates: NDArray[np.int64]) -> dict[str, Float]:
        """One column a feature, rows following ``candidates``."""
        owners = self.index.code_of[candidates]
        codes = self.index.table.codes
        listed = candidates.tolist()
        kernel, whole, category = self._kernel(candidates)
        best = np.array([self.best.get(c, 0.0) for c in listed], dtype=np.float32)
        return {
            "past_best": best,
            "past_sum": np.array([self.total.get(c, 0.0) for c in listed], dtype=np.float32),
            "past_code": np.array([self.by_code.get(int(o), 0.0) for o in owners], dtype=np.float32),
            "past_category": np.array(
                [self.by_category.get(codes[o][:3], 0.0) for o in owners], dtype=np.float32
            ),
            "past_count": np.log1p(self.count[candidates]),
            "past_share": best / max(max(self.best.values(), default=0.0), 1e-6),
            "past_exact": np.array([self.exact.get(c, 0.0) for c in listed], dtype=np.float32),
            "past_kernel": kernel,
            "past_kernel_whole": whole,
            "past_kernel_share": kernel / max(float(self.kernel.max(initial=0.0)), 1e-3),
            "past_kernel_category": category,
        }

    def _kernel(self, candidates: NDArray[np.int64]) -> tuple[Float, Float, Float]:
        nothing = np.zeros(len(candidates), dtype=np.float32)
        if not len(self.kernel):
            return nothing, nothing, nothing
        most = self.kernel.max(axis=0)
        groups = self.index.categories
        sums = np.add.reduceat(most[self.index.by_category], groups.start)
        return most[candidates], self.kernel[0, candidates], sums[groups.of_name[candidates]]


class PastCodings:
    """Texts that were coded here and the names chosen for them."""

    def __init__(
        self,
        index: NameIndex,
        texts: Sequence[str],
        names: Sequence[Sequence[int]],
        origins: Sequence[int] | None = None,
        departments: Sequence[str] = (),
    ) -> None:
        """``texts`` in compared form (expanded), ``names``: rows of the index chosen for each.

        ``origins``: the coding that each text is, or is a part of; by default every text is its own.
        ``departments``: where each text was coded, empty where that is not known.
        """
        self.index = index
        self.texts = list(texts)
        self.names = [list(chosen) for chosen in names]
        own = len(self.texts) >= OWN_VOCABULARY
        self.space = Grams.fit(self.texts) if own else index.gram_space
        # A past text is compared with the others by all it holds, what only it holds included; so is a new.
        self._unknown = float(self.space.idf.max(initial=0)) if own else 0.0
        self._origins = np.array(range(len(self.texts)) if origins is None else origins, dtype=np.int64)
        self._columns = sparse.csr_matrix(self.vectors(self.texts).T) if texts else None
        self._count = np.zeros(len(index.names), dtype=np.float32)
        self._by_department: dict[str, dict[str, int]] = {}
        for place in self.whole().tolist():
            self._count[self.names[place]] += 1
            self._seen_in(departments[place] if departments else "", self.names[place])
        self._memory: Memory | None = None
        self._memory_rows = np.zeros(0, dtype=np.int64)
        self._memory_columns = np.zeros(0, dtype=np.int64)
        self._memory_row: dict[str, int] = {}
        self._memory_weights = sparse.csr_matrix((0, len(index.names)), dtype=np.float32)

    def __len__(self) -> int:
        return len(self.texts)

    def vectors(self, texts: Sequence[str]) -> sparse.csr_matrix:
        """Rows whose products are the likeness of texts; what no past text holds counts against it."""
        return self.space.vectors(texts, self._unknown)

    def whole(self) -> NDArray[np.int64]:
        """The places of the texts that are no parts of others."""
        origins = self._origins
        return np.flatnonzero(np.append(True, origins[1:] != origins[:-1])[: len(origins)])

    def count(self, name: int) -> int:
        """How often a name was chosen."""
        return int(self._count[name])

    def leaning(self, department: str, candidates: NDArray[np.int64]) -> Float:
        """How much oftener a department codes the category of each candidate than the hospital does.

        The logarithm of the ratio, drawn towards 0 while the department has few codings; 0 for a
        department that is not known.
        """
        here, everywhere = self._by_department.get(department, {}), self._by_department.get("", {})
        found = np.zeros(len(candidates), dtype=np.float32)
        of_all, of_here = sum(everywhere.values()), sum(here.values())
        if not here or not department:
            return found
        for row, owner in enumerate(self.index.code_of[candidates].tolist()):
            category = self.index.table.codes[owner][:3]
            usual = (everywhere.get(category, 0) + 1) / (of_all + len(everywhere) + 1)
            mine = (here.get(category, 0) + DEPARTMENT_SMOOTHING * usual) / (of_here + DEPARTMENT_SMOOTHING)
            found[row] = np.log(mine / usual)
        return found

    def _seen_in(self, department: str, names: Sequence[int]) -> None:
        for name in names:
            category = self.index.table.codes[int(self.index.code_of[name])][:3]
            for key in {department, ""}:
                counts = self._by_department.setdefault(key, {})
                counts[category] = counts.get(category, 0) + 1

    def add(self, text: str, names: Sequence[int], department: str = "") -> None:
        """Remember one more coding at once."""
        column = sparse.csr_matrix(self.vectors([text]).T)
        self._columns = (
            column if self._columns is None else sparse.csr_matrix(sparse.hstack([self._columns, column]))
        )
        self.texts.append(text)
        self.names.append(list(names))
        self._origins = np.append(self._origins, self._origins.max(initial=-1) + 1)
        self._count[list(names)] += 1
        self._seen_in(department, names)

    def attach(self, memory: Memory) -> None:
        """Use ``memory`` from now on; what these codings or this index lack of it is left out."""
        place: dict[str, int] = {}
        for entry in self.whole().tolist():
            place.setdefault(self.texts[entry], entry)
        rows = np.array([place.get(text, -1) for text in memory.texts], dtype=np.int64)
        columns = np.array([self.index.exact.get(name, -1) for name in memory.names], dtype=np.int64)
        table = memory.weights.tocoo()
        kept = (rows[table.row] >= 0) & (columns[table.col] >= 0)
        self._memory = memory
        self._memory_rows = np.maximum(rows, 0)
        self._memory_columns = columns
        self._memory_row = {text: row for row, text in enumerate(memory.texts)}
        self._memory_weights = sparse.csr_matrix(
            (table.data[kept], (table.row[kept], columns[table.col[kept]])),
            shape=(len(rows), len(self.index.names)),
        )

    def _regression(self, near: Float, left_out: int) -> Float:
        """What the regression gives each name for the texts whose likeness to the past is ``near``."""
        memory = self._memory
        if memory is None:
            return np.zeros((0, len(self.index.names)), dtype=np.float32)
        kernel = near[:, self._memory_rows] ** KERNEL_POWER
        own = -1
        if left_out >= 0:
            own = self._memory_row.get(self.texts[int(np.searchsorted(self._origins, left_out))], -1)
        if own >= 0:
            kernel[:, own] = 0
        used = np.flatnonzero(kernel.max(axis=0) > LEAST_LIKENESS**KERNEL_POWER)
        kernel = kernel[:, used]
        if own >= 0 and memory.inverse is not None and memory.unrounded is not None:
            # Leaving one row out of a ridge regression changes the others by a known share of it.
            change = kernel @ memory.inverse[used, own] / memory.inverse[own, own]
            exact = kernel @ memory.unrounded[used] - np.outer(change, memory.unrounded[own])
            found = np.zeros((len(kernel), len(self.index.names)), dtype=np.float32)
            held = self._memory_columns >= 0
            found[:, self._memory_columns[held]] = exact[:, held]
        else:
            weights = self._memory_weights[used]
            found = np.asarray((sparse.csr_matrix(kernel) @ weights).todense(), dtype=np.float32)
        found[np.abs(found) < LEAST_EVIDENCE] = 0
        return found

    def recall(self, units: Sequence[str], left_out: int = -1) -> Recall:
        """What was coded for the texts nearest to ``units`` (whole first); ``left_out`` is not seen."""
        best: dict[int, float] = {}
        total: dict[int, float] = {}
        exact: dict[int, float] = {}
        by_code: dict[int, float] = {}
        by_category: dict[str, float] = {}
        codes = self.index.table.codes
        count = self._count
        kernel = np.zeros((0, len(self.index.names)), dtype=np.float32)
        if self._columns is not None:
            near = np.asarray((self.vectors(list(units)) @ self._columns).todense(), dtype=np.float32)
            if left_out >= 0:
                mine = np.flatnonzero(self._origins == left_out)
                near[:, mine] = 0
                count = count.copy()
                if len(mine):
                    count[self.names[int(mine[0])]] -= 1
            kernel = self._regression(near, left_out)
            nearest = near.max(axis=0)
            size = min(NEAREST, len(nearest))
            chosen = np.argpartition(-nearest, size - 1)[:size]
            for past in chosen[np.lexsort((chosen, -nearest[chosen]))].tolist():
                weight = float(nearest[past])
                if weight < 0.15:
                    continue
                same = self.texts[past] in units
                # The n-th diagnosis of a long text is weaker evidence than a text of its own.
                for name in self.names[past]:
                    if weight > best.get(name, 0.0):
                        best[name] = weight
                    total[name] = total.get(name, 0.0) + weight**3
                    if same:
                        exact[name] = exact.get(name, 0.0) + 1
                    owner = int(self.index.code_of[name])
                    if weight > by_code.get(owner, 0.0):
                        by_code[owner] = weight
                    category = codes[owner][:3]
                    if weight > by_category.get(category, 0.0):
                        by_category[category] = weight
        ordered = sorted(total, key=lambda name: (-total[name], name))
        if len(kernel):
            most = kernel.max(axis=0)
            likely = np.argsort(-most, kind="stable")[:BY_REGRESSION].tolist()
            ordered = list(dict.fromkeys([*(name for name in likely if most[name] > LEAST_WEIGHT), *ordered]))
        return Recall(
            np.array(ordered, dtype=np.int64),
            best,
            total,
            exact,
            by_code,
            by_category,
            count,
            kernel,
            self.index,
        )
