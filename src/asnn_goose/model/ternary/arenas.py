"""Arenas (Sherry, arXiv 2601.07892): a part of the dense weights that fades away in training."""

from __future__ import annotations

from torch import Tensor

from asnn_goose.model.ternary.method import TernaryMethod, straight_through, wide
from asnn_goose.ops.precision_schedule import remainder
from asnn_goose.ops.ternary import Ternary, absmean


class Arenas(TernaryMethod):
    """`ops.ternary.absmean` with a share lambda_t of the dense matrix in it, none at the end.

    form      "blend": T + lambda (W - T), whose gradient stays that of T; "add": T + lambda W as
              published, whose gradient is 1 + lambda times it
    strength  the largest lambda
    warmup    share of the training in which lambda rises from 0 in a straight line
    until     share of the training at which lambda, falling along a cosine, reaches 0

    In eval mode lambda is 0.
    """

    planes_known = (1, 2)
    groups_known = True

    def __init__(
        self,
        rows: int,
        columns: int,
        *,
        planes: int = 1,
        group: int = 0,
        form: str = "blend",
        strength: float = 1.0,
        warmup: float = 0.0,
        until: float = 0.8,
    ) -> None:
        super().__init__(rows, columns, planes=planes, group=group)
        if form not in ("blend", "add"):
            raise ValueError(f"form = {form!r}: must be 'blend' or 'add'")
        if not 0 <= strength <= 1:
            raise ValueError(f"strength = {strength}: must be 0 to 1")
        if not 0 < until <= 1:
            raise ValueError(f"until = {until}: must be above 0 and at most 1")
        if not 0 <= warmup < until:
            raise ValueError(f"warmup = {warmup}: must be 0 or more and below until = {until}")
        self.form, self.strength, self.warmup, self.until = form, strength, warmup, until

    @property
    def residual(self) -> float:
        """Lambda now, from `share`; 0 in eval mode."""
        if not self.training:
            return 0.0
        return self.strength * remainder(self.share, until=self.until, warmup=self.warmup)

    def forward(self, weight_OK: Tensor) -> Tensor:
        residual = self.residual
        if not residual:
            return straight_through(weight_OK, lambda w_OK: self.planes_of(w_OK).dense())
        latent_OK = wide(weight_OK)
        ternary_OK = straight_through(latent_OK, lambda w_OK: self.planes_of(w_OK).dense())
        if self.form == "blend":
            mixed_OK = ternary_OK.lerp(latent_OK, residual)
        else:
            mixed_OK = ternary_OK.add(latent_OK, alpha=residual)
        return mixed_OK.to(weight_OK.dtype)

    def planes_of(self, weight_OK: Tensor) -> Ternary:
        return absmean(wide(weight_OK.detach()), planes=self.planes, group=self.group)
