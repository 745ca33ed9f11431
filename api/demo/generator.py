"""Makes settlement lists of a fictional hospital, the same ones again for the same seed."""

from __future__ import annotations

import calendar
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from random import Random
from typing import Any

from api.demo.case_mix import FEMALE, MALE, CaseMix, Companion, Profile
from api.demo.charge_lines import add_backing
from coding.library import Code
from models.settlement_list import FIELDS, NODES_ONLY_4101, Interface, Minutes

Payload = dict[str, Any]
"""A list as the interface carries it, without envelope: nodes by wire name."""

REGION = "990100"
"""An administrative division that GB/T 2260 does not assign: no person and no office has it."""
HOSPITAL_CODE = "H99010000001"
HOSPITAL_NAME = "清州市人民医院（演示）"
PHONE_PREFIX = "1540000"
"""Numbers beginning 154 are not given out to subscribers."""
LONGEST_STAY = 58
"""Days: longer stays are settled outside the groups."""
CARE_WARD = "A28"

_ID_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_ID_CHECK = "10X98765432"
_SHARE_4101A = 0.10
_SHARE_ENVELOPE = 0.04
_SHARE_BACKED = 0.2
"""Of the 4101 lists, those that come with charge lines and evidence."""
_SHARE_INFANT = 0.10
_SHARE_TRADITIONAL = 0.45
_SHARE_BLOOD = 0.5
_SHARE_DAY_SURGERY = 0.4
_SHARE_CHRONIC_CARE = 0.15
_DEATHS = (0.0, 0.002, 0.012, 0.06)
"""Share of stays that end in death, by severity of the profile."""
_COMPANION_MEAN = {"child": 0.5, "mother": 0.9, "injury": 0.8, "none": 0.0}
_ANAESTHESIA = {"1": ("1", "12", "41"), "2": ("2", "21", "22"), "3": ("3", "33", "35")}
_OPERATIVE = ("手术", "介入治疗")
_CANCER_TREATMENT = ("Z51",)

# Share of each charge category (01–14) in the total, before the spread; the sums need not be 100.
_CHARGES: Mapping[str, Mapping[str, float]] = {
    "medical": {"01": 5, "02": 3, "03": 14, "04": 19, "05": 14, "07": 6, "08": 6, "09": 30, "11": 3, "12": 0.6},
    "surgical": {
        "01": 3, "02": 2, "03": 8, "04": 9, "05": 12, "06": 20, "07": 4, "08": 26, "09": 15, "11": 0.6, "12": 0.4,
    },
    "tcm": {"01": 7, "02": 4, "03": 12, "04": 10, "05": 30, "07": 6, "08": 3, "09": 9, "10": 12, "11": 7, "12": 0.6},
}  # fmt: skip
_OTHER_CHARGES = 0.4
# Parts of a category that are 甲类, 乙类, 全自费: percent before the spread.
_CLASSES: Mapping[str, tuple[float, float, float]] = {
    "01": (88, 6, 6), "02": (96, 2, 2), "03": (62, 32, 6), "04": (80, 16, 4), "05": (70, 22, 8),
    "06": (76, 20, 4), "07": (92, 4, 4), "08": (22, 64, 14), "09": (48, 44, 8), "10": (80, 12, 8),
    "11": (40, 52, 8), "12": (96, 4, 0), "13": (100, 0, 0), "14": (0, 0, 0),
}  # fmt: skip

TCM_DISEASE = ("BNS150", "腰痛病")
TCM_SYNDROME = ("ZZSV10", "肾气不足证")
"""The pair is coded as in GB/T 15657—1995."""

_OCCUPATIONS_EMPLOYED = ("11", "13", "17", "21", "24")


@dataclass(frozen=True, slots=True)
class DemoList:
    """One made-up list: its body without envelope, whether it travels in one, and its kind of stay."""

    list_id: str
    body: Payload
    interface: Interface
    enveloped: bool
    theme: str

    def payload(self) -> Payload:
        """The list as it is sent."""
        if not self.enveloped:
            return self.body
        return {
            "infno": self.interface,
            "msgid": f"{HOSPITAL_CODE}{self.list_id[-12:]}",
            "fixmedins_code": HOSPITAL_CODE,
            "fixmedins_name": HOSPITAL_NAME,
            "input": self.body,
        }


