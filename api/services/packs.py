"""Bring a pack into this installation: read, check, compare, write beside, activate."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

import coding.importer
import grouper.kinds
import qc_rules.charge_import
from api.services.rules import lint_pack
from models.pack import MANIFEST_NAME, Manifest, Pack, PackError, PackStore, write_atomically, write_pack
from models.pack_diff import Rows, TableDiff, diff_tables, pack_tables
from models.pack_import import Draft, Fault, KindSpec, read_draft
from qc_rules.lint import open_pack
from qc_rules.packs import national_pack, rule_files

RULES = KindSpec("rules", "质控规则", (), lambda _draft, _store: None)
"""Rules are YAML files, not tables: their check is that of ``qingdan rules lint``."""
KINDS: Mapping[str, KindSpec] = {
    spec.kind: spec
    for spec in (*coding.importer.KINDS, *grouper.kinds.KINDS, *qc_rules.charge_import.KINDS, RULES)
}
"""What can be imported, by kind."""


class ImportRefusedError(PackError):
    """What was given cannot be imported: ``found`` holds every fault with its place in the files."""

    def __init__(self, found: tuple[Fault | str, ...], notes: tuple[str, ...]) -> None:
        super().__init__(*map(str, found))
        self.found = found
        self.notes = notes


@dataclass(frozen=True, slots=True)
class Candidate:
    """Tables, or rule files by path, that passed every check and are not installed yet.

    ``fields`` are those of the manifest without its tables; ``previous`` is the pack of the same id in
    use now, and ``diff`` what changes against it.
    """

    fields: Mapping[str, object]
    tables: Mapping[str, Rows]
    notes: tuple[str, ...]
    previous: Pack | None
    diff: tuple[TableDiff, ...]
    files: Mapping[str, bytes] = field(default_factory=dict)

    def write(self, folder: Path) -> Pack:
        """Write the pack into the new ``folder``. The same input gives the same bytes."""
        pack = write_pack(folder, self.fields, self.tables)
        for name, content in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, content)
        return pack


def prepare(
    source: Path,
    fields: Mapping[str, object],
    store: PackStore,
    headers: Mapping[str, str] | None = None,
) -> Candidate:
    """Read and check the tables in ``source`` for a pack with these manifest ``fields``.

    ``headers``: the headers of a publisher's own table by column, where they are not the usual ones.

    A ``source`` that is a pack itself gives the fields that are not given. Raises ImportRefusedError with
    all faults of all tables, PackError when the manifest itself is impossible.
    """
    if not source.exists():
        raise PackError(f"{source}：没有这个文件夹或文件，请核对路径")
    if fields.get("kind") == RULES.kind:
        open_pack(source)  # names line and key of what is wrong in the manifest
    named = {key: value for key, value in fields.items() if value not in (None, "")}
    given = {**_fields_of(source, named), **named}
    kind = str(given.get("kind", ""))
    spec = KINDS.get(kind)
    if spec is None:
        raise PackError(f"不能导入种类“{kind}”；可以导入的是：{'、'.join(KINDS)}")
    manifest = _check_fields(given)
    for installed in store.versions(manifest.id):
        if installed.kind != kind:
            raise PackError(f"编号 {manifest.id} 已用于种类 {installed.kind} 的数据包，请换一个编号（--id）")
    if spec is RULES:
        return _prepare_rules(source, manifest, store)
    draft = read_draft(source, spec, headers)
    _check_requires(draft, spec, manifest, store)
    spec.check(draft, store)
    if draft.faults:
        raise ImportRefusedError(tuple(draft.faults), tuple(draft.notes))
    tables: dict[str, Rows] = {
        name: (table.spec.column_names, table.spec.key, table.rows) for name, table in draft.tables.items()
    }
    previous = _in_use(store, manifest.id)
    diff = diff_tables(pack_tables(previous) if previous else {}, tables)
    final = manifest.model_copy(update={"requires": draft.requires})
    return Candidate(_without_tables(final), tables, tuple(draft.notes), previous, diff)


def _prepare_rules(source: Path, manifest: Manifest, store: PackStore) -> Candidate:
    """Read and lint a folder of rules. Raises ImportRefusedError with every fault."""
    read = open_pack(source)
    pack = Pack(manifest.model_copy(update={"tables": read.manifest.tables}), source, read.sha256)
    faults = lint_pack(store, pack)
    if faults:
        raise ImportRefusedError(tuple(faults), ())
    previous = _in_use(store, manifest.id)
    files = _rule_files(source)
    before = {**(pack_tables(previous) if previous else {}), **(_as_tables(previous) if previous else {})}
    tables = pack_tables(pack)
    diff = diff_tables(before, {**tables, **_as_tables(pack)})
    return Candidate(_without_tables(manifest), tables, (), previous, diff, files)


def _rule_files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in rule_files(folder)}


def _as_tables(pack: Pack) -> dict[str, Rows]:
    """The settings and the files of a rule pack as tables that can be compared."""
    settings = [[name, str(value)] for name, value in pack.manifest.parameters.items()]
    files = [
        [name, hashlib.sha256(content).hexdigest()[:12]] for name, content in _rule_files(pack.folder).items()
    ]
    return {
        "设置": (("name", "value"), ("name",), settings),
        "规则文件": (("file", "sha256"), ("file",), files),
    }


def _without_tables(manifest: Manifest) -> dict[str, object]:
    return manifest.model_dump(exclude={"tables"}, exclude_defaults=True)


def _fields_of(source: Path, named: Mapping[str, object]) -> dict[str, object]:
    """The manifest fields of a folder that is a pack already, or of a manifest that ``named`` completes.

    Raises PackError when it is damaged.
    """
    if not (source / MANIFEST_NAME).is_file():
        return {}
    try:
        pack = Pack.load(source)
    except PackError:
        completed = _completed(source / MANIFEST_NAME, named)
        if completed is None:
            raise
        return completed
    faults = pack.verify()
    if faults:
        raise PackError(*faults)
    return _without_tables(pack.manifest)


def _completed(path: Path, named: Mapping[str, object]) -> dict[str, object] | None:
    """What a manifest without tables says, once ``named`` is added; None when that is no manifest either."""
    try:
        found: dict[str, object] = tomllib.loads(path.read_text(encoding="utf-8"))
        if found.get("tables"):
            return None
        return _without_tables(Manifest.model_validate({**found, **named, "tables": {}}))
    except (OSError, ValueError):
        return None


def _check_fields(fields: Mapping[str, object]) -> Manifest:
    try:
        manifest = Manifest.model_validate({**fields, "tables": {}})
    except ValidationError as error:
        raise PackError(*(_field_fault(str(fault["loc"][0]), fields) for fault in error.errors())) from error
    if manifest.effective_from and manifest.effective_to and manifest.effective_to < manifest.effective_from:
        raise PackError(f"停用日期 {manifest.effective_to} 早于启用日期 {manifest.effective_from}")
    return manifest


_MEANINGS = {
    "id": "数据包编号，小写字母、数字和 . _ -，64 个字符以内",
    "kind": "数据包种类，小写字母、数字和 . _ -",
    "name": "数据包名称",
    "publisher": "发布机构",
    "document": "文件名或文号",
    "version": "版本号，字母、数字和 . _ -，64 个字符以内",
    "region": "行政区划代码的前几位数字，全国为空",
    "effective_from": "启用日期，如 2025-01-01",
    "effective_to": "停用日期，如 2025-12-31",
}


def _field_fault(field: str, fields: Mapping[str, object]) -> str:
    meaning = _MEANINGS.get(field, "见数据包说明")
    value = fields.get(field)
    if value is None:
        option = {"effective_from": "from", "effective_to": "to"}.get(field, field)
        return f"缺少 {field}（{meaning}），请用 --{option} 写明"
    # A command line in another encoding leaves characters that cannot be printed as they are.
    shown = str(value).encode(errors="backslashreplace").decode()
    return f"{field} “{shown}”不符合要求，应为{meaning}"


def _check_requires(draft: Draft, spec: KindSpec, manifest: Manifest, store: PackStore) -> None:
    """What the pack stands on: as given, else the pack in use for its region and first day."""
    draft.requires = dict(manifest.requires)
    for kind in spec.requires:
        try:
            if kind in draft.requires:
                required = store.get(draft.requires[kind])
            else:
                required = store.pack_for(kind, manifest.region, manifest.effective_from)
        except PackError as error:
            draft.faults.append(Fault(MANIFEST_NAME, 0, f"requires.{kind}", "；".join(error.faults)))
            continue
        if required.kind != kind:
            draft.faults.append(
                Fault(MANIFEST_NAME, 0, f"requires.{kind}", f"{required.id} 的种类是 {required.kind}")
            )
        draft.requires[kind] = required.id


def _in_use(store: PackStore, pack_id: str) -> Pack | None:
    try:
        return store.get(pack_id)
    except PackError:
        return None


def install(store: PackStore, candidate: Candidate, *, activate: bool = True) -> Pack:
    """Write a candidate beside the installed versions and make it the one in use, or leave that for later.

    Raises PackError and changes nothing. An interruption leaves the version in use as it was.
    """
    pack_id, version = str(candidate.fields["id"]), str(candidate.fields["version"])
    pack = store.install(pack_id, version, candidate.write)
    return switch_to(store, pack_id, version) if activate else pack


def switch_to(store: PackStore, pack_id: str, version: str) -> Pack:
    """Make an installed version the one in use. Raises PackError and changes nothing.

    Rules are checked once more: the national rules may have changed since they were imported.
    """
    pack = store.get(pack_id, version)
    if pack.kind == RULES.kind:
        faults = lint_pack(store, pack)
        if faults:
            raise PackError(*faults)
    return store.activate(pack_id, version)


def every_pack(store: PackStore) -> list[Pack]:
    """Every installed pack, with the national rules, which come inside the program."""
    installed = store.all()
    national = national_pack()
    return [*installed, *([] if any(pack.id == national.id for pack in installed) else [national])]


def in_use(store: PackStore, pack: Pack) -> bool:
    """Whether an installed pack, or the national rules of the program, is in use."""
    own = national_pack()
    if pack.folder != own.folder:
        return store.is_active(pack)
    return all(other.id != own.id for other in store.active("rules"))


def compare(store: PackStore, pack_id: str, before: str | None, after: str | None) -> tuple[TableDiff, ...]:
    """What differs between two installed versions; by default the one in use and the newest other one."""
    old = store.get(pack_id, before)
    extra = _as_tables if old.kind == RULES.kind else lambda _pack: {}
    if after is None:
        others = [pack for pack in store.versions(pack_id) if pack.manifest.version != old.manifest.version]
        if not others:
            raise PackError(f"数据包 {pack_id} 只有一个版本 {old.manifest.version}，没有可比较的")
        new = others[-1]
    else:
        new = store.get(pack_id, after)
    return diff_tables({**pack_tables(old), **extra(old)}, {**pack_tables(new), **extra(new)})
