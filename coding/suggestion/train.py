"""Training: from the code tables and our terms alone, or with a hospital's own past codings."""

from __future__ import annotations

import hashlib
import io
import platform
import re
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coding.names import System
from coding.normalize import compact
from coding.suggestion.grams import Float
from coding.suggestion.history import Memory, PastCodings
from coding.suggestion.index import LOCAL, NameIndex
from coding.suggestion.match import FEATURES, Comparison, Matcher
from coding.suggestion.model import Calibration, Model, calibration_rows
from coding.suggestion.translate import Row, Translations, learn_translations
from coding.suggestion.variations import HARD, Example, Variations

SEED = 20240607
MADE_EXAMPLES: dict[System, int] = {"icd10": 7000, "icd9cm3": 5000}
MADE_BESIDE_HISTORY = 1500
CALIBRATION_EXAMPLES = 1500
FOLDS = 3
RANKED_FOLDS = 2
"""Parts of a history: the ranker of all others gives the scores of each, on which calibration is fitted."""
CALIBRATED_BEST = 8
"""Only the best few candidates of a statement are ever shown: those are what must be calibrated."""
SLOPE: dict[System, float] = {"icd10": 0.85, "icd9cm3": 1.65}
"""Without a history log-odds are multiplied by this: what doctors write of diagnoses tells right from wrong
less sharply than texts that are made from names do, what they write of procedures more sharply."""
ROUNDS = {"tables": 90, "history": 220}
PARAMETERS: dict[str, Any] = {
    "objective": "lambdarank",
    "learning_rate": 0.06,
    "num_leaves": 31,
    "min_data_in_leaf": 50,
    "feature_fraction": 0.6,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "lambda_l2": 5.0,
    "label_gain": [0, 1, 2, 6],
    "lambdarank_truncation_level": 12,
    "verbose": -1,
    "seed": SEED,
    "deterministic": True,
    "force_row_wise": True,
}
DECIMALS = 5
"""To so many decimals features are rounded while training, so that training twice gives the same bytes."""
RIGHT_NAME, NEARLY_RIGHT, SAME_CODE = 3, 2, 1
PART_SHARE = 0.6
"""Share of a name's characters that a part of a text must hold to count as coded by it."""
FROM_HISTORY: dict[str, Any] = {**PARAMETERS, "lambdarank_truncation_level": 6, "max_bin": 127}
"""With a history the right name is mostly among the first few, and there are many more rows."""

_SCHEMA = "schema.json"
_ADDRESS = re.compile(r"\d{9,}")

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Past:
    """One past coding: the text, and the rows of the index that were chosen for it."""

    text: str
    names: tuple[int, ...]
    department: str = ""


@dataclass
class Rows:
    """Training rows of many statements: features, grades and how many candidates each statement has."""

    features: list[Float] = field(default_factory=list)
    grades: list[NDArray[np.int64]] = field(default_factory=list)

    def add(self, comparison: Comparison, grades: NDArray[np.int64]) -> None:
        # The last bits of a float differ between machines; a threshold must not lie between them.
        self.features.append(comparison.features.round(DECIMALS))
        self.grades.append(grades)

    def __len__(self) -> int:
        return len(self.grades)


@dataclass
class Judged:
    """The best candidates of statements that a ranker did not see: what calibration is fitted on."""

    inputs: list[NDArray[np.float64]] = field(default_factory=list)
    right: list[NDArray[np.bool_]] = field(default_factory=list)
    first_right: int = 0
    """Statements whose first candidate has the right name."""

    def __len__(self) -> int:
        return len(self.right)

    def add(self, ranker: Any, rows: Rows, places: NDArray[np.int64]) -> None:
        """Rank the statements at ``places`` of ``rows``."""
        for place in places.tolist():
            features, grades = rows.features[place], rows.grades[place]
            scores = np.asarray(ranker.predict(features, num_threads=1))
            best = np.argsort(-scores, kind="stable")[:CALIBRATED_BEST]
            self.inputs.append(calibration_rows(features, scores)[best])
            self.right.append(grades[best] > 0)
            self.first_right += bool(grades[best[0]] == RIGHT_NAME)


