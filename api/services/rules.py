"""The rule base as a hospital runs it: the catalogue, its checks, and a skeleton for a rule of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path

import msgspec

from models.pack import MANIFEST_NAME, NONE_ACTIVE, Pack, PackStore
from models.report import Severity
from models.system_errors import reason_of
from qc_rules import lint
from qc_rules.reference import Reference
from qc_rules.ruleset import RuleSet, national_pack, rule_packs
from qc_rules.skeleton import manifest_text, rule_text
from qc_rules.source import RuleError


class RuleEntry(msgspec.Struct, frozen=True):
    """One line of the catalogue. ``severity`` is the one it runs with; ``runs`` whether it is on."""

    code: str
    name: str
    title: str
    family: str
    severity: Severity
    status: str
    runs: bool
    basis: str
    needs: str = ""


def rule_entries(rules: RuleSet, family: str = "", severity: str = "") -> list[RuleEntry]:
    """The rules by code, of one family (``CMP``) or severity when given, those switched off too."""
    running = {one.rule.code: one.severity for one in rules.running}
    entries = (
        RuleEntry(
            rule.code,
            rule.name,
            rule.title,
            rule.family,
            running.get(rule.code, rule.severity),
            rule.status,
            rule.code in running,
            rule.basis.text,
            rule.needs,
        )
        for rule in rules.rules()
    )
    return [e for e in entries if family.upper() in ("", e.family) and severity in ("", e.severity)]


class TrialStore(PackStore):
    """The packs of an installation as if other rule packs were in use: nothing is written.

    The rule packs with the ids ``without`` are left out, then ``given`` are put in.
    """

    def __init__(self, store: PackStore, given: Sequence[Pack], without: Sequence[str] = ()) -> None:
        self._given = tuple(given)
        self._without = {*without, *(pack.id for pack in given)}
        super().__init__(store.shipped, store.site)

    def active(self, kind: str) -> list[Pack]:
        """The packs in use of ``kind``; of the rules, those on trial."""
        if kind != "rules":
            return super().active(kind)
        # A version in use that is broken must not stop the trial of the one that is to replace it.
        ids = {pack.id for pack in self.all() if pack.kind == kind} - self._without
        used = [self.get(pack_id) for pack_id in sorted(ids) if self._active.get(pack_id) != NONE_ACTIVE]
        return [*used, *self._given]


def _region_of(pack: Pack, region: str) -> str:
    """Where to look at a pack: the region asked for if it holds there, else the one it is made for."""
    return region if region.startswith(pack.manifest.region) else pack.manifest.region


def _stacks(trial: PackStore, pack: Pack, region: str) -> Iterator[tuple[date | None, list[Pack]]]:
    """Every selection of rule packs with ``pack`` among them that the discharge date may bring about."""
    days: set[date] = set()
    for one in trial.active("rules"):
        m = one.manifest
        days |= {m.effective_from} if m.effective_from else set()
        days |= {m.effective_to + timedelta(days=1)} if m.effective_to else set()
    seen: list[list[str]] = []
    for day in (None, *sorted(days)):
        packs = rule_packs(trial, region, day)
        ids = [one.id for one in packs]
        if pack.id in ids and ids not in seen:
            seen.append(ids)
            yield day, packs


def _up_to(packs: Sequence[Pack], pack_id: str) -> list[Pack]:
    """The packs that one stands on, and itself last."""
    return list(packs[: [one.id for one in packs].index(pack_id) + 1])


def lint_pack(store: PackStore, pack: Pack, region: str = "") -> list[str]:
    """Every fault (Chinese) of a rule pack as it would stand in this installation; empty when it can run.

    What stands on it must go on working too: a pack that another one overrides may not lose the rule.
    """
    region = _region_of(pack, region)
    trial = TrialStore(store, [pack])
    faults: list[str] = []
    for day, packs in _stacks(trial, pack, region):
        reference = Reference.load(trial, region, day)
        own = _up_to(packs, pack.id)
        faults += lint.lint(own, reference)
        for later in packs[len(own) :] if not faults else ():
            found = lint.lint(_up_to(packs, later.id), reference)
            known = lint.lint(_up_to(rule_packs(store, region, day), later.id), reference) if found else []
            faults += [f"装入 {pack.id} 后，{one}" for one in found if one not in known]
    return list(dict.fromkeys(faults))


def run_pack_examples(
    store: PackStore, pack: Pack, codes: Sequence[str] = (), region: str = ""
) -> lint.ExampleRun:
    """Run the examples of the rules of ``pack``. Raises RuleError when it cannot be loaded."""
    region = _region_of(pack, region)
    trial = TrialStore(store, [pack])
    day, packs = next(_stacks(trial, pack, region))
    return lint.run_examples(_up_to(packs, pack.id), Reference.load(trial, region, day), codes)


def installed_rule_packs(store: PackStore) -> list[Pack]:
    """The national rules and every rule pack in use here. Raises PackError for a broken one."""
    national = national_pack()
    used = store.active("rules")
    return [*([] if any(pack.id == national.id for pack in used) else [national]), *used]


def new_rule(folder: Path, code: str, name: str) -> list[Path]:
    """Write the skeleton of a rule, and in a fresh folder a manifest; gives the files that were made.

    Raises RuleError when the code is no rule code or the file is there already.
    """
    text = rule_text(code, name)
    path = folder / code.partition("-")[0].lower() / f"{code}.yaml"
    made = []
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        manifest = folder / MANIFEST_NAME
        if not manifest.exists():
            manifest.write_text(manifest_text(), encoding="utf-8")
            made.append(manifest)
        with path.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError as error:
        raise RuleError(f"{path}：已经存在，没有改动") from error
    except (OSError, ValueError) as error:
        raise RuleError(f"{path}：不能写入（{reason_of(error, '文件名无效')}）") from error
    return [*made, path]
