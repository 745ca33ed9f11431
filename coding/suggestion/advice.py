"""Advice on a list of diagnoses: the principal one, combination codes, more specific codes, partners."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from coding.library import Code, CodeLibrary, normalize_code
from coding.normalize import compact
from coding.suggestion.context import Context
from coding.suggestion.index import MORPHOLOGY
from coding.suggestion.match import COLUMN
from coding.suggestion.split import Statement, Unit
from coding.suggestion.suggest import Suggester

MAXIMUM_PAIRED = 12
COMBINED_COVERAGE = 0.85
"""Share of both names' characters (by idf) that a combination code's name must have, and the reverse."""
SOURCE = "《住院病案首页数据填写质量规范（暂行）》（国卫办医发〔2016〕24号）"

# Which chapter of procedures treats which part of ICD-10: a procedure speaks for the disease it treats.
_TREATS = (
    ("01", "05", ("G", "I6", "S06", "C70", "C71", "C72", "D32", "D33", "M5", "Q0", "S14", "S24", "S34")),
    ("06", "07", ("E", "C73", "C74", "C75", "D34", "D35", "D44")),
    ("08", "16", ("H0", "H1", "H2", "H3", "H4", "H5", "C69", "S05", "E10.3", "E11.3", "Q10", "Q12")),
    ("18", "20", ("H6", "H7", "H8", "H9", "Q16", "Q17")),
    ("21", "29", ("J0", "J3", "K0", "K1", "C0", "C10", "C11", "C12", "C13", "C14", "S02", "R04")),
    ("30", "34", ("J", "C32", "C33", "C34", "C37", "C38", "C39", "S27", "A15", "A16", "D38")),
    ("35", "39", ("I", "Q2", "S25", "S35", "N18", "Z45", "T82")),
    ("40", "41", ("C8", "C9", "D7", "C77", "R59", "I88")),
    (
        "42",
        "54",
        (
            "K",
            "C15",
            "C16",
            "C17",
            "C18",
            "C19",
            "C20",
            "C21",
            "C22",
            "C23",
            "C24",
            "C25",
            "C26",
            "S36",
            "D12",
            "D13",
            "R10",
        ),
    ),
    ("55", "59", ("N0", "N1", "N2", "N3", "C64", "C65", "C66", "C67", "C68", "S37", "D30", "D41", "R31")),
    ("60", "64", ("N4", "N5", "C60", "C61", "C62", "C63", "Q53", "Q54")),
    (
        "65",
        "71",
        ("N7", "N8", "N9", "C51", "C52", "C53", "C54", "C55", "C56", "C57", "C58", "D25", "D26", "D27", "O0"),
    ),
    ("72", "75", ("O", "Z3")),
    ("76", "84", ("M", "S", "T0", "T1", "C40", "C41", "D16", "Q6", "Q7", "T84")),
    ("85", "86", ("C50", "N6", "D24", "L", "C43", "C44", "D17", "D22", "D23", "T2", "T3", "S", "C49")),
)
_NEVER = (
    ("V", "W", "X", "Y"),
    ("B95", "B96", "B97", "Z37", "Z38"),
)
_LATER = {
    "Z": "Z 类多为就诊原因或状态，有明确疾病时不作主要诊断",
    "R": "症状、体征：已有明确诊断时不作主要诊断",
}


class PrincipalChoice(msgspec.Struct, frozen=True):
    """One listed diagnosis as principal: ``allowed``, a score to order by, and why (Chinese)."""

    code: str
    name: str
    allowed: bool
    score: int
    requirement: str
    reasons: tuple[str, ...] = ()


class Combination(msgspec.Struct, frozen=True):
    """One code that holds what two listed codes say."""

    first: str
    second: str
    code: str
    name: str
    reason: str


class Replacement(msgspec.Struct, frozen=True):
    """A code that should stand in place of, or beside, a listed one."""

    code: str
    instead: str
    name: str
    reason: str


class Advice(msgspec.Struct, frozen=True):
    """Everything there is to say about a list of diagnoses; ``source`` is where the rule stands."""

    principal: tuple[PrincipalChoice, ...]
    combinations: tuple[Combination, ...]
    more_specific: tuple[Replacement, ...]
    partners: tuple[Replacement, ...]
    source: str = SOURCE


def advise(library: CodeLibrary, suggester: Suggester, context: Context, text: str = "") -> Advice:
    """Advice on ``context.diagnoses``; ``text`` is what the doctor wrote, where it is known."""
    codes = [found for code in context.diagnoses if (found := library.diagnosis(normalize_code(code)))]
    return Advice(
        tuple(principal_choices(codes, context)),
        tuple(combinations(suggester, codes)),
        tuple(more_specific(suggester, codes, text)),
        tuple(missing_partners(library, [normalize_code(code) for code in context.diagnoses])),
    )


def principal_choices(codes: Sequence[Code], context: Context) -> list[PrincipalChoice]:
    """The listed diagnoses, the most fitting principal diagnosis first."""
    definite = any(code.code[:1] not in "RVWXYZ" and not code.grey for code in codes)
    delivered = any(code.code[:3] == "Z37" for code in codes)
    choices = [_choice(code, place, context, definite, delivered) for place, code in enumerate(codes)]
    return sorted(choices, key=lambda choice: (not choice.allowed, -choice.score))


def _choice(code: Code, place: int, context: Context, definite: bool, delivered: bool) -> PrincipalChoice:
    reason = _never_principal(code)
    if reason:
        return PrincipalChoice(code.code, code.name, False, 0, reason)
    score = 50 - min(place, 20)
    reasons = []
    requirement = "对健康危害最大、消耗医疗资源最多、住院时间最长的疾病"
    treated = next((one for one in context.procedures if _treats(one, code.code)), "")
    if treated:
        score += 40
        requirement = "一般选本次手术、操作治疗的疾病"
        reasons.append(f"与手术操作 {treated} 的部位相符")
    first = code.code[:1]
    if first in _LATER and definite and not _treatment_visit(code.code):
        score -= 45
        reasons.append(_LATER[first])
    if _treatment_visit(code.code):
        score += 15
        requirement = "以化疗、放疗等治疗恶性肿瘤为住院目的的，选相应治疗"
    elif first in "CD" and code.code[:3] <= "D48":
        score += 15
        requirement = "针对肿瘤诊治住院的，选该肿瘤"
        if code.code[:3] in ("C77", "C78", "C79"):
            score -= 8
            reasons.append("继发肿瘤：原发未治时先选原发，仅治转移灶时才选此项")
    elif first == "O":
        score += 25 if not delivered else 35
        requirement = "产科选主要并发症或合并症"
    elif first in "ST":
        score += 15
        requirement = "多处损伤选最严重的一处"
    elif code.name.startswith(("急性", "重症", "重度")) or "破裂" in code.name or "穿孔" in code.name:
        score += 15
        reasons.append("急性或严重情况")
    if any(word in code.name for word in ("陈旧性", "后遗症", "个人史", "家族史", "术后")):
        score -= 30
        reasons.append("陈旧或病史情况，通常不是本次住院的主要原因")
    return PrincipalChoice(code.code, code.name, True, score, requirement, tuple(reasons))


def _never_principal(code: Code) -> str:
    if code.grey:
        return "灰码，不能用于结算清单"
    if code.code.endswith("*") and "+" not in code.code:
        return "星号编码不作主要诊断，应选剑号编码"
    if code.code[:1] in _NEVER[0]:
        return "外部原因不作主要诊断，应选损伤或中毒的临床表现"
    if code.code[:3] in _NEVER[1]:
        return "附加编码不作主要诊断"
    return ""


def _treatment_visit(code: str) -> bool:
    return code[:5] in ("Z51.0", "Z51.1", "Z51.8")


def _treats(procedure: str, diagnosis: str) -> bool:
    return any(
        first <= procedure[:2] <= last and diagnosis.startswith(parts) for first, last, parts in _TREATS
    )


def combinations(suggester: Suggester, codes: Sequence[Code]) -> list[Combination]:
    """For each pair of the first listed codes the code whose name says both."""
    index, found = suggester.index, []
    listed = [code for code in codes if not code.grey][:MAXIMUM_PAIRED]
    for place, first in enumerate(listed):
        for second in listed[place + 1 :]:
            one, other = (compact(index.terms.normalize(code.name)) for code in (first, second))
            if one in other or other in one:
                continue
            text = f"{one}伴{other}"
            ranked = suggester.rank(Statement(text, 0, len(text), (Unit(text, 0, len(text), 0),)))
            for row in range(min(len(ranked.names), 8)):
                name = int(ranked.names[row])
                owner = int(index.code_of[name])
                column = ranked.comparison.features[int(ranked.order[row])]
                code = index.table.codes[owner]
                if code in (first.code, second.code) or index.table.grey[owner]:
                    continue
                covered = column[COLUMN["name_covered"]] >= COMBINED_COVERAGE
                covers = column[COLUMN["text_covered"]] >= COMBINED_COVERAGE
                if covered and covers and index.table.kinds[owner] != MORPHOLOGY:
                    reason = f"“{first.name}”与“{second.name}”有合并编码"
                    found.append(
                        Combination(first.code, second.code, code, index.table.titles[owner], reason)
                    )
                    break
    return found


def more_specific(suggester: Suggester, codes: Sequence[Code], text: str) -> list[Replacement]:
    """Codes of the same category that say more of ``text`` than the listed ones."""
    if not text.strip():
        return []
    index, found = suggester.index, []
    place = {code: row for row in range(len(index.names) - 1, -1, -1) for code in (index.code(row),)}
    source = index.terms.normalize.aligned(text)
    for statement in index.splitter.statements(source):
        ranked = suggester.rank(statement)
        rows = {int(name): row for row, name in enumerate(ranked.names)}
        for code in codes:
            mine = rows.get(place.get(code.code, -1))
            said = set(compact(index.terms.normalize(code.name)))
            for row in range(min(len(ranked.names), 10)):
                name = int(ranked.names[row])
                owner = int(index.code_of[name])
                column = ranked.comparison.features[int(ranked.order[row])]
                other = index.table.codes[owner]
                if other == code.code or other[:3] != code.code[:3] or index.table.grey[owner]:
                    continue
                letters = set(index.names[name])
                if column[COLUMN["name_covered"]] >= 0.98 and letters > said and (mine is None or row < mine):
                    reason = f"原文写有“{''.join(c for c in index.names[name] if c not in said)}”，可用更具体的编码"
                    found.append(Replacement(code.code, other, index.table.titles[owner], reason))
                    break
    return found


def missing_partners(library: CodeLibrary, codes: Sequence[str]) -> list[Replacement]:
    """Dagger codes that the book only knows with their asterisk, and asterisk codes that stand alone."""
    found = []
    for code in codes:
        if "+" in code:
            continue
        if code.endswith("*"):
            for entry in library.icd10.codes.values():
                if entry.asterisk == code and not entry.grey:
                    reason = f"星号编码 {code} 不能单独使用，应与剑号编码合写"
                    found.append(Replacement(code, entry.code, entry.name, reason))
                    if sum(one.code == code for one in found) >= 5:
                        break
        elif library.diagnosis(code) is None:
            for entry in library.starting_with(f"{code}+"):
                reason = f"{code} 须带星号编码，医保版写作 {entry.code}"
                found.append(Replacement(code, entry.code, entry.name, reason))
    return found