@dataclass(frozen=True, slots=True)
class Generator:
    """The lists of patients discharged in one month; list ``index`` depends on the seed and index only."""

    mix: CaseMix
    seed: int
    year: int = 2026
    month: int = 10

    def random_for(self, index: int, purpose: str) -> Random:
        """The random numbers of one list for one purpose, independent of all others."""
        return Random(f"{self.seed}/{index}/{purpose}")  # noqa: S311 - made-up data must be repeatable

    def make(self, index: int, *, only_4101: bool = False) -> DemoList:
        """The clean list number ``index`` (from 0); ``only_4101`` keeps it from being a 4101A list."""
        rng = self.random_for(index, "list")
        stay = _Stay(self.mix, rng, self.year, self.month, index)
        body = stay.write()
        short = rng.random() < _SHARE_4101A and not only_4101
        backing = self.random_for(index, "backing")
        if not short and backing.random() < _SHARE_BACKED:
            kinds = {code.code: code.kind for code, *_ in stay.procedures}
            add_backing(body, kinds, backing, self.mix.charges, self.mix.evidence)
        return DemoList(
            list_id=body["setlinfo"]["mdtrt_id"],
            body=as_4101a(body) if short else body,
            interface="4101A" if short else "4101",
            enveloped=rng.random() < _SHARE_ENVELOPE,
            theme=stay.profile.theme,
        )


_DIAGNOSIS_KIND_4101A = {"1": "1", "2": "1", "3": "2", "4": "3"}


def as_4101a(body: Payload) -> Payload:
    """The same list as interface 4101A carries it: no charges, no identity, blood in its own node."""
    short: Payload = {}
    for node, value in body.items():
        if node in NODES_ONLY_4101:
            continue
        kept = {name for name, info in FIELDS[node].items() if not info.only_4101}
        if isinstance(value, list):
            short[node] = [{name: row[name] for name in row if name in kept} for row in value]
        else:
            short[node] = {name: value[name] for name in value if name in kept}
    full = body["setlinfo"]
    short["setlinfo"] |= {"psn_no": f"{REGION}{full['hi_no'][-12:]}", "stas_type": "1"}
    if "nwb_age" in full:
        short["setlinfo"]["age_days"] = full["nwb_age"]
    if "bld_cat" in full:
        short["bldinfo"] = [{name: full[name] for name in ("bld_cat", "bld_amt", "bld_unt")}]
    for row in short["diseinfo"]:
        row["diag_type"] = _DIAGNOSIS_KIND_4101A[row["diag_type"]]
    return short


