"""What a run would need on machines that are not here: memory, time, traffic, cost. On paper only.

Nothing of it was ever measured on such a machine. What it rests on is said here: peaks and links
as the makers print them, a share of the peak, and prices that are an order of magnitude.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import torch

from asnn_goose.model import GooseForCausalLM
from asnn_goose.names import check_name
from asnn_goose.recipe.build import student_config_of
from asnn_goose.recipe.fit import check_student
from asnn_goose.recipe.schema import Recipe, StageTable
from asnn_goose.recipe.sizes import Memory, Sizes, count, memory, products_per_token
from asnn_goose.recipe.teachers import outline_teacher_of

PEAK_SHARE = 0.3
"""Share of a device's peak that a step reaches. Dense transformers get 0.35 to 0.5; a recurrence,
short kernels and a teacher's passes in between take their part."""

BASE_BYTES = 2_000_000_000
"""Context, kernels and buffers of exchanges, on a device."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A kind of device, dense peaks and one way of a link, as printed; the price is assumed.

    memory_bytes        its own
    bf16_flops          flop/s of matrix products in bf16
    fp32_flops          in fp32, without tensor cores
    link_bytes          bytes/s to another device of its machine
    network_bytes       bytes/s to another machine, for each device
    dollars             for one device and hour: an order of magnitude, and no offer
    """

    memory_bytes: float
    bf16_flops: float
    fp32_flops: float
    link_bytes: float
    network_bytes: float
    dollars: float

    def flops(self, precision: str) -> float:
        """The peak for a recipe's precision."""
        return self.bf16_flops if precision == "bf16" else self.fp32_flops


def _device(*, gb: float, bf16: float, fp32: float, link: float, net: float, usd: float) -> Device:
    """GB, Tflop/s, and GB/s."""
    return Device(
        memory_bytes=gb * 1e9,
        bf16_flops=bf16 * 1e12,
        fp32_flops=fp32 * 1e12,
        link_bytes=link * 1e9,
        network_bytes=net * 1e9,
        dollars=usd,
    )


DEVICES = {
    "A100": _device(gb=80, bf16=312, fp32=19.5, link=300, net=25, usd=1.8),
    "H100": _device(gb=80, bf16=989, fp32=67, link=450, net=50, usd=3.0),
    "H200": _device(gb=141, bf16=989, fp32=67, link=450, net=50, usd=3.8),
    "B200": _device(gb=180, bf16=2250, fp32=75, link=900, net=50, usd=6.0),
    "L40S": _device(gb=48, bf16=362, fp32=91.6, link=32, net=12.5, usd=1.0),
    "RTX4090": _device(gb=24, bf16=165, fp32=82.6, link=32, net=3, usd=0.4),
}
"""By the names that --machines takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machines:
    """So many machines with so many devices of a kind each."""

    nodes: int
    each: int
    kind: str

    @property
    def devices(self) -> int:
        """All of them: a process each."""
        return self.nodes * self.each

    @property
    def device(self) -> Device:
        """One of them."""
        return DEVICES[self.kind]

    @property
    def exchange_bytes(self) -> float:
        """Bytes/s that a device sends while all exchange: the narrowest link counts."""
        return self.device.network_bytes if self.nodes > 1 else self.device.link_bytes


def parse_machines(text: str) -> Machines:
    """Machines out of 8x8xH100: 8 machines with 8 each. Raises ValueError for anything else."""
    found = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,2})x(\w+)", text)
    if found is None:
        raise ValueError(
            f"machines = {text!r}: wanted machines x devices x kind, such as 8x8xH100; kinds: "
            f"{', '.join(DEVICES)}"
        )
    nodes, each, kind = found.groups()
    check_name(DEVICES, kind, setting="machines")
    return Machines(nodes=int(nodes), each=int(each), kind=kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class StageOnMachines:
    """A stage: steps and tokens of all devices; bytes held, bytes sent and seconds a step of one.

    compute_s, exchange_s  seconds of a step for products and for traffic, which overlap
    """

    name: str
    steps: int
    tokens: int
    memory_bytes: int
    sent_bytes: int
    compute_s: float
    exchange_s: float

    @property
    def step_s(self) -> float:
        """Seconds of a step: the longer of the two hides the other."""
        return max(self.compute_s, self.exchange_s)

    @property
    def seconds(self) -> float:
        """Of the whole stage."""
        return self.steps * self.step_s

    @property
    def tokens_per_s(self) -> float:
        """Of all devices."""
        return self.tokens / self.seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class OnMachines:
    """A whole run on machines; teacher and student are numbers of parameters."""

    machines: Machines
    precision: str
    shard: bool
    teacher: int
    student: int
    stages: tuple[StageOnMachines, ...]

    @property
    def peak_share(self) -> float:
        """Of a device's peak, as it is assumed."""
        return PEAK_SHARE

    @property
    def hours(self) -> float:
        """Of training, without loading and evaluation."""
        return sum(stage.seconds for stage in self.stages) / 3600

    @property
    def dollars(self) -> float:
        """For all devices, at the assumed price."""
        return self.hours * self.machines.devices * self.machines.device.dollars

    @property
    def fits(self) -> bool:
        """Whether every stage stays within a device's memory."""
        most = max(stage.memory_bytes for stage in self.stages)
        return most <= self.machines.device.memory_bytes


