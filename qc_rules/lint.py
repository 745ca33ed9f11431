"""Checks a rule pack before anybody runs it: every fault with file, line and key, and its examples."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from models.pack import MANIFEST_NAME, MAX_MANIFEST_BYTES, Manifest, Pack, PackError
from models.system_errors import reason_of as system_reason
from qc_rules.examples import build, misses, run
from qc_rules.facts import Setting
from qc_rules.packs import OVERRIDES, LoadedRule, hidden, rule_files, same_type, scan_pack
from qc_rules.reference import Reference
from qc_rules.ruleset import WRONG_VALUES, RuleSet, compiled_rule
from qc_rules.source import Location, RuleError, fault, read_yaml, reason_of
from qc_rules.terms import CompileError

BLANK = "【待填】"
"""What a skeleton holds where its author has something to fill in."""
MAX_FILES = 5000


def open_pack(folder: Path) -> Pack:
    """The rule pack in ``folder``. Raises RuleError with every fault of its manifest, line and key."""
    path = folder / MANIFEST_NAME
    try:
        if path.stat().st_size > MAX_MANIFEST_BYTES:
            raise RuleError(f"{path}：清单超过 {MAX_MANIFEST_BYTES} 字节，不是规则包清单")
        text = path.read_bytes().decode("utf-8")
        Manifest.model_validate(tomllib.loads(text))
    except (OSError, ValueError) as error:
        raise RuleError(*_manifest_faults(path, error)) from error
    pack = Pack.load(folder)
    if pack.kind != "rules":
        line = toml_line(text, "kind")
        raise RuleError(f'{path} 第 {line} 行 kind：规则包应写 kind = "rules"，写的是“{pack.kind}”')
    return pack


def _manifest_faults(path: Path, error: Exception) -> Iterator[str]:
    if isinstance(error, UnicodeDecodeError):
        yield f"{path}：不是 UTF-8 编码"
    elif isinstance(error, tomllib.TOMLDecodeError):
        place = re.search(r"line (\d+)", str(error))
        yield f"{path}{f' 第 {place[1]} 行' if place else ''}：不是有效的 TOML（{error}）"
    elif isinstance(error, ValidationError):
        text = path.read_text("utf-8")
        for found in error.errors():
            key = ".".join(map(str, found["loc"]))
            yield f"{path} 第 {toml_line(text, str(found['loc'][0]))} 行 {key}：{reason_of(found)}"
    elif isinstance(error, FileNotFoundError):
        yield f"{path}：没有这个文件；规则包的文件夹里要有 {MANIFEST_NAME}，可用 qingdan rules new 生成"
    elif isinstance(error, OSError):
        yield f"{path}：无法读取（{system_reason(error)}）"
    else:
        yield f"{path}：文件名无效"


def toml_line(text: str, key: str) -> int:
    """The line on which a key, or the table of that name, begins; 1 when it is not there."""
    pattern = re.compile(rf"""\s*(?:["']?{re.escape(key)}["']?\s*=|\[{re.escape(key)}[\].])""")
    return next((n for n, line in enumerate(text.splitlines(), 1) if pattern.match(line)), 1)


@dataclass(frozen=True, slots=True)
class _Layer:
    """The rules up to and with one pack: what they are and under which settings they run."""

    loaded: dict[str, LoadedRule]
    settings: dict[str, Setting]
    faults: list[str]


def _stack(packs: Sequence[Pack]) -> _Layer:
    """The layer of the last of ``packs``; the faults are its own, what is sound of the others is taken."""
    layer = _Layer({}, {}, [])
    for number, pack in enumerate(packs):
        faults = list(_setting_faults(pack, layer.settings)) if number else []
        layer.settings.update(pack.manifest.parameters)
        faults += scan_pack(pack, layer.loaded)[1]
        layer.faults[:] = faults
    return layer


def _setting_faults(pack: Pack, known: Mapping[str, Setting]) -> Iterator[str]:
    path = pack.folder / MANIFEST_NAME
    for name, value in pack.manifest.parameters.items():
        if name not in known:
            reason = f"没有这个设置；有的是：{'、'.join(sorted(known))}"
        elif not same_type(known[name], value):
            reason = f"应与原值 {known[name]!r} 同一类型，写的是 {value!r}"
        else:
            continue
        text = path.read_text("utf-8") if path.is_file() else ""
        yield f"{path} 第 {toml_line(text, name)} 行 parameters.{name}：{reason}"


def lint(packs: Sequence[Pack], reference: Reference) -> list[str]:
    """Every fault (Chinese) of the last of ``packs``, which stands on the ones before it."""
    pack = packs[-1]
    found = list(_file_faults(pack.folder))
    if found:
        return found
    layer = _stack(packs)
    faults = [*pack.verify(), *layer.faults]
    own = [one for one in layer.loaded.values() if _written_in(one, pack)]
    # What the pack neither wrote nor changed runs as before, unless the pack changes settings.
    touched = [
        one
        for one in layer.loaded.values()
        if one.rule.status != "off"
        and not _written_in(one, pack)
        and (one.pack == pack.ref or (pack.manifest.parameters and len(packs) > 1))
    ]
    faults += [text for one in own for text in _rule_faults(one, reference, layer.settings)]
    broken = [
        (one, error)
        for one in touched
        for error in list(_compile_faults(one, reference, layer.settings))
        or _trial_faults(one, reference, layer.settings)
    ]
    if broken:
        before = _stack(packs[:-1])
        for one, error in broken:
            earlier = before.loaded.get(one.rule.code)
            if earlier and not list(_compile_faults(earlier, reference, before.settings)):
                place = pack.folder / (OVERRIDES if one.pack == pack.ref else MANIFEST_NAME)
                faults.append(f"{place}：改动后规则 {one.rule.code} 不能运行（{error.reason}）")
    return faults


def _written_in(one: LoadedRule, pack: Pack) -> bool:
    return one.path.is_relative_to(pack.folder)


def _file_faults(folder: Path) -> Iterator[str]:
    shown = (path for path in sorted(folder.rglob("*")) if not hidden(path, folder))
    for number, path in enumerate(shown):
        if number == MAX_FILES:
            yield f"{folder}：文件超过 {MAX_FILES} 个，不是规则包"
            return
        if path.is_symlink():
            yield f"{path}：规则包里不用符号链接，请放文件本身"
        elif path.suffix.lower() in (".yml", ".yaml") and path.suffix != ".yaml":
            yield f"{path}：扩展名应为 .yaml，否则不会被读取"


def _rule_faults(one: LoadedRule, reference: Reference, settings: Mapping[str, Setting]) -> Iterator[str]:
    def at(location: Location, reason: str) -> str:
        return fault(one.path, one.text, location, reason)

    rule = one.rule
    if rule.when is None:
        return
    errors = list(_compile_faults(one, reference, settings))
    for error in errors or _trial_faults(one, reference, settings):
        yield at(error.location, error.reason)
    for kind, examples in (("fires", rule.examples.fires), ("passes", rule.examples.passes)):
        if not examples:
            yield at(["examples", kind], f"至少要有一个{'触发' if kind == 'fires' else '不触发'}的例子")
    if rule.status != "off" and BLANK in one.text:
        for location in _blanks(read_yaml(one.path)[0]):
            yield at(location, '还没有填写；写好前请保留 status: "off"')


def _compile_faults(
    one: LoadedRule, reference: Reference, settings: Mapping[str, Setting]
) -> Iterator[CompileError]:
    if one.rule.when is None or (one.rule.severity_from and settings.get(one.rule.severity_from) == "off"):
        return
    try:
        compiled_rule(one.rule, reference, settings)
    except CompileError as error:
        yield error


def _trial_faults(
    one: LoadedRule, reference: Reference, settings: Mapping[str, Setting]
) -> Iterator[CompileError]:
    """Whether the rule runs on its examples at all; what it says of them is not looked at."""
    try:
        alone = RuleSet([_awake(one)], reference, settings)
    except (PackError, *WRONG_VALUES) as error:
        yield CompileError(["when"], f"不能运行（{error}）")
        return
    for kind, examples in (("fires", one.rule.examples.fires), ("passes", one.rule.examples.passes)):
        for number, example in enumerate(examples):
            place: list[str | int] = ["examples", kind, number]
            try:
                build(example)
            except WRONG_VALUES as error:
                yield CompileError(place, f"例子不能建立（{error}）")
                continue
            try:
                run(alone, example)
            except PackError as error:
                yield CompileError(place, f"例子不能运行（{error}）")
            except WRONG_VALUES as error:
                yield CompileError(["when"], f"条件或参数的值不合要求，运行时出错（{error}）")
                return


def blanks(pack: Pack) -> Iterator[str]:
    """What the author of a pack still has to fill in, in rules that are switched off too."""
    for path in rule_files(pack.folder):
        content, text = read_yaml(path)
        for location in _blanks(content) if BLANK in text else ():
            yield fault(path, text, location, "待填写")


def _blanks(content: Any, location: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if isinstance(content, str):
        if BLANK in content:
            yield location
    elif isinstance(content, Mapping):
        for key, value in content.items():
            yield from _blanks(value, (*location, key))
    elif isinstance(content, list):
        for index, value in enumerate(content):
            yield from _blanks(value, (*location, index))


@dataclass(frozen=True, slots=True)
class ExampleRun:
    """How the examples of a pack did: rules and examples run, and every fault in Chinese."""

    rules: tuple[str, ...]
    examples: int
    faults: tuple[str, ...]


def run_examples(packs: Sequence[Pack], reference: Reference, codes: Sequence[str] = ()) -> ExampleRun:
    """Run the examples of the rules that the last of ``packs`` brings, as it wrote them.

    A rule that is switched off is tried as well, as soon as it says when it fires. ``codes`` leaves only
    these rules. Raises RuleError when the pack cannot be loaded at all.
    """
    layer = _stack(packs)
    if layer.faults:
        raise RuleError(*layer.faults)
    faults: list[str] = []
    ran: list[str] = []
    examples = 0
    for one in layer.loaded.values():
        rule = one.rule
        if not _written_in(one, packs[-1]) or rule.when is None or (codes and rule.code not in codes):
            continue
        ran.append(rule.code)
        examples += len(rule.examples.fires) + len(rule.examples.passes)
        try:
            # A set of one rule: an example that changes a setting then compiles one rule, not all.
            alone = RuleSet([_awake(one)], reference, layer.settings)
        except PackError as error:
            faults += error.faults
            continue
        faults += [fault(one.path, one.text, place, reason) for place, reason in misses(alone, rule)]
    return ExampleRun(tuple(ran), examples, tuple(faults))


def _awake(one: LoadedRule) -> LoadedRule:
    return LoadedRule(one.rule.model_copy(update={"status": "stable"}), one.pack, one.path, one.text)
