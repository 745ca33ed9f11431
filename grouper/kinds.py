"""The kinds of pack that grouping and payment can import, each with the publishers' own forms it reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import grouper.dip.tables
import grouper.importer
from grouper.catalogue_import import read_catalogue, read_payment
from grouper.workbook_drg import read_drg_workbook
from models.pack import PackStore
from models.pack_import import Draft


def _scheme(path: Path, mapping: Mapping[str, str]) -> Draft | None:
    del mapping  # the official workbook has its own headers
    return read_drg_workbook(path)


def _check_payment(draft: Draft, store: PackStore) -> None:
    grouper.importer.check_payment(draft, store)
    grouper.dip.tables.check_drg_parameters(draft)


KINDS = (
    replace(grouper.importer.SCHEME, published=_scheme),
    replace(
        grouper.importer.PAYMENT,
        tables=(*grouper.importer.PAYMENT.tables, *grouper.dip.tables.DRG_PAYMENT_TABLES),
        check=_check_payment,
        published=read_payment,
        lone_file=True,
    ),
    replace(grouper.dip.tables.CATALOGUE, published=read_catalogue, lone_file=True),
    replace(grouper.dip.tables.PAYMENT, lone_file=True),
    grouper.dip.tables.COMORBIDITY,
)