def on_machines(recipe: Recipe, machines: Machines) -> OnMachines:
    """A recipe on machines, from configurations alone: no weights are read."""
    teacher = outline_teacher_of(recipe)
    config = student_config_of(recipe, teacher)
    check_student(recipe, config)
    with torch.device("meta"):
        sizes = Sizes(GooseForCausalLM(config), teacher)
    return OnMachines(
        machines=machines,
        precision=recipe.train.precision,
        shard=recipe.train.shard,
        teacher=count(teacher.model),
        student=count(sizes.student),
        stages=tuple(
            _stage(recipe, name, table, sizes, machines) for name, table in recipe.trained_stages()
        ),
    )


def _stage(
    recipe: Recipe, name: str, table: StageTable, sizes: Sizes, machines: Machines
) -> StageOnMachines:
    devices, device = machines.devices, machines.device
    per_step = table.tokens_per_step(devices)
    flops = 2 * products_per_token(table, sizes, again=recipe.train.checkpointing)
    sent = _sent(recipe, table, sizes, devices=devices)
    speed = device.flops(recipe.train.precision) * PEAK_SHARE
    held = memory(recipe, table, sizes)
    return StageOnMachines(
        name=name,
        steps=table.steps(devices),
        tokens=table.steps(devices) * per_step,
        memory_bytes=BASE_BYTES + _held(held, sizes, devices=devices if recipe.train.shard else 1),
        sent_bytes=sent,
        compute_s=per_step / devices * flops / speed,
        exchange_s=sent / machines.exchange_bytes,
    )


def _held(whole: Memory, sizes: Sizes, *, devices: int) -> int:
    """Bytes of a device that holds one of so many parts of the student and of a teacher's blocks.

    What is outside of the blocks is put together for the whole step, with its gradient; of the
    mixers and MLPs two, for the next one is fetched while one runs.
    """
    if devices == 1:
        return whole.total
    outside = sizes.teacher_bytes - sizes.teacher_block_bytes
    layers = max(1, sizes.teacher_layers)
    teacher = outside + sizes.teacher_block_bytes / devices + sizes.teacher_block_bytes / layers
    parts = (whole.student + whole.training) / devices
    together = 4 * 2 * (sizes.outside_values + 2 * sizes.half_values)
    return math.ceil(teacher + parts + together + whole.activations + whole.logits)


def _sent(recipe: Recipe, table: StageTable, sizes: Sizes, *, devices: int) -> int:
    """Bytes that a device sends in a step: around a ring, (n - 1) / n of what is put together."""
    ring = (devices - 1) / devices
    trained = 4 * sizes.trained(table)
    if not recipe.train.shard:
        return math.ceil(ring * 2 * trained)
    # Forward, backward, and once more where the forward pass is repeated; gradients of every
    # micro-batch are taken apart at once, for whole ones would not fit.
    passes = 3 if recipe.train.checkpointing else 2
    gathered = passes * 4 * count(sizes.student)
    gathered += sizes.teacher_block_bytes if table.objective().teacher_needs else 0
    return math.ceil(ring * table.accumulate * (gathered + trained))
