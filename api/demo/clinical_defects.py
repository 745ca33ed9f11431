"""Planted mistakes of diagnoses and their choice: families DX, PDX, OBS, TUM and INJ."""

from __future__ import annotations

from api.demo.planted import Defect

CLINICAL: tuple[Defect, ...] = ()
"""Every mistake of these families, by rule."""