def silent(_stage: str, _done: int, _total: int) -> None:
    """Progress that nobody watches."""


def train_shipped(index: NameIndex, progress: Progress = silent, threads: int = 2) -> Model:
    """The model that ships: learned from the code tables, aliases and our terms only; repeatable."""
    pairs = [*alias_pairs(index), *usage_pairs(index)]
    examples = Variations(index, SEED).make(MADE_EXAMPLES[index.table.system])
    matchers = _cross_fitted(index, pairs)
    rows = Rows()
    for done, example in enumerate(examples):
        progress("对比训练用语", done, len(examples))
        _compare_example(matchers[_fold_of(index, example)], example, rows)
    unlike = Rows()
    for example in Variations(index, SEED + 1, HARD[index.table.system]).make(CALIBRATION_EXAMPLES):
        _compare_example(matchers[_fold_of(index, example)], example, unlike)
    digest = hashlib.sha256()
    for example in examples:
        digest.update(f"{example.text}\t{','.join(index.names[name] for name in example.names)}\n".encode())
    ranker = _ranker(rows, np.arange(len(rows)), PARAMETERS, ROUNDS["tables"], threads)
    judged = Judged()
    judged.add(ranker, unlike, np.arange(len(unlike)))
    return _model(
        index,
        learn_translations((text, name) for text, name, _ in pairs),
        ranker,
        judged,
        slope=SLOPE[index.table.system],
        facts={
            "trained_on": "tables",
            "examples": len(examples),
            "statements": len(rows),
            "rounds": ROUNDS["tables"],
            "data_sha256": digest.hexdigest(),
        },
    )


def train_on_history(
    index: NameIndex, past: Sequence[Past], progress: Progress = silent, threads: int = 2
) -> Model:
    """A model that also leans on ``past`` codings, each compared with all the others."""
    fold = np.random.default_rng(SEED).permutation(len(past)) % FOLDS
    pairs = [*alias_pairs(index), *usage_pairs(index), *_past_pairs(index, past, fold)]
    remembered = remember(index, past)
    memory = Memory.fit(remembered)
    remembered.attach(memory)
    matchers = _cross_fitted(index, pairs, remembered)
    rows = Rows()
    origin: list[int] = []
    own = own_names(index, remembered)
    for done, one in enumerate(past):
        progress("对比历史编码", done, len(past))
        # Without this coding the index would not have the name: it must not be found here either.
        example = Example(one.text, one.names, tuple(name for name in one.names if name in own))
        _compare_example(matchers[int(fold[done])], example, rows, done)
        origin += [done] * (len(rows) - len(origin))
    made = Variations(index, SEED).make(MADE_BESIDE_HISTORY)
    for example in made:
        _compare_example(matchers[_fold_of(index, example)], example, rows)
    digest = hashlib.sha256()
    for one in past:
        digest.update(f"{one.text}\t{','.join(index.names[name] for name in one.names)}\n".encode())
    part = np.random.default_rng(SEED + 1).permutation(len(past)) % RANKED_FOLDS
    of_part = np.append(part[origin], np.full(len(rows) - len(origin), -1))
    judged = Judged()
    for each in range(RANKED_FOLDS):
        ranker = _ranker(rows, np.flatnonzero(of_part != each), FROM_HISTORY, ROUNDS["history"], threads)
        judged.add(ranker, rows, np.flatnonzero(of_part == each))
    return _model(
        index,
        learn_translations((text, name) for text, name, _ in pairs),
        _ranker(rows, np.arange(len(rows)), FROM_HISTORY, ROUNDS["history"], threads),
        judged,
        slope=1.0,
        facts={
            "trained_on": "history",
            "examples": len(past) + len(made),
            "statements": len(rows),
            "rounds": ROUNDS["history"],
            "data_sha256": digest.hexdigest(),
        },
        memory=memory,
    )


