"""Synthetic events and reference data with known answers: `generate(options, out)`."""

from flows.generating.answers import Answers, FileAnswer, Totals
from flows.generating.generator import generate
from flows.generating.options import SAMPLE, GeneratorOptions

__all__ = ["SAMPLE", "Answers", "FileAnswer", "GeneratorOptions", "Totals", "generate"]
