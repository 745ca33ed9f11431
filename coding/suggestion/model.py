"""The trained parts of suggestion: ranker, calibration, learned characters, and what made them."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coding.names import System
from coding.suggestion.grams import Float
from coding.suggestion.history import Memory
from coding.suggestion.index import NameIndex
from coding.suggestion.match import COLUMN, FEATURES, Comparison
from coding.suggestion.translate import Row, Translations
from models.pack import write_atomically

MANIFEST = "manifest.json"
RANKER = "ranker.txt"
CALIBRATION = "calibration.skops"
TRANSLATIONS = "translations.csv"
MEMORY = "memory.npz"
FORMAT = 3
CALIBRATION_INPUTS = (
    "best",
    "name_covered",
    "text_covered",
    "same",
    "length_ratio",
    "past_best",
    "past_exact",
)


class ModelError(Exception):
    """A trained model cannot be read or does not fit this program; the message is Chinese."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """A fitted standardisation and logistic regression as plain numbers, one a column of inputs.

    The classifier itself ships beside it; using it would mean importing scikit-learn at every start.
    """

    mean: tuple[float, ...]
    scale: tuple[float, ...]
    weight: tuple[float, ...]
    intercept: float

    @classmethod
    def of(cls, pipeline: Any) -> Calibration:
        """The numbers of a pipeline of StandardScaler and LogisticRegression."""
        scaler, regression = pipeline[0], pipeline[1]
        return cls(
            tuple(scaler.mean_.tolist()),
            tuple(scaler.scale_.tolist()),
            tuple(regression.coef_[0].tolist()),
            float(regression.intercept_[0]),
        )

    @classmethod
    def read(cls, numbers: Mapping[str, Any]) -> Calibration:
        """From the manifest. Raises KeyError, TypeError or ValueError."""
        mean, scale, weight = (tuple(map(float, numbers[key])) for key in ("mean", "scale", "weight"))
        return cls(mean, scale, weight, float(numbers["intercept"]))

    def probabilities(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """The probability of each row."""
        logits = ((rows - self.mean) / self.scale) @ np.array(self.weight) + self.intercept
        return np.asarray(1 / (1 + np.exp(-logits)))


@dataclass(frozen=True)
class Model:
    """One trained model of one system. ``manifest`` says what data, versions and metrics it has.

    ``classifier``: the calibration as skops wrote it. ``memory``: the regression on past codings that a
    model trained on a hospital's history has.
    """

    system: System
    ranker: Any
    calibration: Calibration
    classifier: bytes
    translations: Sequence[Row]
    manifest: Mapping[str, Any]
    memory: Memory | None = None

    def scores(self, comparison: Comparison) -> NDArray[np.float64]:
        """The ranker's score of every candidate; larger is better, comparable within a statement."""
        if not len(comparison.names):
            return np.zeros(0)
        return np.asarray(self.ranker.predict(comparison.features, num_threads=1))

    def probabilities(self, comparison: Comparison, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """The calibrated probability that each candidate is a right one."""
        if not len(scores):
            return np.zeros(0)
        return self.calibration.probabilities(calibration_rows(comparison.features, scores))

    def learned(self, index: NameIndex) -> Translations:
        """The learned characters in the vocabulary of ``index``."""
        return Translations.of(index, self.translations)

    def save(self, folder: Path) -> None:
        """Write the model into ``folder``; the manifest comes last, so a half-written model is none."""
        folder.mkdir(parents=True, exist_ok=True)
        buffer = io.StringIO(newline="")
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(("kind", "source", "letter", "strength"))
        writer.writerows((kind, a, b, f"{w:.3f}") for kind, a, b, w in self.translations)
        parts = {
            RANKER: self.ranker.model_to_string().encode(),
            CALIBRATION: self.classifier,
            TRANSLATIONS: buffer.getvalue().encode(),
        }
        if self.memory is not None:
            parts[MEMORY] = self.memory.dump()
        for name, content in parts.items():
            write_atomically(folder / name, content)
        manifest = {
            **self.manifest,
            "format": FORMAT,
            "system": self.system,
            "calibration": asdict(self.calibration),
            "features": list(FEATURES),
            "sha256": {name: hashlib.sha256(content).hexdigest() for name, content in parts.items()},
        }
        text = json.dumps(manifest, ensure_ascii=False, indent=1, sort_keys=True) + "\n"
        write_atomically(folder / MANIFEST, text.encode())

    @classmethod
    def load(cls, folder: Path) -> Model:
        """Read a model that ``save`` wrote. Raises ModelError."""
        lightgbm = _lightgbm()
        try:
            manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            names = [RANKER, CALIBRATION, TRANSLATIONS]
            names += [MEMORY] if MEMORY in manifest.get("sha256", {}) else []
            parts = {name: (folder / name).read_bytes() for name in names}
        except (OSError, ValueError, AttributeError) as error:
            raise ModelError(f"{folder}：不能读取编码推荐模型（{error}）；请重新训练或回退") from error
        if manifest.get("format") != FORMAT or tuple(manifest.get("features", ())) != FEATURES:
            raise ModelError(f"{folder}：模型与本程序版本不符；请用 qingdan coding train 重新训练")
        try:
            calibration = Calibration.read(manifest["calibration"])
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"{folder / MANIFEST}：缺少校准参数（{error}）；请重新训练或回退") from error
        for name, content in parts.items():
            if hashlib.sha256(content).hexdigest() != manifest.get("sha256", {}).get(name):
                raise ModelError(f"{folder / name}：内容与清单的 sha256 不一致，文件被改动或不完整")
        try:
            memory = Memory.read(parts[MEMORY]) if MEMORY in parts else None
        except ValueError as error:
            raise ModelError(f"{folder / MEMORY}：内容不对（{error}）；请重新训练或回退") from error
        rows = csv.DictReader(io.StringIO(parts[TRANSLATIONS].decode("utf-8"), newline=""))
        return cls(
            "icd9cm3" if manifest.get("system") == "icd9cm3" else "icd10",
            lightgbm.Booster(model_str=parts[RANKER].decode()),
            calibration,
            parts[CALIBRATION],
            [(row["kind"], row["source"], row["letter"], float(row["strength"])) for row in rows],
            manifest,
            memory,
        )


def _lightgbm() -> Any:
    """LightGBM without its scikit-learn classes, which nothing here uses and which take most of the start."""
    spared = "sklearn" not in sys.modules
    if spared:
        sys.modules["sklearn"] = None  # type: ignore[assignment] # the import system's own way to say: absent
    try:
        import lightgbm  # noqa: PLC0415 - heavy
    finally:
        if spared:
            del sys.modules["sklearn"]
    return lightgbm


def calibration_rows(features: Float, scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """What the calibration looks at, one row a candidate of one statement."""
    share = np.exp(scores - scores.max())
    share /= share.sum()
    ordered = np.sort(scores)[::-1]
    margin = scores - np.where(scores == ordered[0], ordered[min(1, len(ordered) - 1)], ordered[0])
    picked = features[:, [COLUMN[name] for name in CALIBRATION_INPUTS]].astype(np.float64)
    return np.column_stack([scores, np.log(share + 1e-6), np.clip(margin, -5, 5), picked])
