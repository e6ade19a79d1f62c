"""The quality card of a model's file, also as a table in a notebook."""

from __future__ import annotations

import html
import json
from dataclasses import dataclass
from typing import Optional


@dataclass(frozen=True)
class Card:
    """How near the converted model is to its checkpoint, measured when it was converted."""

    #: Predictions that were compared.
    tokens: int
    perplexity: float
    #: The checkpoint's.
    reference_perplexity: float
    #: Nats.
    mean_kl: float
    #: Nats that 99 of 100 predictions stay below.
    p99_kl: float
    #: The part of predictions whose likeliest token is the same.
    same_top: float
    #: The text that was read.
    text: Optional[str] = None

    @classmethod
    def _of(cls, card: str) -> Card:
        c = json.loads(card)
        return cls(
            tokens=c["tokens"],
            perplexity=c["perplexity"],
            reference_perplexity=c["referencePerplexity"],
            mean_kl=c["meanKl"],
            p99_kl=c["p99Kl"],
            same_top=c["sameTop"],
            text=c.get("text"),
        )

    def _rows(self) -> list[tuple[str, str]]:
        rows = [
            ("perplexity", f"{self.perplexity:.4g}"),
            ("perplexity of the checkpoint", f"{self.reference_perplexity:.4g}"),
            ("mean KL, nats", f"{self.mean_kl:.3g}"),
            ("99th percentile of KL, nats", f"{self.p99_kl:.3g}"),
            ("same likeliest token", f"{self.same_top:.1%}"),
            ("predictions", f"{self.tokens}"),
        ]
        return [*rows, ("text", self.text)] if self.text else rows

    def _repr_html_(self) -> str:
        rows = "".join(
            f'<tr><td>{html.escape(name)}</td><td style="text-align:right">{html.escape(value)}</td></tr>'
            for name, value in self._rows()
        )
        return f"<table>{rows}</table>{self._bars()}"

    def _bars(self) -> str:
        """Both perplexities as bars."""
        most = max(self.perplexity, self.reference_perplexity, 1e-9)
        bars = []
        pairs = (("this file", self.perplexity), ("checkpoint", self.reference_perplexity))
        for i, (name, value) in enumerate(pairs):
            # A perplexity that is no number has no bar.
            width = round(200 * value / most) if 0 <= value <= most < float("inf") else 0
            y = 4 + 22 * i
            bars.append(
                f'<text x="0" y="{y + 13}">{name}</text>'
                f'<rect x="80" y="{y}" width="{width}" height="18" fill="#4c78a8"/>'
                f'<text x="{width + 86}" y="{y + 13}">{value:.4g}</text>'
            )
        return (
            '<svg xmlns="http://www.w3.org/2000/svg" width="360" height="48" font-family="sans-serif" font-size="12" '
            f'role="img" aria-label="perplexity">{"".join(bars)}</svg>'
        )
