"""What a pack of codes or of coded values must hold to be imported: code tables, value domains, sex limits."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping
from pathlib import Path

from coding.library import PROCEDURE_KINDS, normalize_code
from models.pack import PackError, PackStore
from models.pack_import import MAX_FILE_BYTES, ColumnSpec, Draft, KindSpec, TableSpec

DIAGNOSIS_CODE = re.compile(
    r"[A-Z]\d{2}(\.[0-9x]\d{0,3}(x\d{3})?)?(\+[A-Z]\d{2}(\.[0-9x]\d{0,3}(x\d{3})?)?\*)?"
)
"""医保版: 3 to 6 characters, an extension x001, and the asterisk half of a combined code (A17.000x001+G01*)."""
PROCEDURE_CODE = re.compile(r"\d{2}(\.\d{1,2}([0-9x]\d{1,2}|\d[A-Z]\d)?(x\d{3,4})?)?")
OTHER_EDITION_CODE = re.compile(r"[0-9A-Z][0-9A-Zx.+*/†]{1,29}")
"""A source code of a crosswalk: older editions also have M8000/0 halves and four-digit ends."""
EDITION = re.compile(r"[a-z]+-\d+\.\d+")

_FLAG = re.compile(r"[01]")
_DIAGNOSIS_MEANING = "ICD-10 医保版编码，如 A00.000x001、A17.000x001+G01*"
_PROCEDURE_MEANING = "ICD-9-CM-3 医保版编码，如 00.4500x001"
_EDITION_MEANING = "版本名，如 clinical-2.0"


def _code_tables(system: str, code: ColumnSpec, *extra: ColumnSpec) -> tuple[TableSpec, ...]:
    codes = (code, ColumnSpec("name"), *extra, ColumnSpec("grey", _FLAG, "0 或 1（1 = 灰码）"))
    edition = ColumnSpec("edition", EDITION, _EDITION_MEANING)
    target = ColumnSpec(
        "insurance_code", OTHER_EDITION_CODE, "医保版编码，或空（无对应）", True, normalize_code
    )
    source = ColumnSpec("code", OTHER_EDITION_CODE, "该版本的编码", normalize=normalize_code)
    return (
        TableSpec("codes", codes, ("code",), (f"{system}.csv",)),
        TableSpec(
            "aliases",
            (code, ColumnSpec("name"), edition),
            ("code", "name", "edition"),
            (f"{system}_alias.csv",),
            optional=True,
        ),
        TableSpec(
            "crosswalk",
            (edition, source, target),
            ("edition", "code"),
            (f"{system}_crosswalk.csv",),
            optional=True,
        ),
    )


def _check_codes(draft: Draft, store: PackStore) -> None:
    """Aliases and crosswalk targets are codes of the same book; ``store`` is not needed for that."""
    del store
    codes = draft.values("codes", "code")
    if not codes:
        return
    if "aliases" in draft.tables:
        for line, (code,) in draft.tables["aliases"].located("code"):
            if code not in codes:
                draft.fault("aliases", line, "code", f"编码 {code} 不在 codes 表中")
    if "crosswalk" in draft.tables:
        for line, (edition, code, target) in draft.tables["crosswalk"].located(
            "edition", "code", "insurance_code"
        ):
            if target and target not in codes:
                draft.notes.append(
                    f"{draft.tables['crosswalk'].file} 第 {line} 行：{edition} 的 {code} 对应的 {target}"
                    " 不在 codes 表中，原样保留，使用时视为无对应"
                )


ICD10 = KindSpec(
    "icd10",
    "疾病诊断分类与代码",
    _code_tables("icd10", ColumnSpec("code", DIAGNOSIS_CODE, _DIAGNOSIS_MEANING, normalize=normalize_code)),
    _check_codes,
)
ICD9CM3 = KindSpec(
    "icd9cm3",
    "手术操作分类与代码",
    _code_tables(
        "icd9cm3",
        ColumnSpec("code", PROCEDURE_CODE, _PROCEDURE_MEANING, normalize=normalize_code),
        ColumnSpec(
            "kind",
            re.compile("|".join(PROCEDURE_KINDS)),
            "、".join(PROCEDURE_KINDS) + "，或空",
            empty=True,
        ),
    ),
    _check_codes,
)


def _nothing_more(draft: Draft, store: PackStore) -> None:
    """Tables that stand alone need no check beyond that of their columns."""
    del draft, store


_WIRE_NAME = re.compile(r"[a-z][a-z0-9_]*(\([A-Za-z0-9]+\))?")
_VALUE_CODE = re.compile(r"[0-9A-Za-z./_-]{1,20}")

VALUE_DOMAINS = KindSpec(
    "value-domains",
    "值域字典",
    (
        TableSpec(
            "domains",
            (
                ColumnSpec("field", _WIRE_NAME, "接口字段名，如 dscg_way"),
                ColumnSpec("code", _VALUE_CODE, "不超过 20 个字符的字母或数字"),
                ColumnSpec("name"),
                ColumnSpec("status", re.compile("confirmed|to confirm"), "confirmed 或 to confirm"),
            ),
            ("field", "code"),
            ("value_domains.csv",),
        ),
        TableSpec(
            "departments",
            (
                ColumnSpec("code", re.compile(r"[A-Z]\d{2}(\.\d{2}){0,2}"), "科室代码，如 A03 或 A03.01"),
                ColumnSpec("name"),
            ),
            ("code",),
        ),
        TableSpec(
            "countries",
            (ColumnSpec("code", re.compile(r"[A-Z]{3}"), "三位大写字母，如 CHN"), ColumnSpec("name")),
            ("code",),
        ),
    ),
    _nothing_more,
)

_SEX_CODES = {"male": "1", "female": "2"}
_DOUBTFUL = re.compile(r"O|M80\.[01]|M81")
"""Prefixes that only warn: a male patient with an O code, and the osteoporoses named after the menopause."""


def _sex_restricted_json(source: Path) -> Mapping[str, str]:
    """The published lists ``male_only_icd10`` … as one table. Raises PackError."""
    path = source / "sex_restricted_codes.json" if source.is_dir() else source
    if path.suffix != ".json" or not path.is_file():
        return {}
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise PackError(f"{path.name}：文件过大")
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        buffer = io.StringIO(newline="")
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(("code_prefix", "system", "sex", "level"))
        for sex, code in _SEX_CODES.items():
            for suffix, system in (("icd10", "icd10"), ("icd9", "icd9cm3")):
                for prefix in content[f"{sex}_only_{suffix}"]:
                    level = "warn" if system == "icd10" and _DOUBTFUL.match(prefix) else "error"
                    writer.writerow((prefix, system, code, level))
    except (OSError, ValueError, RecursionError) as error:
        raise PackError(f"{path.name}：不是有效的 JSON（{error}）") from error
    except (KeyError, TypeError) as error:
        raise PackError(
            f"{path.name}：应有 male_only_icd10、male_only_icd9、female_only_icd10、female_only_icd9"
            " 四个编码前缀列表"
        ) from error
    return {"code_prefix": buffer.getvalue()}


def _check_prefixes(draft: Draft, store: PackStore) -> None:
    """Every prefix has the form of its system."""
    del store
    if "code_prefix" not in draft.tables:
        return
    for line, (prefix, system) in draft.tables["code_prefix"].located("code_prefix", "system"):
        form = r"[A-Z]\d{0,2}(\.\d{0,3})?" if system == "icd10" else r"\d{1,2}(\.\d{0,4})?"
        if not re.fullmatch(form, prefix):
            draft.fault("code_prefix", line, "code_prefix", f"“{prefix}”不是 {system} 的编码前缀")


SEX_RESTRICTED = KindSpec(
    "sex-restricted",
    "限单一性别的编码",
    (
        TableSpec(
            "code_prefix",
            (
                ColumnSpec("code_prefix", re.compile(r"[0-9A-Z.]{1,10}"), "编码前缀，如 N40"),
                ColumnSpec("system", re.compile("icd10|icd9cm3"), "icd10 或 icd9cm3"),
                ColumnSpec("sex", re.compile("[12]"), "1（仅男）或 2（仅女）"),
                ColumnSpec("level", re.compile("error|warn"), "error 或 warn"),
            ),
            ("code_prefix", "system"),
        ),
    ),
    _check_prefixes,
    convert=_sex_restricted_json,
)

KINDS = (ICD10, ICD9CM3, VALUE_DOMAINS, SEX_RESTRICTED)