def own_names(index: NameIndex, past: PastCodings) -> frozenset[int]:
    """Names of the hospital's own that it chose a single time."""
    table = index.table
    local = [
        compact(index.terms.normalize(name))
        for name, owner, edition in zip(table.names, table.owner, table.edition, strict=True)
        if LOCAL in (edition, table.kinds[owner])
    ]
    return frozenset(row for row in map(index.exact.__getitem__, local) if past.count(row) == 1)


def _cross_fitted(
    index: NameIndex, pairs: Sequence[tuple[str, str, int]], past: PastCodings | None = None
) -> list[Matcher]:
    """One matcher a fold, whose learned characters come from the pairs of the other folds.

    Otherwise the ranker would come to trust them as if they had seen every text before.
    """
    return [
        Matcher(
            index,
            Translations.of(
                index, learn_translations((text, name) for text, name, of in pairs if of != fold)
            ),
            past,
        )
        for fold in range(FOLDS)
    ]


def _fold_of(index: NameIndex, example: Example) -> int:
    return int(index.code_of[example.names[0]]) % FOLDS


def _past_pairs(
    index: NameIndex, past: Sequence[Past], fold: NDArray[np.int64]
) -> Iterable[tuple[str, str, int]]:
    """(text, name, fold) of every past coding, or part of one, with a single name; each counts twice."""
    for one, of in zip(past, fold.tolist(), strict=True):
        parts = [(_text_form(index, one.text), one.names)] if len(one.names) == 1 else _parts(index, one)
        for text, names in parts:
            if len(names) == 1:
                yield from [(text, index.names[names[0]], of)] * 2


def remember(index: NameIndex, past: Iterable[Past]) -> PastCodings:
    """Past codings ready to be looked up: each text, and where it held several diagnoses its parts."""
    texts: list[str] = []
    names: list[tuple[int, ...]] = []
    origins: list[int] = []
    departments: list[str] = []
    for place, one in enumerate(past):
        texts.append(_text_form(index, one.text))
        names.append(one.names)
        origins.append(place)
        departments.append(one.department)
        if len(one.names) > 1:
            for text, chosen in _parts(index, one):
                texts.append(text)
                names.append(chosen)
                origins.append(place)
                departments.append(one.department)
    return PastCodings(index, texts, names, origins, departments)


def _parts(index: NameIndex, past: Past) -> Iterable[tuple[str, tuple[int, ...]]]:
    """The units of a text with the names that they hold most of, of those chosen for the whole."""
    units = {
        unit.text
        for statement in index.splitter.statements(index.terms.normalize.aligned(past.text))
        for unit in statement.units
        if unit.level > 0 or len(unit.text) < len(past.text)
    }
    for unit in sorted(units):
        form = compact(index.expand(unit))
        letters = set(form) | set(unit)
        held = [len(letters & set(index.names[name])) / len(set(index.names[name])) for name in past.names]
        chosen = tuple(
            name
            for name, share in zip(past.names, held, strict=True)
            if share >= PART_SHARE and share == max(held)
        )
        if chosen:
            yield form, chosen


def alias_pairs(index: NameIndex) -> Iterable[tuple[str, str, int]]:
    """(text, name, fold) of one meaning: every alias with its code's title, both ways."""
    table = index.table
    spelled = [compact(name) for name in index.terms.normalize.names(table.names)]
    for entry in range(len(table.codes), len(table.names)):
        owner = table.owner[entry]
        yield spelled[entry], spelled[owner], owner % FOLDS
        yield spelled[owner], spelled[entry], owner % FOLDS


def usage_pairs(index: NameIndex) -> Iterable[tuple[str, str, int]]:
    """(text, name, fold) from our own tables: usages and parts of the body with what they stand for.

    They are in no fold: the same tables are at hand when the model is used.
    """
    for usage, meanings in index.terms.expansions[index.table.system].items():
        yield compact(usage), compact(meanings[0]), -1
    for part, broader in index.terms.broader.items():
        yield part, broader, -1


def _text_form(index: NameIndex, text: str) -> str:
    return compact(index.expand(index.terms.normalize(text)))


