"""The skeleton of a hospital's own rule and rule pack: sound from the first line, with blanks to fill."""

from __future__ import annotations

import json
import re

from qc_rules.lint import BLANK
from qc_rules.schema import RULE_CODE
from qc_rules.source import RuleError

MAX_NAME = 60


def rule_text(code: str, name: str) -> str:
    """The YAML of a new rule. Raises RuleError for a code or a name that no rule may have."""
    if not re.fullmatch(RULE_CODE, code):
        raise RuleError(f"规则编号“{code}”不符合要求，应为 2 到 5 个大写字母、连字符、3 位数字，如 BYGZ-001")
    if not name.strip() or len(name) > MAX_NAME or not name.isprintable():
        raise RuleError(f"名称应为 1 到 {MAX_NAME} 个字符的一行文字")
    # A JSON text is a YAML text: quotes and backslashes in a name stay what they are.
    return f"""\
# 把每个 {BLANK} 换成本院的内容，when 换成本院的条件，例子换成相应的例子；
# 写好后 status 改为 stable。检查：qingdan rules lint、qingdan rules test。
code: "{code}"
name: {json.dumps(name.strip(), ensure_ascii=False)}
title: "{BLANK}一句话：什么样的清单有问题"
scope: list                # 整张清单；逐行看诊断写 diseinfo，手术写 oprninfo
severity: warn             # error 错误 | warn 警告 | info 提示
status: "off"              # 写好后改为 stable
basis:
  document: "{BLANK}依据的文件或本院规定"
  clause: ""
  confidence: in use       # official 官方文件 | in use 在用规定 | convention 编码惯例
why: "{BLANK}为什么有这条规则"
when:
  missing: setlinfo.medcasno
message: "“{{field}}”没有填写"
advice: "{BLANK}怎样改"
deduction: 1
stages: ["事前", "事中", "事后"]
examples:
  fires:
    - change: {{"setlinfo.medcasno": null}}
  passes:
    - change: {{"setlinfo.medcasno": "0012345"}}
"""


def manifest_text() -> str:
    """The ``pack.toml`` of a new hospital pack."""
    return """\
id = "hospital-rules"
kind = "rules"
name = "本院质控规则"
publisher = "本院"
document = "本院规定"
version = "1"              # 每次导入换一个版本号

# 改设置，如：same_day_stay = 0
[parameters]

[tables]
"""
