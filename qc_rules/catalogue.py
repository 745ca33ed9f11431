"""Writes the catalogue of rules, docs/rules/, and docs/rules-not-built.md from the rule files.

``python -m qc_rules.catalogue`` writes the pages, with ``--check`` it only says which are out of date.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from models.pack import PROJECT_ROOT
from models.report import SEVERITY_LABELS
from qc_rules.packs import LoadedRule, national_pack, read_pack
from qc_rules.schema import Example, Rule

FOLDER = PROJECT_ROOT / "docs" / "rules"
NOT_BUILT = "../rules-not-built.md"
"""The page of rules that lack data, seen from ``FOLDER``."""

FAMILIES: Mapping[str, str] = {
    "STR": "报文结构",
    "CMP": "完整性",
    "FMT": "格式",
    "DIC": "值域与编码库",
    "LOG": "时间与逻辑",
    "FEE": "费用",
    "SEX": "性别",
    "AGE": "年龄",
    "NEO": "新生儿",
    "DX": "诊断",
    "PDX": "主要诊断选择",
    "EXC": "互斥诊断",
    "CMB": "合并编码",
    "TUM": "肿瘤",
    "OBS": "产科",
    "INJ": "损伤中毒",
    "PROC": "手术操作",
    "PPX": "主要手术选择",
    "VENT": "呼吸机与重症",
    "GRP": "分组",
    "FRD": "基金监管线索",
    "CHG": "收费明细",
    "IND": "手术与诊断的对应",
}
"""The families in the order of the catalogue, with their Chinese names."""

SOURCES: Mapping[str, str] = {
    "医保办发〔2020〕20号、〔2021〕34号 填写规范": "国家医保局印发的医疗保障基金结算清单填写规范",
    "医保信息平台接口规范4101、4101A": "国家医保信息平台上传结算清单的接口规范，条目为节点和字段名",
    "收费明细接口 2301": "国家医保信息平台上传住院费用明细的接口规范",
    "结算清单字典说明": "接口规范所附的代码表（值域）说明",
    "上传平台校验提示": "医保信息平台退回清单时给出的提示",
    "卫医政发〔2011〕84号、国卫办医发〔2016〕24号": "住院病案首页的填写说明和数据填写质量规范，结算清单取自首页的项目据此填写",
    "中医住院病案首页质控考核细则（2017版）": "中医病案首页的质控考核办法",
    "HQMS 逻辑校验（HQMS病案首页逻辑校验）": "医院质量监测系统（HQMS）收病案首页时的逻辑校验，error2 等是其中的编号",
    "国家医保局两库": "国家医保局发布的基金监管规则库、知识库",
    "国家医保局飞行检查常见问题": "国家医保局历次飞行检查公布的违规情形",
    "地方结算清单质控规则库": "统筹区医保部门使用的清单质控规则，在当地是官方规则，别处供参考；2134 等是其中的编号",
    "医院病案首页质控规则": "医院在用的病案首页质控软件的规则，1376、rule101 等是其中的编号",
    "医院审核规则目录": "医院在用的清单审核规则的目录，A02 等是其中的编号",
    "病历质控引擎规则": "医院在用的病历内涵质控软件的规则",
    "编码助手规则集、编码助手规则": "医院在用的编码辅助软件的规则，R002 等是其中的编号",
    "分组器产品提示信息": "在用分组器不能入组或入歧义组时给出的提示",
    "ICD-10 第二卷": "世界卫生组织 ICD-10 的编码指导手册",
    "编码惯例、编码与填报惯例": "编码员和填报人员普遍遵循的做法，没有成文的规定",
}
"""What each source is that the rules name, in the words of the rule files."""

TRUST: Mapping[str, str] = {
    "官方依据": "国家或主管部门的文件、接口规范、平台校验",
    "地方官方": "只有统筹区的官方规则为据，其他地区供参考",
    "在用规则": "医院或软件实际在用的规则",
    "编码惯例": "没有成文规定的做法，只作提醒",
}
"""What the words after a basis mean."""

STATUS_LABELS = {"stable": "运行", "preview": "试行", "off": "不运行"}


def pages(rules: Sequence[Rule]) -> dict[str, str]:
    """Every page of the catalogue: file name → Markdown."""
    order = {family: number for number, family in enumerate(FAMILIES)}
    families: dict[str, list[Rule]] = {}
    for rule in sorted(rules, key=lambda one: (order.get(one.family, len(order)), one.family, one.code)):
        families.setdefault(rule.family, []).append(rule)
    found = {"README.md": _lines(_index(families))}
    for family, members in families.items():
        found[f"{family}.md"] = _lines(_family(family, members))
    found[NOT_BUILT] = _lines(_not_built(families))
    return found


def _not_built(families: Mapping[str, Sequence[Rule]]) -> Iterator[str]:
    """Every rule without a condition, with the data that it would need."""
    lacking = {
        family: [rule for rule in members if rule.when is None] for family, members in families.items()
    }
    count = sum(map(len, lacking.values()))
    yield "# 没有实现的规则"
    yield ""
    yield f"{count} 条规则因结算清单没有所需数据而没有实现。下面写明各需要什么数据；接口或医院能提供这些数据时即可补上。"
    yield "本页由规则文件的 `needs` 生成，请勿手改。全部规则见 [质控规则目录](rules/README.md)。"
    for family, members in lacking.items():
        if members:
            yield ""
            yield f"## {family} {FAMILIES.get(family, '')}".rstrip()
            yield ""
            yield "| 代码 | 规则 | 需要的数据 |"
            yield "|---|---|---|"
            for rule in members:
                link = f"[{rule.code}](rules/{family}.md#{rule.code.lower()})"
                yield f"| {link} | {_cell(rule.title)} | {_cell(rule.needs)} |"


def _lines(lines: Iterator[str]) -> str:
    return "\n".join(lines) + "\n"


def _index(families: Mapping[str, Sequence[Rule]]) -> Iterator[str]:
    every = [rule for members in families.values() for rule in members]
    off = sum(rule.status == "off" for rule in every)
    yield "# 质控规则目录"
    yield ""
    yield f"共 {len(every)} 条规则，其中 {off} 条因清单没有所需数据而[不运行](../rules-not-built.md)。"
    yield "本目录由规则文件生成，请勿手改。写规则、改规则见 [怎样写一条规则](../writing-rules.md)。"
    yield ""
    yield "| 类别 | 名称 | 规则 | 不运行 |"
    yield "|---|---|---|---|"
    for family, members in families.items():
        name = FAMILIES.get(family, family)
        yield f"| [{family}]({family}.md) | {name} | {len(members)} | {sum(r.status == 'off' for r in members)} |"
    yield from _sources()
    for family, members in families.items():
        yield ""
        yield f"## {family} {FAMILIES.get(family, '')}".rstrip()
        yield ""
        yield "| 代码 | 名称 | 级别 | 依据 | 状态 |"
        yield "|---|---|---|---|---|"
        for rule in members:
            cells = (_link(rule), rule.name, _severity(rule), rule.basis.text, STATUS_LABELS[rule.status])
            yield f"| {' | '.join(_cell(cell) for cell in cells)} |"


def _sources() -> Iterator[str]:
    yield ""
    yield "## 依据来源"
    yield ""
    yield (
        "每条规则的依据由来源、来源中的条目号和可信程度组成。条目号（如 error2、rule101、1376、2134、R002）"
        "是该来源自己的编号。“（依据待核对原文）”表示内容有据，但还没有对照文件原文逐字核对。"
    )
    yield ""
    yield "| 来源 | 是什么 |"
    yield "|---|---|"
    for source, meaning in SOURCES.items():
        yield f"| {source} | {meaning} |"
    yield ""
    yield "| 可信程度 | 含义 |"
    yield "|---|---|"
    for label, meaning in TRUST.items():
        yield f"| {label} | {meaning} |"


def _link(rule: Rule) -> str:
    return f"[{rule.code}]({rule.family}.md#{rule.code.lower()})"


def _severity(rule: Rule) -> str:
    return SEVERITY_LABELS[rule.severity]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _family(family: str, members: Sequence[Rule]) -> Iterator[str]:
    yield f"# {family} {FAMILIES.get(family, '')}".rstrip()
    yield ""
    yield "[全部规则](README.md)"
    for rule in members:
        yield ""
        yield f"## {rule.code}"
        yield ""
        yield f"**{rule.name}**：{rule.title}。"
        yield ""
        yield f"- 级别：{_severity(rule)}，扣 {rule.deduction} 分；接口：{'、'.join(rule.interfaces)}；状态：{_status(rule)}"
        yield f"- 依据：{rule.basis.text}"
        if rule.effective_from or rule.effective_to:
            yield f"- 生效：{rule.effective_from or ''} 至 {rule.effective_to or ''}"
        yield f"- 原因：{rule.why}"
        yield f"- 处理：{rule.advice}"
        for name, parameter in rule.parameters.items():
            value = "、".join(parameter.value) if isinstance(parameter.value, tuple) else str(parameter.value)
            yield f"- 参数 `{name}`：{parameter.description}，默认 {value}{parameter.unit}"
        for label, examples in (("触发", rule.examples.fires), ("不触发", rule.examples.passes)):
            for example in examples:
                yield f"- {label}：{_example(example)}"


def _status(rule: Rule) -> str:
    return f"{STATUS_LABELS[rule.status]}（需要：{rule.needs}）" if rule.needs else STATUS_LABELS[rule.status]


def _example(example: Example) -> str:
    changes = [f"`{path}` = {_value(value)}" for path, value in example.change.items()]
    settings = [f"设置 `{name}` = {value}" for name, value in example.settings.items()]
    group = [f"分组 `{name}` = {value}" for name, value in (example.group or {}).items()]
    note = f"（{example.note}）" if example.note else ""
    return f"{example.base}：{'，'.join((*changes, *settings, *group)) or '不改'}{note}"


def _value(value: object) -> str:
    return "空" if value is None else f"`{value}`"


def national_rules() -> list[Rule]:
    """The rules that come with the program, by code."""
    loaded: dict[str, LoadedRule] = {}
    read_pack(national_pack(), loaded)
    return [one.rule for _, one in sorted(loaded.items())]


def outdated(folder: Path = FOLDER) -> list[str]:
    """The pages that are missing, differ, or should not be there."""
    wanted = pages(national_rules())
    there = {path.name for path in folder.glob("*.md")} | {
        name for name in wanted if (folder / name).is_file()
    }
    differing = {
        name
        for name, text in wanted.items()
        if name not in there or (folder / name).read_text("utf-8") != text
    }
    return sorted(differing | (there - set(wanted)))


def main(arguments: Sequence[str]) -> int:
    """Write the pages, or check them with ``--check``; the exit status is 1 when one is out of date."""
    if "--check" in arguments:
        names = outdated()
        if names:
            print(f"规则目录不是最新：{'、'.join(names)}；请运行 python -m qc_rules.catalogue")
        return 1 if names else 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    wanted = pages(national_rules())
    for path in FOLDER.glob("*.md"):
        if path.name not in wanted:
            path.unlink()
    for name, text in wanted.items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