def _compare_example(matcher: Matcher, example: Example, rows: Rows, left_out: int = -1) -> None:
    index = matcher.index
    wanted = {int(index.term_of[name]) for name in example.names}
    hidden = np.flatnonzero(np.isin(index.term_of, [index.term_of[name] for name in example.hidden]))
    codes = {int(index.code_of[name]) for name in wanted}
    # A procedure is shown by its code's title, so that every name of the code is as right, unless a
    # hospital has its own.
    same_code = (
        SAME_CODE if index.table.system == "icd10" else RIGHT_NAME if matcher.past is None else NEARLY_RIGHT
    )
    for statement in index.splitter.statements(index.terms.normalize.aligned(example.text)):
        comparison = matcher.compare(statement, left_out, hidden.tolist())
        grades = np.array(
            [
                RIGHT_NAME
                if int(index.term_of[name]) in wanted
                else same_code
                if int(index.code_of[name]) in codes
                else 0
                for name in comparison.names.tolist()
            ],
            dtype=np.int64,
        )
        if len(grades):
            rows.add(comparison, grades)


def _ranker(
    rows: Rows, places: NDArray[np.int64], parameters: dict[str, Any], rounds: int, threads: int
) -> Any:
    """A ranker of the statements at ``places``; those without a right candidate teach nothing."""
    import lightgbm  # noqa: PLC0415 - heavy

    used = [place for place in places.tolist() if rows.grades[place].max() > 0]
    parameters = {**parameters, "num_threads": threads}
    data = lightgbm.Dataset(
        np.vstack([rows.features[i] for i in used]),
        np.concatenate([rows.grades[i] for i in used]),
        group=[len(rows.grades[i]) for i in used],
        feature_name=list(FEATURES),
        params=parameters,
    )
    return lightgbm.train(parameters, data, rounds)


def _model(
    index: NameIndex,
    translations: Sequence[Row],
    ranker: Any,
    judged: Judged,
    *,
    slope: float,
    facts: dict[str, Any],
    memory: Memory | None = None,
) -> Model:
    import lightgbm  # noqa: PLC0415 - heavy
    import sklearn  # noqa: PLC0415
    import skops.io  # noqa: PLC0415

    calibration = _calibrated(judged, slope)
    manifest = {
        **facts,
        "seed": SEED,
        "held_out_statements": len(judged),
        "held_out_first_right": round(judged.first_right / max(len(judged), 1), 4),
        "trained_at": date.today().isoformat(),
        "names": len(index.names),
        "versions": {
            "python": platform.python_version(),
            "lightgbm": lightgbm.__version__,
            "scikit-learn": sklearn.__version__,
            "numpy": np.__version__,
        },
    }
    return Model(
        index.table.system,
        ranker,
        Calibration.of(calibration),
        repeatable_archive(skops.io.dumps(calibration)),
        translations,
        manifest,
        memory,
    )


def repeatable_archive(content: bytes) -> bytes:
    """A skops archive without the time and the addresses in memory that it was written with."""
    with zipfile.ZipFile(io.BytesIO(content)) as given:
        parts = {name: given.read(name) for name in given.namelist()}
    number: dict[str, str] = {}

    def renamed(text: str) -> str:
        return _ADDRESS.sub(lambda found: number.setdefault(found[0], str(len(number) + 1)), text)

    schema = renamed(parts.pop(_SCHEMA).decode()).encode()
    files = {renamed(name): part for name, part in parts.items()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, part in [*sorted(files.items()), (_SCHEMA, schema)]:
            archive.writestr(zipfile.ZipInfo(name), part)
    return buffer.getvalue()


def _calibrated(judged: Judged, slope: float) -> Any:
    """A classifier of scores fitted on ``judged``, its log-odds multiplied by ``slope``."""
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 - heavy
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415
    from sklearn.preprocessing import StandardScaler  # noqa: PLC0415

    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=500, random_state=SEED))
    classifier.fit(np.vstack(judged.inputs), np.concatenate(judged.right))
    classifier[1].coef_ *= slope
    classifier[1].intercept_ *= slope
    return classifier
