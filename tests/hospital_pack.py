"""A hospital's own rules and its versions of shipped packs, for tests of what a change touches."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from models.pack import Pack, write_pack

Rows = list[list[str]]
Edit = Callable[[Rows], Rows]
RULE = """code: HOS-001
name: 住院超过五天
title: 住院天数超过五天
severity: warn
basis: {document: 本院规定, confidence: convention}
why: 试一条本院的规则。
when: {compare: [fact.stay_days, ">", 5]}
at: act_ipt_days
message: "住院 {fact.stay_days} 天"
advice: 请核对。
deduction: 1
examples: {fires: [{change: {setlinfo.act_ipt_days: 9}}], passes: [{}]}
"""
MANIFEST = """id = "hospital-own"
kind = "rules"
name = "本院规则"
publisher = "示范医院"
document = "本院规定"
version = "%s"
%s
[tables]
"""


def write_rules(
    folder: Path, *, rule: str = "", overrides: str = "", version: str = "1", more: str = ""
) -> Path:
    """A rule pack in ``folder`` with what is given; ``more`` stands in its manifest before the tables."""
    (folder / "hos").mkdir(parents=True)
    (folder / "pack.toml").write_text(MANIFEST % (version, more), encoding="utf-8")
    if rule:
        (folder / "hos" / "HOS-001.yaml").write_text(rule, encoding="utf-8")
    if overrides:
        (folder / "overrides.yaml").write_text(overrides, encoding="utf-8")
    return folder


def write_edited(packs: Path, pack: Pack, table: str, edit: Edit) -> None:
    """A newer version of a pack, with one table changed, among the packs of a site."""
    tables = {}
    for name, entry in pack.manifest.tables.items():
        columns, rows = pack.table(name)
        tables[name] = (columns, entry.key, edit(rows) if name == table else rows)
    given = pack.manifest.model_dump(exclude={"tables"}, exclude_defaults=True)
    target = packs / pack.id / "9999"
    target.parent.mkdir(parents=True)
    write_pack(target, {**given, "version": "9999"}, tables)
