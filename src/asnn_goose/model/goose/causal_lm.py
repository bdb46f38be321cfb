"""The Goose student as a Transformers causal language model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast

from asnn_goose.model.goose.block import BlockOutput, GooseBlock, tell_share
from asnn_goose.model.goose.cache import CACHE_FIELD, GooseCache
from asnn_goose.model.goose.config import GooseConfig, check_words
from asnn_goose.model.goose.feedback import Feedback, last, outputs
from asnn_goose.model.goose.generation import RecurrentGeneration
from asnn_goose.model.goose.initialise import initialise
from asnn_goose.model.goose.inner_steps import InnerSteps
from asnn_goose.model.goose.kept import Kept
from asnn_goose.model.goose.next_token import next_token_loss
from asnn_goose.model.mixers.mixer import MixerOutput
from asnn_goose.model.neurons import Neuron
from asnn_goose.model.parts.membranes import Membranes
from asnn_goose.model.parts.norm import make_norm
from asnn_goose.model.parts.positions import learned_positions
from asnn_goose.model.parts.precision_table import EMBEDDING, HEAD, OUTSIDE, PrecisionTable
from asnn_goose.model.parts.state import BlockState
from asnn_goose.model.parts.window import placed, positions, window_mask
from asnn_goose.trace import PLACES, Trace, Window, capped


class GooseForCausalLM(PreTrainedModel, RecurrentGeneration, GenerationMixin):
    """A recurrent student: constant memory at any length, no key-value cache.

    `forward` is what Transformers expects; `trace` and `drive` are what distillation uses.
    """

    config: GooseConfig
    config_class = GooseConfig
    blocks: Sequence[GooseBlock]
    embedding: nn.Embedding
    base_model_prefix = ""
    supports_gradient_checkpointing = True
    _is_stateful = True
    _no_split_modules = ["GooseBlock"]  # noqa: RUF012 - Transformers reads a plain list
    embedding_neuron: Neuron | None
    head_neuron: Neuron | None
    _tied_weights_keys = {"lm_head.weight": "embedding.weight"}  # noqa: RUF012 - likewise

    def __init__(self, config: GooseConfig) -> None:
        config.check_precision()
        super().__init__(config)
        self.embedding = nn.Embedding(config.vocab_size, config.hidden_size)
        self.positions = learned_positions(config)
        norm = partial(make_norm, config.norm, config.hidden_size, eps=config.norm_eps)
        self.embedding_norm = norm() if config.embedding_norm else None
        self.feedback = Feedback(config.hidden_size) if config.feedback else None
        blocks = [GooseBlock(config, layer=layer) for layer in range(config.num_hidden_layers)]
        self.blocks = cast(Sequence[GooseBlock], nn.ModuleList(blocks))
        self.final_norm = norm()
        self._set_outside(PrecisionTable(config.precision), None)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.gradient_checkpointing = False
        self.inner_steps = InnerSteps(config.inner_steps)
        self.post_init()  # type: ignore[no-untyped-call]
        # from_pretrained builds without memory and brings the weights.
        if not self.embedding.weight.is_meta:
            initialise(self)

    def _init_weights(self, module: nn.Module) -> None:
        """Nothing: the published initialisation depends on depth and is made in one piece."""

    @property
    def signals(self) -> frozenset[str]:
        """Names of the signals that its mixers give to losses."""
        return self.blocks[0].mixer.signals

    @property
    def outline(self) -> Trace:
        """A Trace of no tokens: the sizes that losses must know before the first one."""
        width, size = self.config.hidden_size, self.config.head_size
        return Trace(width=width, head_size=size, blocks=len(self.blocks))

    def get_input_embeddings(self) -> nn.Module:
        """The token embedding."""
        return self.embedding

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the token embedding."""
        self.embedding = cast(nn.Embedding, value)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        past_key_values: GooseCache | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int = 0,
        output_hidden_states: bool = False,
        return_dict: bool = True,
        cache: GooseCache | None = None,
    ) -> CausalLMOutputWithPast | tuple[Any, ...]:
        """Logits of the next token.

        input_ids (B,T) or inputs_embeds (B,T,D); attention_mask (B, tokens so far) with zeros
        only on the left; past_key_values a GooseCache, or None for a start; labels (B,T) add the
        cross-entropy of predicting label t+1 at t; logits_to_keep: only the last ones, 0 for all.
        From 5.24 on Transformers calls past_key_values `cache`, here and in the result.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("pass exactly one of input_ids and inputs_embeds")
        x_BTD = self.embedding(input_ids) if inputs_embeds is None else inputs_embeds
        wanted = self.config.use_cache and not self.training
        use_cache = wanted if use_cache is None else use_cache
        given = past_key_values if cache is None else cache
        cache = GooseCache() if given is None else given
        mask_BT = window_mask(attention_mask, x_BTD.shape[1])
        position_BT = positions(cache.position_B, mask_BT, x_BTD)
        window = Window(mask_BT=mask_BT, position_BT=position_BT)
        x_BTD = self._embed(x_BTD, position_BT)
        hidden, states = [x_BTD], list[BlockState]()
        for output in self._blocks(x_BTD, cache.blocks, window):
            x_BTD = output.x_BTD
            hidden = [*hidden, x_BTD] if output_hidden_states else [x_BTD]
            if use_cache:
                states.append(output.state)
        membranes = Membranes(window, cache.head)
        logits = self._logits(x_BTD, membranes, last=logits_to_keep)
        if use_cache:
            cache.advance(tuple(states), membranes.after, position_BT[:, -1] + 1, x_BTD.shape[1])
        fields: dict[str, Any] = {
            "loss": None if labels is None else next_token_loss(logits, labels),
            "logits": logits,
            "hidden_states": tuple(hidden) if output_hidden_states else None,
            CACHE_FIELD: cache if use_cache else None,
        }
        result = CausalLMOutputWithPast(**fields)
        return result if return_dict else result.to_tuple()

    def trace(
        self, tokens_BT: Tensor, needs: frozenset[str], *, window: Window | None = None
    ) -> Trace:
        """Run on tokens (B,T) from an empty state; keep what `needs` names.

        needs   of trace.PLACES, and of the mixers' `signals`
        window  how the tokens lie: the state is empty again at the start of every document
        Raises ValueError for another need.
        """
        if beyond := sorted(needs - PLACES - self.signals):
            known = ", ".join(sorted(PLACES | self.signals))
            raise ValueError(f"needs {beyond}: a student of {self.config.mixer!r} gives {known}")
        x_BTD = self.embedding(tokens_BT)
        window = placed(window, x_BTD)
        x_BTD = self._embed(x_BTD, window.position_BT)
        kept = Kept(needs, signals=self.signals, embedded=x_BTD)
        for output in self._blocks(x_BTD, (), window):
            x_BTD = output.x_BTD
            kept.add(output)
        fields = kept.fields()
        if "embedding" in needs:
            fields["embedding_VD"] = self.embedding.weight
        if "vocab" in needs:
            final_BTD = self._head_input(self.final_norm(x_BTD), Membranes(window))
            fields |= {"final_BTD": final_BTD, "head_VD": self._head_VD()}
            fields |= {"final_norm": self.final_norm, "logit_cap": self.config.logit_cap}
        return replace(self.outline, window=window, **fields)

    def drive(self, mixer_in: tuple[Tensor, ...], *, window: Window | None = None) -> Trace:
        """Run every mixer alone on the given inputs (L of B,T,D), such as a teacher's.

        The Trace holds mixer_in, mixer_out and the mixers' signals; no MLP and no head runs.
        """
        if len(mixer_in) != len(self.blocks):
            raise ValueError(f"{len(mixer_in)} inputs for {len(self.blocks)} blocks: give one each")
        window = placed(window, mixer_in[0])
        carry, outputs = None, list[MixerOutput]()
        steps, copied = self.inner_steps, self.inner_steps.window(window)
        for block, x_BTD in zip(self.blocks, mixer_in, strict=True):
            mixed = self._call(block.mixed, steps.spread(x_BTD), carry, copied)
            # RWKV-7's first values are handed on, although the inputs are the teacher's.
            carry = mixed.carry
            outputs.append(steps.mixed(mixed))
        return replace(
            self.outline,
            window=window,
            signals={name: tuple(one.signals[name] for one in outputs) for name in self.signals},
            mixer_in=mixer_in,
            mixer_out=tuple(one.out_BTD for one in outputs),
        )

    def drive_blocks(
        self,
        hidden: tuple[Tensor, ...],
        mixer_out: tuple[Tensor, ...],
        *,
        window: Window | None = None,
    ) -> Trace:
        """Run every mixer and every MLP alone, with its norm, on another model's residual stream.

        hidden  its embedding and block outputs (L + 1 of B,T,D); mixer_out what its mixers give (L)
        The Trace holds mixer_out and mlp_out; no head runs.
        """
        if len(mixer_out) != len(self.blocks):
            raise ValueError(f"{len(mixer_out)} layers for {len(self.blocks)} blocks: give as many")
        window = placed(window, hidden[0])
        carry, mixers, mlps = None, list[Tensor](), list[Tensor]()
        steps, copied = self.inner_steps, self.inner_steps.window(window)
        for block, *stream in zip(self.blocks, hidden[:-1], mixer_out, strict=True):
            mixed, out_BTD = self._call(block.local, *map(steps.spread, stream), carry, copied)
            carry = mixed.carry
            mixers.append(steps.mean(mixed.out_BTD))
            mlps.append(steps.mean(out_BTD))
        return replace(self.outline, window=window, mixer_out=tuple(mixers), mlp_out=tuple(mlps))

    def set_precision(self, precision: Mapping[str, Any]) -> None:
        """Change which matrices are ternary and which inputs spike; weights change basis with it.

        Methods and neurons that stay as they are keep what they have learned. Raises ValueError
        for a table that does not fit, and changes nothing then.
        """
        # Checked as a whole before the first matrix changes: half of a table is no precision.
        before = self.config.precision
        try:
            check_words(precision)
            table = PrecisionTable(precision)
            self.config.precision = table.to_json()
            self.config.check_precision()
        except ValueError:
            self.config.precision = before
            raise
        self._set_outside(table, PrecisionTable(before))
        for layer, block in enumerate(self.blocks):
            block.set_precision(table, layer=layer)

    def _set_outside(self, table: PrecisionTable, before: PrecisionTable | None) -> None:
        """Neurons of embedding and head, where their precision is another one than `before`."""
        for place in OUTSIDE:
            if before is None or table.of(place) != before.of(place):
                setattr(self, f"{place}_neuron", table.of(place).spikes(self.config.hidden_size))
        if before is not None:
            self.train(self.training).to(self.embedding.weight.device)

    def anneal(self, share: float) -> None:
        """Tell every ternary method and neuron what share of the stage is done."""
        tell_share(self, share)

    def _logits(self, x_BTD: Tensor, membranes: Membranes, *, last: int) -> Tensor:
        """Logits of the last rows, of all for 0; those that no tokenizer produces are impossible.

        A neuron that carries a state must see every row, whichever are wanted.
        """
        if self.head_neuron is not None and self.head_neuron.stateful:
            x_BTD = self._head_input(self.final_norm(x_BTD), membranes)[:, -last:]
        else:
            x_BTD = self._head_input(self.final_norm(x_BTD[:, -last:]), membranes)
        logits_BTV = capped(self.lm_head(x_BTD), self.config.logit_cap)
        if self.config.real_vocab_size:
            logits_BTV[..., self.config.real_vocab_size :] = -torch.inf
        return logits_BTV

    def _head_input(self, normed_BTD: Tensor, membranes: Membranes) -> Tensor:
        return membranes.spikes(HEAD, self.head_neuron, normed_BTD)

    def _head_VD(self) -> Tensor:
        """Rows of the head that a tokenizer can produce: losses see no others."""
        rows = self.config.real_vocab_size
        weight_VD: Tensor = self.lm_head.weight
        return weight_VD[:rows] if rows else weight_VD

    def _embed(self, x_BTD: Tensor, position_BT: Tensor | None) -> Tensor:
        if self.positions is not None:
            x_BTD = x_BTD + self.positions(position_BT)
        x_BTD = Membranes(Window()).spikes(EMBEDDING, self.embedding_neuron, x_BTD)
        return x_BTD if self.embedding_norm is None else self.embedding_norm(x_BTD)

    def _blocks(
        self, x_BTD: Tensor, states: tuple[BlockState, ...], window: Window
    ) -> Iterator[BlockOutput]:
        """Outputs of the blocks one by one, so that a caller holds only what it needs."""
        run = partial(
            outputs, self.blocks, self.inner_steps, self._call, states=states, window=window
        )
        if self.feedback is not None:
            x_BTD = self.feedback(x_BTD, lambda a_BTD: last(run(a_BTD)))
        return run(x_BTD)

    def _call(self, module: Callable[..., Any], *inputs: Any) -> Any:
        """Call a block or mixer, recomputing it in the backward pass if so set."""
        if self.gradient_checkpointing and torch.is_grad_enabled():
            return self._gradient_checkpointing_func(module, *inputs)
        return module(*inputs)
