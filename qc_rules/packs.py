"""Reads rule packs: the national rules, and what a region or a hospital adds to them and changes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from models.pack import Pack, PackRef, PackStore
from qc_rules.schema import Override, Rule
from qc_rules.source import RuleError, fault, parse, read_yaml

RULES_FOLDER = Path(__file__).resolve().parent / "rules"
"""The national rule pack that comes with the program."""
OVERRIDES = "overrides.yaml"


@dataclass(frozen=True, slots=True)
class LoadedRule:
    """A rule as its pack and later overrides make it, with the file it stands in."""

    rule: Rule
    pack: PackRef
    path: Path
    text: str


def national_pack() -> Pack:
    """The rule pack that comes with the program."""
    return Pack.load(RULES_FOLDER)


def rule_packs(store: PackStore, region: str = "", on: date | None = None) -> list[Pack]:
    """The national rules and what the region and the hospital put on top of them, in that order."""
    national = national_pack()
    found = {national.id: national}
    for pack in store.active("rules"):
        m = pack.manifest
        if region.startswith(m.region) and (
            on is None or (m.effective_from or on) <= on <= (m.effective_to or on)
        ):
            found[pack.id] = pack
    first = found.pop(national.id)
    return [first, *sorted(found.values(), key=lambda pack: (len(pack.manifest.region), pack.id))]


def read_pack(pack: Pack, loaded: dict[str, LoadedRule]) -> PackRef:
    """Add the rules of a pack, apply its overrides; the reference's hash covers every file.

    Raises RuleError with every fault of the pack.
    """
    ref, faults = scan_pack(pack, loaded)
    if faults:
        raise RuleError(*faults)
    return ref


def rule_files(folder: Path) -> list[Path]:
    """The YAML files of a rule pack, hidden folders (version control) apart."""
    return [path for path in sorted(folder.rglob("*.yaml")) if not hidden(path, folder)]


def hidden(path: Path, folder: Path) -> bool:
    """Whether a file, or a folder it stands in below ``folder``, begins with a dot."""
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def scan_pack(pack: Pack, loaded: dict[str, LoadedRule]) -> tuple[PackRef, list[str]]:
    """As ``read_pack``, but what is sound is taken, and the faults of the rest are listed."""
    digest = hashlib.sha256(pack.sha256.encode())
    own: list[LoadedRule] = []
    faults: list[str] = []
    for path in rule_files(pack.folder):
        try:
            content, text = read_yaml(path)
            digest.update(text.encode())
            if path.name == OVERRIDES:
                faults.extend(_override(content, path, text, pack.ref, loaded))
                continue
            rule = parse(Rule, content, path, text)
            if path.stem != rule.code or path.parent.name != rule.family.lower():
                place = f"{rule.family.lower()}/{rule.code}.yaml"
                raise RuleError(fault(path, text, ["code"], f"规则 {rule.code} 应放在 {place}"))
            if rule.code in loaded:
                raise RuleError(
                    fault(
                        path,
                        text,
                        ["code"],
                        f"{rule.code} 已在 {loaded[rule.code].path}；修改请写 {OVERRIDES}",
                    )
                )
            own.append(LoadedRule(rule, pack.ref, path, text))
        except RuleError as error:
            faults.extend(error.faults)
    loaded.update({one.rule.code: one for one in own})
    m = pack.manifest
    return PackRef(m.kind, m.id, m.version, m.name, m.publisher, digest.hexdigest()), faults


def _override(
    content: Mapping[str, Any], path: Path, text: str, pack: PackRef, loaded: dict[str, LoadedRule]
) -> Iterator[str]:
    """Apply the changes of an override file; yields the faults of those that cannot be applied."""
    for code, change in content.items():
        known = loaded.get(code)
        if known is None:
            yield fault(path, text, [code], "没有这条规则，不能修改；新规则请单独写一个文件")
            continue
        try:
            loaded[code] = _overridden(known, pack, change, path, text)
        except RuleError as error:
            yield from error.faults


def _overridden(known: LoadedRule, pack: PackRef, change: object, path: Path, text: str) -> LoadedRule:
    code = known.rule.code
    override = parse(Override, change, path, text, [code])
    fields: dict[str, Any] = {
        name: value
        for name in ("severity", "status", "deduction", "effective_from", "effective_to")
        if (value := getattr(override, name)) is not None
    }
    if override.status and override.status != "off" and known.rule.when is None:
        raise RuleError(
            fault(path, text, [code, "status"], f"这条规则缺少数据，不能启用：{known.rule.needs}")
        )
    starts = override.effective_from or known.rule.effective_from
    ends = override.effective_to or known.rule.effective_to
    if starts and ends and starts > ends:
        raise RuleError(fault(path, text, [code], f"修改后生效日期 {starts} 晚于失效日期 {ends}"))
    parameters = dict(known.rule.parameters)
    for name, value in override.parameters.items():
        if name not in parameters:
            raise RuleError(fault(path, text, [code, "parameters", name], "这条规则没有这个参数"))
        before = parameters[name].value
        if not same_type(before, value):
            reason = f"应与原值 {before!r} 同一类型，写的是 {value!r}"
            raise RuleError(fault(path, text, [code, "parameters", name], reason))
        parameters[name] = parameters[name].model_copy(update={"value": value})
    if override.severity:
        fields["severity_from"] = ""
    # A hospital may raise a rule to an error without an official basis: it decides for itself.
    changed = known.rule.model_copy(update={**fields, "parameters": parameters})
    return LoadedRule(changed, pack, known.path, known.text)


def same_type(before: object, after: object) -> bool:
    """Whether ``after`` may take the place of ``before``: of the same type, all numbers being one."""
    numbers = (int, float)
    if isinstance(before, numbers) and isinstance(after, numbers):
        return isinstance(before, bool) is isinstance(after, bool)
    return type(before) is type(after)
