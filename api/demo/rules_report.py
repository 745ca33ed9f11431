"""How good each rule is: planted mistakes found and missed, false alarms on clean lists.

``python -m api.demo.rules_report`` counts over made-up lists, prints the table and writes
docs/rules-report.md; ``--check`` only says which running rules the page lacks.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from api.demo.case_mix import load_case_mix
from api.demo.defects import DEFECTS, Defect
from api.demo.generator import DemoList, Generator
from api.services.check import Checker
from models.pack import PROJECT_ROOT, PackStore
from models.report import SEVERITY_LABELS, Finding
from models.wire import decode, decode_payload
from qc_rules.catalogue import FAMILIES

PAGE = PROJECT_ROOT / "docs" / "rules-report.md"
LISTS = 5000
SEED = 20261001
SCHEME = "chs-drg-2.0"
NOT_IN_A_LIST = {"GRP-008": "没有可用的分组方案时才触发，清单里埋不进去，由单独的测试核对"}
"""Rules about the installation, of which no list can carry the mistake, with why."""
_ROW = re.compile(r"^\| \[?([A-Z]{2,5}-[0-9]{3})\b", re.MULTILINE)


@dataclass
class Confusion:
    """Counts per rule. ``false_alarms``: clean lists on which it fired; ``planted``: lists with its mistake."""

    clean: int = 0
    spoilt: int = 0
    planted: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    false_alarms: Counter[str] = field(default_factory=Counter)
    false_errors: int = 0
    missed: list[str] = field(default_factory=list)

    def add_clean(self, findings: Sequence[Finding]) -> None:
        """Take a list without a mistake into account."""
        self.clean += 1
        self.false_alarms.update({one.rule for one in findings})
        self.false_errors += any(one.severity == "error" for one in findings)

    def add_spoilt(self, name: str, expected: Sequence[str], findings: Sequence[Finding]) -> None:
        """Take a list with one planted mistake into account."""
        self.spoilt += 1
        fired = {one.rule for one in findings}
        for rule in expected:
            self.planted[rule] += 1
            if rule in fired:
                self.found[rule] += 1
            else:
                self.missed.append(f"{rule} {name}")

    @property
    def passed(self) -> bool:
        """Every planted mistake found and no clean list called wrong."""
        return not self.missed and not self.false_errors


def measure(checker: Checker, lists: int, seed: int) -> Confusion:
    """Check ``lists`` clean lists, then each once more with one mistake planted in it.

    The mistakes come round in turn: of those that fit a list the one planted least so far.
    """
    running = {one.rule.code for one in checker.rules.running}
    usable = [one for one in DEFECTS if running.issuperset(one.expects)]
    generator = Generator(load_case_mix(checker.store), seed)
    planted: Counter[str] = Counter()
    counted = Confusion()
    for index in range(lists):
        made = generator.make(index)
        clean = checker.check(decode(msgspec.json.encode(made.payload())))
        counted.add_clean(clean.findings)
        spoilt = generator.make(index, only_4101=True)
        defect = _plant(generator, spoilt, index, sorted(usable, key=lambda one: planted[one.name]))
        if defect is not None:
            planted[defect.name] += 1
            report = checker.check(decode_payload(msgspec.json.decode(msgspec.json.encode(spoilt.body))))
            counted.add_spoilt(defect.name, defect.expects, report.findings)
    return counted


def _plant(generator: Generator, made: DemoList, index: int, order: Sequence[Defect]) -> Defect | None:
    for defect in order:
        if defect.plant(made.body, generator.random_for(index, defect.name), generator.mix):
            return defect
    return None


def page(checker: Checker, counted: Confusion) -> str:
    """The report as Markdown."""
    return "\n".join(_lines(checker, counted)) + "\n"


def _lines(checker: Checker, c: Confusion) -> Iterator[str]:
    rules = checker.rules.running
    planted, found = c.planted.total(), c.found.total()
    alarms = sum(1 for one in rules if c.false_alarms[one.rule.code])
    never = [_unplanted(one.rule.code) for one in rules if not c.planted[one.rule.code]]
    yield "# 规则质量报告"
    yield ""
    yield "由 `make rules-report` 生成，请勿手改。清单都是虚构的：先检查没有差错的清单，"
    yield "再在每份清单里埋一处已知的差错，看应当触发的规则是否触发。"
    yield ""
    yield "| 项目 | 结果 |"
    yield "|---|---|"
    yield f"| 运行的规则 | {len(rules)} |"
    yield f"| 无差错清单 | {c.clean} |"
    yield f"| 埋入差错的清单 | {c.spoilt} |"
    yield f"| 应触发 | {planted} |"
    yield f"| 查出 | {found}（{_share(found, planted)}） |"
    yield f"| 漏查 | {len(c.missed)} |"
    yield f"| 有误报错误的无差错清单 | {c.false_errors} |"
    yield f"| 在无差错清单上触发过的规则 | {alarms} |"
    yield f"| 没有埋过差错的规则 | {len(never)}{'：' if never else ''}{'、'.join(never)} |"
    yield ""
    yield "“误报”是规则在多少份无差错清单上触发，括号里是占比；"
    yield "警告和提示级的规则本来就有例外，供核对，不等于规则有错。"
    for family, name in FAMILIES.items():
        members = [one for one in rules if one.rule.family == family]
        if members:
            yield ""
            yield f"## {family} {name}"
            yield ""
            yield "| 规则 | 名称 | 级别 | 埋入 | 查出 | 漏查 | 误报 |"
            yield "|---|---|---|---:|---:|---:|---:|"
        for one in members:
            code = one.rule.code
            alarm = c.false_alarms[code]
            cells = (
                f"[{code}](rules/{family}.md#{code.lower()})",
                one.rule.name.replace("|", "\\|"),
                SEVERITY_LABELS[one.severity],
                c.planted[code],
                c.found[code],
                c.planted[code] - c.found[code],
                f"{alarm}（{_share(alarm, c.clean)}）" if alarm else "0",
            )
            yield f"| {' | '.join(map(str, cells))} |"


def _unplanted(code: str) -> str:
    return f"{code}（{NOT_IN_A_LIST[code]}）" if code in NOT_IN_A_LIST else code


def _share(part: int, whole: int) -> str:
    """Rounded down, so that 100.0% means all of them."""
    return f"{1000 * part // whole / 10:.1f}%" if whole else "—"


def lacking(checker: Checker, text: str) -> list[str]:
    """The running rules without a line in the report, and the lines without a running rule."""
    lines = set(_ROW.findall(text))
    return sorted(lines ^ {one.rule.code for one in checker.rules.running})


def main(arguments: Sequence[str]) -> int:
    """Write the report or check it; the exit status is 1 for a fault."""
    parser = argparse.ArgumentParser(prog="rules-report", description="每条规则的查出、漏查和误报。")
    parser.add_argument("--check", action="store_true", help="只看报告里是否每条运行的规则都有一行")
    parser.add_argument("--lists", type=int, default=LISTS, help="清单份数")
    parser.add_argument("--out", type=Path, default=PAGE, help="写入的文件")
    given = parser.parse_args(arguments)
    checker = Checker.open(PackStore(), scheme=SCHEME)
    if given.check:
        differing = lacking(checker, given.out.read_text("utf-8") if given.out.is_file() else "")
        if differing:
            print(f"规则质量报告缺少或多出：{'、'.join(differing)}；请运行 make rules-report")
        return 1 if differing else 0
    counted = measure(checker, max(given.lists, 1), SEED)
    text = page(checker, counted)
    given.out.write_text(text, encoding="utf-8")
    print(text, end="")
    for missed, times in Counter(counted.missed).most_common():
        print(f"漏查 {missed}：{times} 次", file=sys.stderr)
    return 0 if counted.passed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
