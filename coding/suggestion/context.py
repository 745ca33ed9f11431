"""What else is known of the stay, and which candidates it speaks against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from coding.names import System
from models.pack import Pack

CONFLICT_WEIGHT = 0.2
"""A candidate against the context stays on the list, well below those that fit."""
CONFIDENT = 0.35
"""Below this probability the first candidate is wrong more often than a coder should be shown as an answer."""
_NEWBORN_AGE = 1
_FERTILE = range(10, 61)
_SEX = {"1": "男", "2": "女"}


@dataclass(frozen=True, slots=True)
class Context:
    """The stay: ``sex`` "1" or "2", ``age`` in years, ``department`` by name, codes already given."""

    sex: str = ""
    age: int | None = None
    department: str = ""
    diagnoses: tuple[str, ...] = ()
    procedures: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SexLimits:
    """Code prefixes that only one sex can have: ``{"icd10": {"C61": "1"}}``."""

    prefixes: Mapping[str, Mapping[str, str]]

    @classmethod
    def load(cls, pack: Pack) -> SexLimits:
        """From the pack of kind ``sex-restricted``. Raises PackError."""
        found: dict[str, dict[str, str]] = {"icd10": {}, "icd9cm3": {}}
        for row in pack.rows("code_prefix"):
            found.setdefault(row["system"], {})[row["code_prefix"]] = row["sex"]
        return cls(found)

    def sex_of(self, system: System, code: str) -> str:
        """The sex ("1", "2") that alone can have ``code``; empty when both can."""
        limits = self.prefixes.get(system, {})
        for length in range(len(code), 1, -1):
            sex = limits.get(code[:length])
            if sex is not None:
                return sex
        return ""


def conflicts(system: System, code: str, context: Context, limits: SexLimits) -> list[str]:
    """Why ``code`` does not fit the stay, in Chinese; empty when it does."""
    found = []
    only = limits.sex_of(system, code)
    if only and context.sex in _SEX and context.sex != only:
        found.append(f"此编码限{_SEX.get(only, only)}性，病人为{_SEX[context.sex]}性")
    if system != "icd10" or context.age is None:
        return found
    if code[:1] == "P" and context.age >= _NEWBORN_AGE:
        found.append(f"P 类编码用于围生期，病人 {context.age} 岁，请核对")
    if code[:1] == "O" and context.age not in _FERTILE:
        found.append(f"妊娠分娩类编码，病人 {context.age} 岁，请核对年龄")
    return found


def usage_flags(system: System, code: str, grey: bool) -> list[str]:
    """What a coder must know before using ``code`` on a settlement list."""
    flags = []
    if grey:
        flags.append("灰码，不能用于结算清单")
    if system != "icd10":
        return flags
    if "+" in code and code.endswith("*"):
        flags.append("剑号、星号双重编码")
    elif code.endswith("*"):
        flags.append("星号编码，须与剑号编码合用，不作主要诊断")
    if code[:1] in "VWXY":
        flags.append("损伤中毒外部原因，不作主要诊断")
    elif code[:3] in ("B95", "B96", "B97"):
        flags.append("病原体附加编码，不作主要诊断")
    elif code[:3] == "Z37":
        flags.append("分娩结局，不作主要诊断")
    return flags
