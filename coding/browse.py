"""Walking the code tables from the chapter down to the code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from coding.names import NameTable, System

Level = Literal["chapter", "category", "subcategory", "detail", "code"]

# The chapters of ICD-10 (WHO) as the tables of 国家医疗保障局 print them.
_ICD10_CHAPTERS = (
    ("A00", "B99", "某些传染病和寄生虫病"),
    ("C00", "D48", "肿瘤"),
    ("D50", "D89", "血液及造血器官疾病和某些涉及免疫机制的疾患"),
    ("E00", "E90", "内分泌、营养和代谢疾病"),
    ("F00", "F99", "精神和行为障碍"),
    ("G00", "G99", "神经系统疾病"),
    ("H00", "H59", "眼和附器疾病"),
    ("H60", "H95", "耳和乳突疾病"),
    ("I00", "I99", "循环系统疾病"),
    ("J00", "J99", "呼吸系统疾病"),
    ("K00", "K93", "消化系统疾病"),
    ("L00", "L99", "皮肤和皮下组织疾病"),
    ("M00", "M99", "肌肉骨骼系统和结缔组织疾病"),
    ("N00", "N99", "泌尿生殖系统疾病"),
    ("O00", "O99", "妊娠、分娩和产褥期"),
    ("P00", "P96", "起源于围生期的某些情况"),
    ("Q00", "Q99", "先天性畸形、变形和染色体异常"),
    ("R00", "R99", "症状、体征和临床与实验室异常所见，不可归类在他处者"),
    ("S00", "T98", "损伤、中毒和外因的某些其他后果"),
    ("U00", "U99", "用于特殊目的的编码"),
    ("V01", "Y98", "疾病和死亡的外因"),
    ("Z00", "Z99", "影响健康状态和与保健机构接触的因素"),
)
# The chapters of ICD-9-CM volume 3.
_ICD9_CHAPTERS = (
    ("00", "00", "操作和介入，不能分类于他处"),
    ("01", "05", "神经系统手术"),
    ("06", "07", "内分泌系统手术"),
    ("08", "16", "眼的手术"),
    ("17", "17", "其他各类诊断性和治疗性操作"),
    ("18", "20", "耳部手术"),
    ("21", "29", "鼻、口、咽手术"),
    ("30", "34", "呼吸系统手术"),
    ("35", "39", "心血管系统手术"),
    ("40", "41", "血液和淋巴系统手术"),
    ("42", "54", "消化系统手术"),
    ("55", "59", "泌尿系统手术"),
    ("60", "64", "男性生殖器官手术"),
    ("65", "71", "女性生殖器官手术"),
    ("72", "75", "产科操作"),
    ("76", "84", "肌肉骨骼系统手术"),
    ("85", "86", "体被系统手术"),
    ("87", "99", "各种诊断性和治疗性操作"),
)
_CHAPTERS: Mapping[System, tuple[tuple[str, str, str], ...]] = {
    "icd10": _ICD10_CHAPTERS,
    "icd9cm3": _ICD9_CHAPTERS,
}
_LEVELS: Mapping[System, tuple[tuple[Level, int], ...]] = {
    "icd10": (("category", 3), ("subcategory", 5)),
    "icd9cm3": (("category", 2), ("subcategory", 4), ("detail", 5)),
}


class Node(msgspec.Struct, frozen=True):
    """One line of the tree.

    ``key`` asks for its children; ``name`` is the chapter's or the code's own name. The tables name
    no categories, so ``example`` gives there the name of the unspecified code below (else the first
    code). ``codes``: how many codes stand below.
    """

    key: str
    level: Level
    name: str = ""
    example: str = ""
    codes: int = 0
    grey: bool = False
    kind: str = ""


def chapter_of(system: System, code: str) -> str:
    """The name of the chapter that holds ``code``; empty when none does."""
    width = 3 if system == "icd10" else 2
    for first, last, name in _CHAPTERS[system]:
        if first <= code[:width] <= last:
            return name
    return ""


def browse(table: NameTable, parent: str = "") -> tuple[Node, ...]:
    """The lines below ``parent`` in code order: "" gives the chapters, ``A00-B99`` its categories."""
    levels = _LEVELS[table.system]
    width = levels[0][1]
    if not parent:
        return tuple(
            _chapter(table, first, last, name, width) for first, last, name in _CHAPTERS[table.system]
        )
    first, dash, last = parent.partition("-")
    if dash:
        inside = [i for i, code in enumerate(table.codes) if first <= code[:width] <= last]
        return _grouped(table, inside, *levels[0])
    inside = [i for i, code in enumerate(table.codes) if code.startswith(parent)]
    for level, length in levels:
        if length > len(parent):
            return _grouped(table, inside, level, length)
    return tuple(
        Node(table.codes[i], "code", table.titles[i], codes=1, grey=table.grey[i], kind=table.kinds[i])
        for i in inside
    )


def _chapter(table: NameTable, first: str, last: str, name: str, width: int) -> Node:
    codes = sum(first <= code[:width] <= last for code in table.codes)
    return Node(first if first == last and width == 2 else f"{first}-{last}", "chapter", name, codes=codes)


def _grouped(table: NameTable, inside: list[int], level: Level, length: int) -> tuple[Node, ...]:
    groups: dict[str, list[int]] = {}
    for index in inside:
        groups.setdefault(table.codes[index][:length], []).append(index)
    nodes = []
    for key, members in groups.items():
        general = (f"{key}.x00", f"{key}.900", f"{key}00", f"{key}.9x00", f"{key}900", f"{key}x00")
        chosen = next((i for i in members if table.codes[i] in general), members[0])
        nodes.append(Node(key, level, example=table.titles[chosen], codes=len(members)))
    return tuple(nodes)