class _Stay:
    """One stay being made up, step by step; later steps look at what earlier ones decided."""

    def __init__(self, mix: CaseMix, rng: Random, year: int, month: int, index: int) -> None:
        self.mix, self.rng, self.index = mix, rng, index
        self.profile: Profile = mix.profiles.draw(rng)
        flags = self.profile.flags
        self.newborn = "newborn" in flags
        self.mother = "delivery" in flags or "twins" in flags
        self.sex = rng.choice(self.profile.sexes)
        self.traditional = "tcm" in flags and rng.random() < _SHARE_TRADITIONAL
        self.day_surgery = "day" in flags and rng.random() < _SHARE_DAY_SURGERY
        self.dies = not self.mother and rng.random() < _DEATHS[self.profile.severity]
        self._age()
        self._dates(year, month)
        self.principal = self._one_of(self.profile.principal[self.sex])
        self.diagnoses = self._diagnoses()
        self.intensive = self._intensive_care()
        self.procedures = self._procedures()

    # who and when

    def _age(self) -> None:
        low, mode, high = self.profile.age
        self.age_days: int | None = None
        if self.newborn:
            self.age, self.age_days = 0, int(self.rng.triangular(0, 27, 1))
        elif self.profile.pool == "child" and self.rng.random() < _SHARE_INFANT:
            self.age, self.age_days = 0, self.rng.randint(40, 355)
        else:
            self.age = round(self.rng.triangular(low, high, mode))

    def _dates(self, year: int, month: int) -> None:
        rng, flags = self.rng, self.profile.flags
        days = round(rng.lognormvariate(0, 0.35) * self.profile.stay)
        lowest = {"vent": 6, "icu": 4, "delivery": 2}
        days = max([days, *(least for flag, least in lowest.items() if flag in flags), 2])
        if "vent" in flags and self.profile.adrg == "AH2":
            days = max(days, 10)
        if self.day_surgery:
            days = 1
        self.days = min(days, LONGEST_STAY)
        last = calendar.monthrange(year, month)[1]
        discharge_day = date(year, month, rng.randint(1, last))
        self.discharge = _at(discharge_day, rng.randint(9 * 60, 17 * 60 + 30))
        self.admission = _at(discharge_day - timedelta(days=self.days), rng.randint(7 * 60, 21 * 60))
        admitted_on = self.admission.date()
        if self.age_days is not None:
            self.birth = admitted_on - timedelta(days=self.age_days)
        else:
            self.birth = _years_before(admitted_on, self.age) - timedelta(days=rng.randint(0, 363))

    # what

    def _one_of(self, options: tuple[tuple[Code, ...], ...]) -> Code:
        found = self.rng.choice(options)
        # The first, shortest name is the commonest; the others come up now and then.
        return found[0] if self.rng.random() < 0.6 else self.rng.choice(found)

    def _diagnoses(self) -> list[tuple[Code, str]]:
        """Principal first, each with its 入院病情."""
        found: list[tuple[Code, str]] = [(self.principal, "1")]
        for options in self.profile.others[self.sex]:
            code = self._one_of(options)
            if all(code.code != known.code for known, _ in found):
                found.append(
                    (code, "4" if code.code.startswith(("Z37", "O80", "O81", "O82", "O84")) else "1")
                )
        pool = self.mix.companions.get(self.profile.pool)
        if pool is None:
            return found
        mean = _COMPANION_MEAN.get(self.profile.pool, 0.6 + self.age / 22)
        avoided: list[str] = []
        drawn: list[Companion] = []
        for _ in range(min(int(self.rng.expovariate(1 / mean) + 0.5), 9)):
            companion = pool.draw(self.rng)
            if self._fits(companion, found, avoided):
                avoided.extend(companion.avoid)
                found.append((companion.code, companion.condition))
                drawn.append(companion)
        # 其他诊断的顺序: complications, then severe before mild, states at the end.
        drawn.sort(key=lambda one: (one.condition != "4", one.code.code.startswith("Z"), -one.severity))
        return found[: len(found) - len(drawn)] + [(one.code, one.condition) for one in drawn]

    def _fits(self, companion: Companion, found: list[tuple[Code, str]], avoided: list[str]) -> bool:
        low, high = companion.age
        code = companion.code.code
        if not low <= self.age <= high or companion.sex not in ("", self.sex):
            return False
        if companion.severity > self.profile.severity + (self.rng.random() < 0.3):
            return False
        if code.startswith(tuple(avoided)):
            return False
        return not any(
            known.code.startswith(companion.avoid) or known.code[:3] == code[:3] for known, _ in found
        )

    def _intensive_care(self) -> tuple[datetime, datetime] | None:
        flags, rng = self.profile.flags, self.rng
        if "icu" not in flags or ("vent" not in flags and rng.random() < 0.4):
            return None
        enter = self.admission + timedelta(minutes=rng.randint(10, 180))
        hours = int((self.discharge - enter).total_seconds() // 3600)
        wanted = hours * rng.uniform(0.45, 0.7)
        if self.profile.adrg == "AH2":
            wanted = max(wanted, 130.0)
        elif "vent" in flags:
            wanted = min(wanted, 110.0)
        leave = enter + timedelta(minutes=int(min(wanted, hours - 12) * 60))
        return enter, leave

    @property
    def ventilation(self) -> Minutes | None:
        """Minutes on the ventilator, inside the intensive care stay."""
        if "vent" not in self.profile.flags or self.intensive is None:
            return None
        enter, leave = self.intensive
        share = 0.8 if self.profile.adrg == "AH2" else 0.6
        return Minutes(int((leave - enter).total_seconds() * share // 60))

    def _procedures(self) -> list[tuple[Code, datetime, datetime, str]]:
        """Main first: code, start, end, anaesthesia."""
        found: list[tuple[Code, datetime, datetime, str]] = []
        if not self.profile.procedures:
            return found
        rng = self.rng
        start = self._theatre_time()
        minutes = rng.randint(30, 150)
        for options in self.profile.procedures:
            code = self._one_of(options)
            operative = code.kind in _OPERATIVE
            begin, end = start, start + timedelta(minutes=minutes)
            if code.code.startswith("96.7") and self.intensive and self.ventilation:
                begin = self.intensive[0] + timedelta(minutes=20)
                end = begin + timedelta(minutes=self.ventilation)
            way = rng.choice(_ANAESTHESIA[self.profile.anaesthesia]) if self.profile.anaesthesia else ""
            if not operative:
                way = ""
            elif found and found[0][3]:
                way = found[0][3]  # one anaesthesia for everything done in one session
            found.append((code, begin, end, way))
        return found

    def _theatre_time(self) -> datetime:
        """A start that leaves an hour after admission and four hours before discharge."""
        rng = self.rng
        day = self.admission.date() + timedelta(days=min(rng.choice((1, 1, 1, 2, 3)), max(self.days - 1, 0)))
        start = _at(day, rng.randint(8 * 60 + 30, 16 * 60))
        earliest, latest = self.admission + timedelta(minutes=70), self.discharge - timedelta(hours=4)
        return max(min(start, latest), earliest)

    # the list

    def write(self) -> Payload:
        setlinfo = self._identity() | self._course() | self._settlement()
        charges, paid = self._charges(setlinfo)
        diseinfo = self._diagnosis_rows()
        oprninfo = self._procedure_rows()
        setlinfo |= paid
        setlinfo |= {"diag_code_cnt": len(diseinfo), "oprn_oprt_code_cnt": len(oprninfo)}
        body: Payload = {"setlinfo": setlinfo, "payinfo": self._funds(setlinfo, paid)}
        chronic = self._chronic_care(setlinfo)
        if chronic:
            body["opspdiseinfo"] = chronic
        body["diseinfo"] = diseinfo
        body["iteminfo"] = charges
        if oprninfo:
            body["oprninfo"] = oprninfo
        if self.intensive:
            enter, leave = self.intensive
            body["icuinfo"] = [
                {
                    "scs_cutd_ward_type": self._care_ward(),
                    "scs_cutd_inpool_time": _time(enter),
                    "scs_cutd_exit_time": _time(leave),
                    "scs_cutd_sum_dura": Minutes((leave - enter).total_seconds() // 60).wire(),
                }
            ]
        return body

    def _care_ward(self) -> str:
        department = self.profile.department
        if department == "A03.04":
            return "1"
        return "2" if self.newborn else "7"

    def _name(self, sex: str, surname: str = "") -> str:
        characters = self.mix.values["male" if sex == MALE else "female"]
        given = characters.draw(self.rng)
        if self.rng.random() < 0.7:
            given += characters.draw(self.rng)
        return (surname or self.mix.values["surname"].draw(self.rng)) + given

    def _address(self) -> str:
        rng = self.rng
        if rng.random() < 0.6:
            return f"清州市城关区{self.mix.values['street'].draw(rng)}{rng.randint(1, 199)}号"
        return f"清州市清河镇{self.mix.values['village'].draw(rng)}{rng.randint(1, 12)}组"

    def _phone(self) -> str:
        return f"{PHONE_PREFIX}{self.rng.randint(1000, 9999)}"

    def _certificate(self) -> str:
        serial = self.rng.randint(0, 498) * 2 + (1 if self.sex == MALE else 2)
        first = f"{REGION}{self.birth:%Y%m%d}{serial:03d}"
        return first + check_digit(first)

    def _identity(self) -> Payload:
        rng, number = self.rng, self.index + 1
        surname = self.mix.values["surname"].draw(rng)
        occupation = self._occupation()
        insurance = "1" if occupation in (*_OCCUPATIONS_EMPLOYED, "80") else "2"
        address = self._address()
        relation, contact_sex = self._contact()
        shares_surname = relation in ("20", "30", "50", "70") and contact_sex == MALE
        found: Payload = {
            "mdtrt_id": f"{REGION}{self.discharge:%Y%m}{number:09d}",
            "setl_id": f"{REGION}{self.discharge:%Y%m}7{number:08d}",
            "fixmedins_name": HOSPITAL_NAME,
            "fixmedins_code": HOSPITAL_CODE,
            "hi_setl_lv": "3",
            "hi_no": f"{REGION}{rng.randrange(10**12):012d}",
            "medcasno": f"{self.admission:%y}{number:07d}",
            "dcla_time": _time(
                self.discharge + timedelta(days=rng.randint(1, 7), minutes=rng.randint(0, 300))
            ),
            "psn_name": self._name(self.sex, surname),
            "gend": self.sex,
            "brdy": self.birth.isoformat(),
            "ntly": "CHN",
            "naty": self.mix.values["ethnicity"].draw(rng),
            "patn_cert_type": "01",
            "certno": self._certificate(),
            "prfs": occupation,
            "curr_addr": address,
            "coner_name": self._name(contact_sex, surname if shares_surname else ""),
            "patn_rlts": relation,
            "coner_addr": address if rng.random() < 0.8 else self._address(),
            "coner_tel": self._phone(),
            "hi_type": insurance,
            "insuplc": REGION,
        }
        if self.age_days is None:
            found["age"] = self.age
        else:
            found["nwb_age"] = self.age_days
        if occupation in _OCCUPATIONS_EMPLOYED:
            found["emp_name"] = self.mix.values["employer"].draw(rng)
            found["emp_addr"] = f"清州市城关区{self.mix.values['street'].draw(rng)}{rng.randint(1, 199)}号"
            found["emp_tel"] = self._phone()
            found["poscode"] = f"9901{rng.randint(10, 89)}"
        if insurance == "2" and rng.random() < 0.06:
            found["sp_psn_type"] = rng.choice(("1", "2", "3"))
        return found

    def _occupation(self) -> str:
        if self.age < 7:
            return "90"
        if self.age < 20:
            return "31"
        if self.age >= 58:
            return self.rng.choice(("80", "80", "27", "27", "70"))
        return self.rng.choice(("27", "27", "24", "24", "17", "13", "21", "11", "51", "54", "70"))

    def _contact(self) -> tuple[str, str]:
        """与患者关系, and the sex of that person."""
        partner = FEMALE if self.sex == MALE else MALE
        if self.age < 20:
            return "50", self.rng.choice((MALE, FEMALE))
        if self.mother:
            return "10", partner
        if self.age < 40:
            return self.rng.choice((("10", partner), ("50", MALE), ("50", FEMALE)))
        if self.age < 60:
            return self.rng.choice((("10", partner), ("10", partner), ("70", MALE)))
        return self.rng.choice((("20", MALE), ("30", FEMALE), ("10", partner)))

    def _course(self) -> Payload:
        rng, flags = self.rng, self.profile.flags
        department = "A50.10" if self.traditional else self.profile.department
        outpatient = self._outpatient_diagnosis()
        emergency = rng.random() < (0.15 if self.profile.severity < 2 else 0.55)
        found: Payload = {
            "ipt_med_type": "2" if self.day_surgery else "1",
            "adm_way": "1" if emergency and not self.day_surgery else "2",
            "trt_type": rng.choice(("20", "30")) if self.traditional else "10",
            "adm_time": _time(self.admission),
            "adm_caty": department,
            "dscg_time": _time(self.discharge),
            "dscg_caty": department,
            "act_ipt_days": self.days,
            "otp_wm_dise": outpatient.name,
            "wm_dise_code": outpatient.code,
        }
        if not self.day_surgery and not self.newborn and rng.random() < 0.03 and department != "A20":
            found |= {"adm_caty": "A20", "refldept_dept": department}
        if self.traditional:
            found |= {"otp_tcm_dise": TCM_DISEASE[1], "tcm_dise_code": TCM_DISEASE[0]}
        if self.newborn:
            found |= self._newborn()
        elif "delivery" in flags:
            found["nwb_bir_wt"] = rng.randint(270, 400) * 10
        elif "twins" in flags:
            found["mul_nwb_bir_wt"] = ",".join(str(rng.randint(225, 285) * 10) for _ in range(2))
        if self.ventilation:
            found["vent_used_dura"] = self.ventilation.wire()
        if "coma" in flags:
            found["pwcry_bfadm_coma_dura"] = Minutes(rng.choice((0, 0, 5, 20, 45))).wire()
            found["pwcry_afadm_coma_dura"] = Minutes(rng.choice((0, 0, 0, 30, 600))).wire()
        if "blood" in flags and rng.random() < _SHARE_BLOOD:
            found |= {"bld_cat": "1", "bld_amt": rng.choice((2, 2, 3, 4, 6)), "bld_unt": "u"}
        found |= self._nursing() | self._leaving()
        return found

    def _outpatient_diagnosis(self) -> Code:
        if self.principal.code.startswith(_CANCER_TREATMENT):
            return self.diagnoses[1][0]
        return self.principal

    def _newborn(self) -> Payload:
        rng, flags = self.rng, self.profile.flags
        low, high = next(
            (
                span
                for flag, span in (
                    ("preterm_1500", (1500, 1990)),
                    ("preterm_2000", (2000, 2490)),
                    ("preterm_2500", (2500, 2790)),
                )
                if flag in flags
            ),
            (2600, 3980),
        )
        weight = rng.randint(low // 10, high // 10) * 10
        now = weight + 10 * rng.randint(-8, 0) + 20 * max((self.age_days or 0) - 5, 0)
        return {
            "nwb_adm_type": "2" if high < 2800 else "3",
            "nwb_bir_wt": weight,
            "nwb_adm_wt": now,
        }

    def _nursing(self) -> Payload:
        rng, left = self.rng, self.days
        special = 0
        if self.intensive:
            enter, leave = self.intensive
            special = min(max((leave.date() - enter.date()).days, 1), left)
        left -= special
        heavy = left if self.newborn else rng.randint(0, left) if self.profile.severity > 1 else min(left, 1)
        light = rng.randint(0, left - heavy) if self.profile.severity == 0 else 0
        return {
            "spga_nurscare_days": special,
            "lv1_nurscare_days": heavy,
            "scd_nurscare_days": left - heavy - light,
            "lv3_nurscare_days": light,
        }

    def _leaving(self) -> Payload:
        rng = self.rng
        if self.dies:
            return {"dscg_way": "5", "days_rinp_flag_31": "1"}
        found: Payload = {"dscg_way": "1", "days_rinp_flag_31": "1"}
        if self.principal.code.startswith(_CANCER_TREATMENT) and rng.random() < 0.6:
            found |= {"days_rinp_flag_31": "2", "days_rinp_pup_31": "按计划继续抗肿瘤治疗"}
        chance = rng.random()
        if chance < 0.012 and self.profile.severity >= 1:
            found |= {"dscg_way": "2", "acp_medins_name": self.mix.values["receiver"].draw(rng)}
            found["acp_optins_code"] = f"H9901000{rng.randint(2000, 2999)}"
        elif chance < 0.03 and self.age > 40 and not self.day_surgery:
            found |= {"dscg_way": "3", "acp_medins_name": self.mix.values["community"].draw(rng)}
            found["acp_optins_code"] = f"H9901000{rng.randint(3000, 3999)}"
        elif chance > 0.985:
            found["dscg_way"] = "4"
        return found

    def _settlement(self) -> Payload:
        number = self.index + 1
        physician, nurse = self._staff("D", 1, 240), self._staff("N", 1, 500)
        return {
            "bill_code": "99010126",
            "bill_no": f"{number:010d}",
            "biz_sn": f"{HOSPITAL_CODE}{self.discharge:%Y%m%d}{number:010d}",
            "chfpdr_name": physician[0],
            "chfpdr_code": physician[1],
            "resp_nurs_name": nurse[0],
            "resp_nurs_code": nurse[1],
            "setl_begn_date": self.admission.date().isoformat(),
            "setl_end_date": self.discharge.date().isoformat(),
            "hi_paymtd": "4",
            "hsorg": "清州市医疗保险服务中心（演示）",
            "hsorg_opter": "演示经办人",
            "medins_fill_dept": "病案室",
            "medins_fill_psn": "演示填报人",
        }

    def _staff(self, letter: str, low: int, high: int) -> tuple[str, str]:
        """Name and national code of one of the staff: the same name for the same code in every list."""
        code = f"{letter}{REGION}{self.rng.randint(low, high):06d}"
        own = Random(code)  # noqa: S311 - made-up data must be repeatable
        given = self.mix.values["female" if letter == "N" else "male"]
        return self.mix.values["surname"].draw(own) + given.draw(own) + given.draw(own), code

    def _diagnosis_rows(self) -> list[Payload]:
        rows = [
            {
                "diag_type": "2" if position else "1",
                "diag_code": code.code,
                "diag_name": code.name,
                "adm_cond_type": condition,
                "maindiag_flag": "0" if position else "1",
            }
            for position, (code, condition) in enumerate(self.diagnoses)
        ]
        if self.traditional:
            for kind, (code_text, name) in (("3", TCM_DISEASE), ("4", TCM_SYNDROME)):
                rows.append(
                    {
                        "diag_type": kind,
                        "diag_code": code_text,
                        "diag_name": name,
                        "adm_cond_type": "1",
                        "maindiag_flag": "0",
                    }
                )
        return rows

    def _procedure_rows(self) -> list[Payload]:
        rows: list[Payload] = []
        surgeon, anaesthetist = self._staff("D", 1, 240), self._staff("D", 241, 270)
        for position, (code, begin, end, way) in enumerate(self.procedures):
            row: Payload = {
                "oprn_oprt_type": "2" if position else "1",
                "oprn_oprt_name": code.name,
                "oprn_oprt_code": code.code,
                "oprn_oprt_date": begin.date().isoformat(),
                "oprn_oprt_begntime": _time(begin),
                "oprn_oprt_endtime": _time(end),
                "oper_dr_name": surgeon[0],
                "oper_dr_code": surgeon[1],
            }
            if way:
                row |= {
                    "anst_way": way,
                    "anst_dr_name": anaesthetist[0],
                    "anst_dr_code": anaesthetist[1],
                    "anst_begntime": _time(begin - timedelta(minutes=25)),
                    "anst_endtime": _time(end + timedelta(minutes=15)),
                }
            rows.append(row)
        return rows

    def _chronic_care(self, setlinfo: Payload) -> list[Payload]:
        """Fills the outpatient part when the patient is known there for a chronic disease."""
        known = next((c for c, _ in self.diagnoses if c.code.startswith(("E11.9", "I25.103", "N18"))), None)
        if known is None or self.rng.random() > _SHARE_CHRONIC_CARE * 2:
            return []
        visited = self.admission.date() - timedelta(days=self.rng.randint(10, 90))
        department = {"E": "A03.07", "I": "A03.04", "N": "A03.06"}[known.code[0]]
        setlinfo |= {
            "opsp_diag_caty": self.mix.departments[department],
            "opsp_mdtrt_date": visited.isoformat(),
        }
        return [{"diag_name": known.name, "diag_code": known.code}]

    # money, in fen until written

    def _charges(self, setlinfo: Payload) -> tuple[list[Payload], Payload]:
        rng = self.rng
        level = self.mix.complication(self.principal.code, [code.code for code, _ in self.diagnoses[1:]])
        fee = self.mix.average_fee(self.profile.adrg, level)
        fee *= rng.lognormvariate(0, 0.22) * (self.days / self.profile.stay) ** 0.4
        total = max(round(fee * 100), 80_000)
        operated = any(code.kind in _OPERATIVE for code, *_ in self.procedures)
        kind = "tcm" if self.traditional else "surgical" if operated else "medical"
        shares = {category: share * rng.gammavariate(9, 1 / 9) for category, share in _CHARGES[kind].items()}
        if rng.random() < 0.5:
            shares["14"] = _OTHER_CHARGES * rng.gammavariate(9, 1 / 9)
        amounts = _split(total, shares)
        if setlinfo["adm_way"] == "2":
            amounts["13"] = 500
        rows, own, other = [], 0, 0
        for category in sorted(amounts):
            amount = amounts[category]
            weights = dict(zip("abo", _CLASSES[category], strict=True)) if category != "14" else {"x": 1.0}
            parts = _split(amount, {k: w * rng.uniform(0.8, 1.2) for k, w in weights.items() if w})
            own += parts.get("o", 0)
            other += parts.get("x", 0)
            rows.append(
                {
                    "med_chrgitm": category,
                    "amt": amount / 100,
                    "claa_sumfee": parts.get("a", 0) / 100,
                    "clab_amt": parts.get("b", 0) / 100,
                    "fulamt_ownpay_amt": parts.get("o", 0) / 100,
                    "oth_amt": parts.get("x", 0) / 100,
                }
            )
        total = sum(amounts.values())
        own += other
        self_pay = round((total - own) * rng.uniform(0.14, 0.34))
        burden = own + self_pay
        account = round(burden * rng.uniform(0, 0.6)) if setlinfo["hi_type"] == "1" else 0
        return rows, {
            "psn_selfpay": self_pay / 100,
            "psn_ownpay": own / 100,
            "acct_pay": account / 100,
            "psn_cashpay": (burden - account) / 100,
            "medfee_sumamt": total / 100,
        }

    def _funds(self, setlinfo: Payload, paid: Payload) -> list[Payload]:
        fund = _fen(paid["medfee_sumamt"]) - _fen(paid["psn_selfpay"]) - _fen(paid["psn_ownpay"])
        employed = setlinfo["hi_type"] == "1"
        rows = [("310100" if employed else "390100", fund)]
        if employed and fund > 3_000_000:
            large = round(fund * 0.12)
            rows = [("310100", fund - large), ("330100", large)]
        return [{"fund_pay_type": kind, "fund_payamt": amount / 100} for kind, amount in rows]


def check_digit(first: str) -> str:
    """The 18th character of an ID number from its first 17 digits (GB 11643)."""
    total = sum(int(digit) * weight for digit, weight in zip(first, _ID_WEIGHTS, strict=True))
    return _ID_CHECK[total % 11]


def _split(total: int, shares: Mapping[str, float]) -> dict[str, int]:
    """``total`` fen in proportion to ``shares``, to the fen: the largest share takes the rounding."""
    whole = sum(shares.values())
    parts = {name: int(total * share / whole) for name, share in shares.items()}
    largest = max(parts, key=lambda name: parts[name])
    parts[largest] += total - sum(parts.values())
    return parts


def _fen(yuan: float) -> int:
    return round(yuan * 100)


def _at(day: date, minute: int) -> datetime:
    return datetime(day.year, day.month, day.day, minute // 60, minute % 60)


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S")


def _years_before(day: date, years: int) -> date:
    try:
        return day.replace(year=day.year - years)
    except ValueError:  # 29 February
        return day.replace(year=day.year - years, day=28)
