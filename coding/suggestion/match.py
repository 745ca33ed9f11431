"""Candidates for a statement and what speaks for and against each: the ranker's features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rapidfuzz import distance, fuzz, process
from scipy import sparse

from coding.names import System
from coding.normalize import compact
from coding.suggestion.grams import Float
from coding.suggestion.history import PastCodings, Recall
from coding.suggestion.index import NameIndex, qualifier_rows
from coding.suggestion.split import Statement
from coding.suggestion.translate import Translations

PER_UNIT = 40
PER_STATEMENT = 100
CONTAINED = 20
ALIKE: dict[System, int] = {"icd10": 20, "icd9cm3": 0}
"""Names that speak of the same parts of the body and findings as the whole statement; what is done to a
part is in no table of concepts, so that procedures gain nothing by it."""
MAXIMUM_CANDIDATES = 240
LEAST_LIKELY = 0.02
"""What is unexplained on either side has this chance at least, so that one character never decides alone."""
FORMS = 4
"""A unit is compared as written, with abbreviations and usages expanded, without remarks, and with
parts of the body named more broadly."""

FEATURES = (
    "raw", "expanded", "bare", "broad", "broad_share", "raw_share", "expanded_share", "bare_share",
    "best", "best_share", "best_rank", "word", "word_share", "whole", "whole_share", "whole_word",
    "name_covered", "text_covered", "whole_name_covered", "whole_text_covered", "name_learned",
    "text_learned", "name_lacks", "text_lacks", "name_lacks_learned", "text_lacks_learned", "name_likely",
    "text_likely", "learned", "learned_share", "likely_share", "ratio", "ratio_raw", "partial", "jaro", "common", "contained",
    "contained_raw",
    "contains", "same", "same_raw", "ends_alike", "begins_alike", "name_length", "unit_length",
    "length_ratio", "unit_share", "level", "units", "extra_qualifiers", "missing_qualifiers",
    "shared_qualifiers", "digits_extra", "digits_missing", "is_title", "codes", "aliases", "grey",
    "morphology", "vague", "editions", "extension", "unspecified", "spread", "usages", "common_name",
    "name_editions", "beijing", "base", "fit", "fit_share", "whole_fit", "ratio_share",
    "site_alike", "site_whole_alike", "site_name_said", "site_name_finer", "site_text_named",
    "site_text_finer", "site_more", "finding_alike", "finding_whole_alike", "finding_name_said",
    "finding_name_finer", "finding_text_named", "finding_text_finer", "finding_more",
    "category_best", "category_mean", "subcategory_best", "subcategory_mean", "past_best", "past_sum",
    "past_code", "past_category", "past_count", "past_share", "past_exact", "past_kernel",
    "past_kernel_whole", "past_kernel_share", "past_kernel_category",
)  # fmt: skip
COLUMN = {name: place for place, name in enumerate(FEATURES)}
PAST = tuple(name for name in FEATURES if name.startswith("past_"))


@dataclass(frozen=True, slots=True)
class Comparison:
    """The candidates of one statement: ``names`` (rows of the index), their features, best units."""

    names: NDArray[np.int64]
    features: Float
    units: NDArray[np.int64]
    recall: Recall | None = None


@dataclass(frozen=True)
class Matcher:
    """Compares statements with the names of one index, and with past codings where there are any."""

    index: NameIndex
    translations: Translations
    past: PastCodings | None = None

    def forms(self, text: str) -> tuple[str, str, str, str]:
        """The forms in which a unit is compared."""
        index = self.index
        bare = index.splitter.bare(text)
        plain = index.expand(bare)
        return compact(text), compact(index.expand(text)), compact(plain), compact(index.generalize(plain))

    def compare(self, statement: Statement, left_out: int = -1, hidden: Sequence[int] = ()) -> Comparison:
        """Candidates and features of ``statement``.

        While training, ``left_out`` is the past coding not to look at and ``hidden`` are names that
        must not be offered.
        """
        index = self.index
        units = statement.units
        forms = [form for unit in units for form in self.forms(unit.text)]
        count = len(units)
        vectors = index.gram_space.vectors(forms)
        cosines = np.asarray((vectors @ index.columns).todense(), dtype=np.float32).reshape(count, FORMS, -1)
        cosines[:, :, list(hidden)] = 0
        expanded_forms = forms[1::FORMS]
        words = index.word_space.vectors([index.tokenizer.tokenize(form) for form in expanded_forms])
        word_cosines = np.asarray((words @ index.word_columns).todense(), dtype=np.float32)
        word_cosines[:, list(hidden)] = 0
        best = cosines.max(axis=1)
        recall = (
            self.past.recall([forms[i * FORMS + 1] for i in range(count)], left_out) if self.past else None
        )
        candidates = self._candidates(best, word_cosines, forms, recall)
        if hidden:
            candidates = candidates[~np.isin(candidates, hidden)]
        return Comparison(
            *self._features(
                statement,
                candidates,
                forms,
                vectors,
                cosines=cosines,
                best=best,
                word_cosines=word_cosines,
                recall=recall,
            ),
            recall,
        )

    def _candidates(
        self, best: Float, word_cosines: Float, forms: Sequence[str], recall: Recall | None
    ) -> NDArray[np.int64]:
        chosen: dict[int, None] = {}
        index = self.index
        if recall is not None:
            chosen.update(dict.fromkeys(recall.names[:30].tolist()))
        for form in forms:
            name = index.exact.get(form)
            if name is not None:
                chosen[name] = None
            for key, values in index.alternatives.items() if len(form) <= 8 and form.isascii() else ():
                if key == form:
                    for value in values:
                        other = index.exact.get(compact(value))
                        if other is not None:
                            chosen[other] = None
        chosen.update(dict.fromkeys(index.names_in(forms[0])[:CONTAINED]))
        chosen.update(dict.fromkeys(index.names_in(forms[1])[:CONTAINED]))
        for unit in range(len(best)):
            size = PER_STATEMENT if unit == 0 else PER_UNIT
            chosen.update(dict.fromkeys(_top(best[unit], size)))
            chosen.update(dict.fromkeys(_top(word_cosines[unit], size // 4)))
        if ALIKE[index.table.system]:
            alike = sum(concepts.alike(forms[:2]) for concepts in index.concepts.values())
            chosen.update(dict.fromkeys(_top(alike + best[0], ALIKE[index.table.system])))
        return np.fromiter(list(chosen)[:MAXIMUM_CANDIDATES], dtype=np.int64)

    def _features(
        self,
        statement: Statement,
        candidates: NDArray[np.int64],
        forms: Sequence[str],
        vectors: sparse.csr_matrix,
        *,
        cosines: Float,
        best: Float,
        word_cosines: Float,
        recall: Recall | None,
    ) -> tuple[NDArray[np.int64], Float, NDArray[np.int64]]:
        index = self.index
        size, count = len(candidates), len(statement.units)
        features = np.zeros((size, len(FEATURES)), dtype=np.float32)
        if not size:
            return candidates, features, np.zeros(0, dtype=np.int64)

        def put(name: str, values: Any) -> None:
            features[:, COLUMN[name]] = values

        row = np.arange(size)
        near = best[:, candidates] + 0.3 * word_cosines[:, candidates]
        # A shorter unit that says the same is the better place for the candidate.
        level = np.array([unit.level for unit in statement.units], dtype=np.float32)
        unit = (near + 0.01 * level[:, None]).argmax(axis=0)
        top = np.maximum(cosines.max(axis=2), 1e-6)
        for place, name in enumerate(("raw", "expanded", "bare", "broad")):
            value = cosines[unit, place, candidates]
            put(name, value)
            put(f"{name}_share", value / top[unit, place])
        value = best[unit, candidates]
        peak = np.maximum(best.max(axis=1), 1e-6)
        put("best", value)
        put("best_share", value / peak[unit])
        inside = best[:, candidates]
        ranks = (-inside).argsort(axis=1).argsort(axis=1)
        put("best_rank", ranks[unit, row])
        put("word", word_cosines[unit, candidates])
        put("word_share", features[:, COLUMN["word"]] / np.maximum(word_cosines.max(axis=1), 1e-6)[unit])
        put("whole", best[0, candidates])
        put("whole_share", best[0, candidates] / peak[0])
        put("whole_word", word_cosines[0, candidates])
        self._coverage(features, candidates, unit, vectors)
        self._translated(features, candidates, unit, forms)
        names = [index.names[candidate] for candidate in candidates]
        pairs = [
            (forms[u * FORMS + 1], forms[u * FORMS], forms[u * FORMS + 2], forms[u * FORMS + 3])
            for u in unit.tolist()
        ]
        self._fuzzy(features, names, forms, unit)
        self._fit(features, unit, count)
        self._spelling(features, names, pairs)
        lengths = np.array([len(pair[0]) for pair in pairs], dtype=np.float32)
        put("name_length", index.length[candidates])
        put("unit_length", lengths)
        put("length_ratio", index.length[candidates] / np.maximum(lengths, 1))
        put("unit_share", lengths / max(len(forms[1]), 1))
        put("level", level[unit])
        put("units", count)
        self._qualifiers(features, candidates, names, forms, unit)
        features[:, COLUMN["is_title"] : COLUMN["base"] + 1] = index.flags[candidates]
        self._neighbourhood(features, candidates, best[0])
        self._concepts(features, candidates, unit, forms)
        for name, values in recall.features(candidates).items() if recall is not None else ():
            put(name, values)
        return candidates, features, unit

    @staticmethod
    def _spelling(features: Float, names: Sequence[str], pairs: Sequence[tuple[str, str, str, str]]) -> None:
        """What names and the forms of their units (expanded, raw, bare, broad) share letter by letter."""
        features[:, COLUMN["contained"] : COLUMN["begins_alike"] + 1] = [
            (
                name in raw or name in expanded or name in bare or name in broad,
                name in raw,
                raw in name or expanded in name or bare in name,
                name in (expanded, raw, bare, broad),
                name == raw,
                name[-2:] == expanded[-2:],
                name[:2] == bare[:2],
            )
            for name, (expanded, raw, bare, broad) in zip(names, pairs, strict=True)
        ]

    def _coverage(
        self,
        features: Float,
        candidates: NDArray[np.int64],
        unit: NDArray[np.int64],
        vectors: sparse.csr_matrix,
    ) -> None:
        """Idf-weighted share of the name's characters that the text has, and the other way round."""
        index = self.index
        weight = index.letter_weight
        rows = index.letters[candidates]
        have = np.asarray(vectors[:, : len(weight)].todense()).reshape(-1, FORMS, len(weight)).max(axis=1) > 0
        have = have.astype(np.float32)
        name_weight = np.maximum(rows @ weight, 1e-6)
        shared = np.asarray(rows @ (have * weight).T)
        text_weight = np.maximum(have @ weight, 1e-6)
        row = np.arange(len(candidates))
        features[:, COLUMN["name_covered"]] = shared[row, unit] / name_weight
        features[:, COLUMN["text_covered"]] = shared[row, unit] / text_weight[unit]
        features[:, COLUMN["whole_name_covered"]] = shared[:, 0] / name_weight
        features[:, COLUMN["whole_text_covered"]] = shared[:, 0] / text_weight[0]
        # One rare character apart (肱骨, 眶骨) tells more than the share of all characters.
        missing = weight[rows.indices] * (1 - have[np.repeat(unit, np.diff(rows.indptr)), rows.indices])
        features[:, COLUMN["name_lacks"]] = np.maximum.reduceat(np.append(missing, 0), rows.indptr[:-1])
        left = have[unit] * weight
        left[np.repeat(row, np.diff(rows.indptr)), rows.indices] = 0
        features[:, COLUMN["text_lacks"]] = left.max(axis=1)

    def _translated(
        self, features: Float, candidates: NDArray[np.int64], unit: NDArray[np.int64], forms: Sequence[str]
    ) -> None:
        """How much of the name the text explains, and the other way round, with learned characters."""
        index, learned = self.index, self.translations
        weight = index.letter_weight
        grams = index.grams[candidates]
        grams = sparse.csr_matrix((np.ones_like(grams.data), grams.indices, grams.indptr), grams.shape)
        for each in np.unique(unit).tolist():
            mine = np.flatnonzero(unit == each)
            texts = forms[each * FORMS : each * FORMS + FORMS]
            held = learned.known(texts)
            said = np.isin(index.letter_keys, [ord(c) for text in texts for c in text])
            reach = np.minimum(np.asarray(learned.to[held].sum(axis=0)).ravel(), 1)
            reach = np.where(said, 1, reach).astype(np.float32)
            rows = index.letters[candidates[mine]]
            whole = np.maximum(rows @ weight, 1e-6)
            features[mine, COLUMN["name_learned"]] = (rows @ (weight * reach)) / whole
            lost = weight * (1 - reach)
            features[mine, COLUMN["name_lacks_learned"]] = _row_maximum(rows, lost)
            cost = -np.log(np.maximum(np.minimum(reach + learned.free * (1 - reach), 1), LEAST_LIKELY))
            features[mine, COLUMN["name_likely"]] = rows @ cost
            # The other way round: single characters of the text that have a letter in the tables.
            letters = np.flatnonzero(said)
            mine_grams = grams[mine]
            have = np.asarray(rows[:, letters].todense())
            known = np.searchsorted(learned.keys, index.letter_keys[letters])
            known = np.minimum(known, max(len(learned.keys) - 1, 0))
            explained = have
            free = np.zeros(len(letters), dtype=np.float32)
            if len(learned.keys):
                found = learned.keys[known] == index.letter_keys[letters]
                back = np.asarray((mine_grams @ learned.back[known].T).todense()) * found
                explained = np.maximum(have, np.minimum(back, 1))
                free = learned.free_text[known] * found
            text_weight = weight[letters]
            features[mine, COLUMN["text_learned"]] = (explained @ text_weight) / max(
                float(text_weight.sum()), 1e-6
            )
            features[mine, COLUMN["text_lacks_learned"]] = ((1 - explained) * text_weight).max(
                axis=1, initial=0
            )
            likely = np.maximum(np.minimum(explained + free * (1 - explained), 1), LEAST_LIKELY)
            features[mine, COLUMN["text_likely"]] = -np.log(likely).sum(axis=1)

    @staticmethod
    def _fit(features: Float, unit: NDArray[np.int64], count: int) -> None:
        """Both coverages in one number, and beside the best of the same unit."""
        for name, one, other in (
            ("fit", "name_covered", "text_covered"),
            ("whole_fit", "whole_name_covered", "whole_text_covered"),
            ("learned", "name_learned", "text_learned"),
        ):
            left, right = features[:, COLUMN[one]], features[:, COLUMN[other]]
            features[:, COLUMN[name]] = 2 * left * right / np.maximum(left + right, 1e-6)
        cost = features[:, COLUMN["name_likely"]] + features[:, COLUMN["text_likely"]]
        least = np.full(count, np.inf, dtype=np.float32)
        np.minimum.at(least, unit, cost)
        features[:, COLUMN["likely_share"]] = cost - least[unit]
        for name in ("fit", "ratio", "learned"):
            values = features[:, COLUMN[name]]
            most = np.zeros(count, dtype=np.float32)
            np.maximum.at(most, unit, values)
            features[:, COLUMN[f"{name}_share"]] = values / np.maximum(most, 1e-6)[unit]

    def _concepts(
        self, features: Float, candidates: NDArray[np.int64], unit: NDArray[np.int64], forms: Sequence[str]
    ) -> None:
        """Whether text and name speak of the same parts of the body and findings, or of broader ones."""
        spoken = [forms[start : start + 2] for start in range(0, len(forms), FORMS)]
        for kind, concepts in self.index.concepts.items():
            for name, values in concepts.compare(candidates, unit, spoken).items():
                features[:, COLUMN[f"{kind}_{name}"]] = values

    def _neighbourhood(self, features: Float, candidates: NDArray[np.int64], whole: Float) -> None:
        """How near the other names of the candidate's category are to the whole statement."""
        ordered = whole[self.index.by_category]
        for name, groups in (("category", self.index.categories), ("subcategory", self.index.subcategories)):
            mine = groups.of_name[candidates]
            largest = np.maximum.reduceat(ordered, groups.start)
            mean = np.add.reduceat(ordered, groups.start) / (groups.size + 3)
            features[:, COLUMN[f"{name}_best"]] = largest[mine] / max(float(largest.max()), 1e-6)
            features[:, COLUMN[f"{name}_mean"]] = mean[mine] / max(float(mean.max()), 1e-6)

    def _fuzzy(
        self, features: Float, names: Sequence[str], forms: Sequence[str], unit: NDArray[np.int64]
    ) -> None:
        used = np.unique(unit)
        for each in used.tolist():
            mine = np.flatnonzero(unit == each)
            chosen = [names[i] for i in mine.tolist()]
            raw, expanded, bare, broad = forms[each * FORMS : each * FORMS + FORMS]
            table = process.cdist([raw, expanded, bare, broad], chosen, scorer=fuzz.ratio, dtype=np.float32)
            features[mine, COLUMN["ratio"]] = table.max(axis=0) / 100
            features[mine, COLUMN["ratio_raw"]] = table[0] / 100
            for name, scorer, scale in (
                ("partial", fuzz.partial_ratio, 100),
                ("jaro", distance.JaroWinkler.normalized_similarity, 1),
                ("common", distance.LCSseq.normalized_similarity, 1),
            ):
                found = process.cdist([bare], chosen, scorer=scorer, dtype=np.float32)
                features[mine, COLUMN[name]] = found[0] / scale

    def _qualifiers(
        self,
        features: Float,
        candidates: NDArray[np.int64],
        names: Sequence[str],
        forms: Sequence[str],
        unit: NDArray[np.int64],
    ) -> None:
        of_names = self.index.qualifiers[candidates]
        both = [f"{raw}|{expanded}" for raw, expanded in zip(forms[::FORMS], forms[1::FORMS], strict=True)]
        of_text = qualifier_rows(both)[unit]
        features[:, COLUMN["extra_qualifiers"]] = (of_names * (1 - of_text)).sum(axis=1)
        features[:, COLUMN["missing_qualifiers"]] = (of_text * (1 - of_names)).sum(axis=1)
        features[:, COLUMN["shared_qualifiers"]] = (of_names * of_text).sum(axis=1)
        digits = [frozenset(c for c in text if c.isascii() and c.isalnum()) for text in both]
        for row, (name, each) in enumerate(zip(names, unit.tolist(), strict=True)):
            mine = frozenset(c for c in name if c.isascii() and c.isalnum())
            if mine or digits[each]:
                features[row, COLUMN["digits_extra"]] = len(mine - digits[each])
                features[row, COLUMN["digits_missing"]] = len(digits[each] - mine)


def _row_maximum(rows: sparse.csr_matrix, weight: Float) -> Float:
    """The largest weight among the columns that each row has; 0 for a row without any."""
    found = np.maximum.reduceat(np.append(weight[rows.indices], 0), rows.indptr[:-1])
    return np.where(np.diff(rows.indptr) > 0, found, 0).astype(np.float32)


def _top(values: Float, size: int) -> list[int]:
    """The places of the ``size`` largest positive values, largest first, ties in order."""
    chosen = np.argpartition(-values, size)[:size] if len(values) > size else np.arange(len(values))
    chosen = chosen[values[chosen] > 0]
    return [int(i) for i in chosen[np.lexsort((chosen, -values[chosen]))]]
