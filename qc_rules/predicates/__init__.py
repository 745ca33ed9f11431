"""Python predicates: what the operators of a rule file cannot say, by name, one module a family.

A predicate takes the facts and the parameters of the rule as keyword arguments, and gives a ``Hit``
for every place where the rule fires: an iterator, or () at once where that is cheap to tell. It is
silent where the list does not allow to know.
"""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Literal

import msgspec

from models.report import Severity
from qc_rules.facts import Facts, place
from qc_rules.reference import Reference


class Hit(msgspec.Struct, frozen=True):
    """One place where a rule fires: node, row (-1: the node itself or setlinfo), wire name of the field.

    ``values`` are for the message, as ``{hit.NAME}``. ``path``, ``label`` and ``value`` replace what
    would follow from the place, for something that is no field of the interface. ``severity`` makes
    this one finding milder than the rule.
    """

    node: str
    index: int = -1
    wire: str = ""
    values: Mapping[str, Any] = {}
    path: str = ""
    label: str = ""
    value: str = ""
    severity: Severity | Literal[""] = ""

    @property
    def official(self) -> str:
        """The official path of the place."""
        return place(self.node, self.index, self.wire)


OUTPATIENT = ("otp_wm_dise", "wm_dise_code", "otp_tcm_dise", "tcm_dise_code")
"""门（急）诊诊断, by wire name."""
MEMORABLE: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "diseinfo": (("diag_type", "diag_code", "diag_name", "adm_cond_type", "maindiag_flag"),),
    "oprninfo": ((
        "oprn_oprt_type", "oprn_oprt_name", "oprn_oprt_code", "anst_way",
        "oper_dr_name", "oper_dr_code", "anst_dr_name", "anst_dr_code",
    ),),
    "setlinfo": (
        OUTPATIENT,
        ("refldept_dept", "traf_dept_flag", "adm_caty", "dscg_caty", "adm_dept_codg", "dscg_dept_codg"),
        ("fixmedins_code", "poscode"),
        ("chfpdr_code", "resp_nurs_code"),
    ),
}  # fmt: skip
"""Groups of fields whose values repeat from list to list: what rules say of them is worth remembering."""

Test = Callable[[Facts], bool]
Suspect = Callable[[Facts, int, Any, Mapping[str, Any]], bool]
Glance = Callable[[Facts], Sequence[str]]
Enough = Callable[[Facts, Sequence[int], Mapping[str, Any]], bool]
Derived = Callable[[Reference, Mapping[str, Any]], Any]
Function = Callable[..., Iterable[Hit]]
Domains = Callable[[Reference, Mapping[str, Any]], Iterable[tuple[str, str, Iterable[str]]]]
Codes = Callable[[Reference, Mapping[str, Any]], Iterable[tuple[str, str]]]
Combinations = Callable[[Reference, Mapping[str, Any]], Iterable[Iterable[Iterable[tuple[str, str]]]]]


@dataclass(frozen=True, slots=True)
class Predicate:
    """A registered function and when it need not be called.

    ``needs``: nodes that must have rows. ``diagnoses`` / ``procedures``: names of parameters that
    hold code prefixes; without such a code in the list the predicate cannot fire. ``codes``: the same
    as (place, prefix), from the reference tables and the parameters. ``principal``: a parameter with
    the prefixes of the principal diagnosis. ``combinations``: lists of such sets, of which one must have a
    code in the list in each of its sets. ``when``: a field of setlinfo (wire name) and the parameter, or the
    values, of which it must have one. ``newborn``: the patient must be one. ``defects``: it only looks at
    what could not be read, or is no field of the interface. ``fields``: fields of setlinfo (wire names)
    of which one must be filled. ``domains``: node, wire name and values with which it cannot fire, of
    every field that it looks at.

    ``rows``: nodes of which each row is judged alone. Such a function takes ``(facts, node, index, row)``
    and looks at nothing but the row, its code and the interface; of diseinfo and oprninfo only at the
    fields in ``MEMORABLE``, because the answer is remembered. ``sees``: all fields of setlinfo (wire names)
    that it looks at, where they are of one group there: then that answer is remembered too.
    ``suspect``: a row of diseinfo without which it cannot fire, told by the fields in ``MEMORABLE`` and the
    parameters; ``suspects``: whether it may fire where just these rows are suspect. ``unless``: a test of the
    list (``usual.py``) with which it cannot fire; ``glance``: a look at the list that names it where it may
    fire. With both codes and ``fields``, either is a reason to call it. ``derived``: arguments worked out
    once, from the reference tables and the parameters of the rule.
    """

    function: Function
    needs: tuple[str, ...] = ()
    diagnoses: str = ""
    procedures: str = ""
    codes: Codes | None = None
    defects: bool = False
    fields: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()
    domains: Domains | None = None
    principal: str = ""
    combinations: Combinations | None = None
    when: tuple[str, str | tuple[str, ...]] | None = None
    newborn: bool = False
    unless: Test | None = None
    derived: Mapping[str, Derived] = field(default_factory=dict)
    sees: tuple[str, ...] = ()
    suspect: Suspect | None = None
    suspects: Enough | None = None
    glance: Glance | None = None

    def arguments(self) -> dict[str, bool]:
        """The parameters it takes from the rule, with whether each must be given."""
        return {
            name: parameter.default is inspect.Parameter.empty
            for name, parameter in inspect.signature(self.function).parameters.items()
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY and name not in self.derived
        }


_REGISTERED: dict[str, Predicate] = {}


def predicate(
    *,
    needs: tuple[str, ...] = (),
    diagnoses: str = "",
    procedures: str = "",
    codes: Codes | None = None,
    defects: bool = False,
    fields: tuple[str, ...] = (),
    rows: tuple[str, ...] = (),
    domains: Domains | None = None,
    principal: str = "",
    combinations: Combinations | None = None,
    when: tuple[str, str | tuple[str, ...]] | None = None,
    newborn: bool = False,
    unless: Test | None = None,
    derived: Mapping[str, Derived] | None = None,
    sees: tuple[str, ...] = (),
    suspect: Suspect | None = None,
    suspects: Enough | None = None,
    glance: Glance | None = None,
) -> Callable[[Function], Function]:
    """Register a function under its own name, to be used as ``check: NAME``."""

    def register(function: Function) -> Function:
        name = function.__name__
        if name in _REGISTERED:
            raise ValueError(f"predicate {name} is registered twice")
        _REGISTERED[name] = Predicate(
            function, needs, diagnoses, procedures, codes, defects, fields, rows, domains,
            principal, combinations, when, newborn, unless, derived or {}, sees, suspect, suspects, glance,
        )  # fmt: skip
        return function

    return register


def predicates() -> Mapping[str, Predicate]:
    """Every predicate by name; imports the modules of this folder."""
    for module in pkgutil.iter_modules(__path__):
        import_module(f"{__name__}.{module.name}")
    return _REGISTERED


__all__ = ["MEMORABLE", "OUTPATIENT", "Facts", "Hit", "Predicate", "predicate", "predicates"]
