"""Figures as a reader wants them: fen as yuan, shares as percent, no more digits than say something."""

from __future__ import annotations


def in_yuan(fen: float | None) -> float | None:
    """An amount in fen as yuan with at most two decimals; None where it is not known."""
    return None if fen is None else round(fen / 100, 2)


def rounded(value: float) -> float:
    """Enough digits for a reader; the last bits of a sum are nobody's business."""
    return float(f"{value:.6g}")


def percent(value: float | None) -> str:
    """0.9534 → 95.3%; — where there is none."""
    return "—" if value is None else f"{value:.1%}"
