"""The Goose student as a Transformers causal language model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast

from asnn_goose.model.goose.block import BlockOutput, GooseBlock, make_norm
from asnn_goose.model.goose.cache import CACHE_FIELD, GooseCache
from asnn_goose.model.goose.config import GooseConfig
from asnn_goose.model.goose.initialise import initialise
from asnn_goose.model.goose.state import BlockState
from asnn_goose.trace import IGNORED_LABEL, NEEDS, Trace


class GooseForCausalLM(PreTrainedModel, GenerationMixin):
    """RWKV-7 student: constant memory at any length, no key-value cache.

    `forward` is what Transformers expects; `trace` and `drive` are what distillation uses.
    A new model has the published RWKV-7 initialisation.
    """

    config: GooseConfig
    config_class = GooseConfig
    blocks: Sequence[GooseBlock]
    embedding: nn.Embedding
    base_model_prefix = ""
    supports_gradient_checkpointing = True
    _is_stateful = True
    _no_split_modules = ["GooseBlock"]  # noqa: RUF012 - Transformers reads a plain list
    _tied_weights_keys = {"lm_head.weight": "embedding.weight"}  # noqa: RUF012 - likewise

    def __init__(self, config: GooseConfig) -> None:
        config.check_precision()
        super().__init__(config)
        self.embedding = nn.Embedding(config.vocab_size, config.hidden_size)
        self.embedding_norm = make_norm(config) if config.embedding_norm else None
        blocks = [GooseBlock(config, layer=layer) for layer in range(config.num_hidden_layers)]
        self.blocks = cast(Sequence[GooseBlock], nn.ModuleList(blocks))
        self.final_norm = make_norm(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.gradient_checkpointing = False
        self.post_init()  # type: ignore[no-untyped-call]
        if not self.embedding.weight.is_meta:
            initialise(self)

    def _init_weights(self, module: nn.Module) -> None:
        """Nothing: the published initialisation depends on depth and is made in one piece."""

    @classmethod
    def _supports_default_dynamic_cache(cls) -> bool:
        return False

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
        x_BTD = self._embed(self.embedding(input_ids) if inputs_embeds is None else inputs_embeds)
        use_cache = (
            (self.config.use_cache and not self.training) if use_cache is None else use_cache
        )
        given = past_key_values if cache is None else cache
        cache = GooseCache() if given is None else given
        mask_BT = window_mask(attention_mask, x_BTD.shape[1])
        position_BT = positions(cache.position_B, mask_BT, x_BTD)

        hidden, states = [x_BTD], list[BlockState]()
        for output in self._blocks(x_BTD, cache.blocks, mask_BT, position_BT):
            x_BTD = output.x_BTD
            hidden = [*hidden, x_BTD] if output_hidden_states else [x_BTD]
            if use_cache:
                states.append(output.state)
        if use_cache:
            cache.advance(tuple(states), position_BT[:, -1] + 1, x_BTD.shape[1])
        logits = self.lm_head(self.final_norm(x_BTD[:, -logits_to_keep:]))
        fields: dict[str, Any] = {
            "loss": None if labels is None else next_token_loss(logits, labels),
            "logits": logits,
            "hidden_states": tuple(hidden) if output_hidden_states else None,
            CACHE_FIELD: cache if use_cache else None,
        }
        result = CausalLMOutputWithPast(**fields)
        return result if return_dict else result.to_tuple()

    def trace(self, tokens_BT: Tensor, needs: frozenset[str]) -> Trace:
        """Run on tokens (B,T) from an empty state; keep what `needs` names (trace.NEEDS)."""
        check_needs(needs)
        x_BTD = self._embed(self.embedding(tokens_BT))
        kept: dict[str, list[Tensor]] = {name: [] for name in needs - {"vocab"}}
        if "hidden" in needs:
            kept["hidden"].append(x_BTD)
        for output in self._blocks(x_BTD, (), None, positions(None, None, x_BTD)):
            x_BTD = output.x_BTD
            for name, tensors in kept.items():
                tensors.append(_CAPTURE[name](output))
        vocab = "vocab" in needs
        return Trace(
            final_BTD=self.final_norm(x_BTD) if vocab else None,
            head_VD=self.lm_head.weight if vocab else None,
            **{name: tuple(tensors) for name, tensors in kept.items()},
        )

    def drive(self, mixer_in: tuple[Tensor, ...]) -> Trace:
        """Run every mixer alone on the given inputs (L of B,T,D), such as a teacher's.

        The Trace holds mixer_in, mixer_out, queries, keys and values; no MLP and no head runs.
        """
        if len(mixer_in) != len(self.blocks):
            raise ValueError(f"{len(mixer_in)} inputs for {len(self.blocks)} blocks: give one each")
        v_first_BTD, outputs = None, []
        for block, x_BTD in zip(self.blocks, mixer_in, strict=True):
            position_BT = positions(None, None, x_BTD)
            output = self._call(block.mixer, x_BTD, v_first_BTD, None, None, position_BT)
            v_first_BTD = output.v_first_BTD
            outputs.append(output)
        return Trace(
            mixer_in=mixer_in,
            mixer_out=tuple(o.out_BTD for o in outputs),
            queries=tuple(o.receptance_BTHN for o in outputs),
            keys=tuple(o.key_BTHN for o in outputs),
            values=tuple(o.value_BTHN for o in outputs),
        )

    def _embed(self, x_BTD: Tensor) -> Tensor:
        return x_BTD if self.embedding_norm is None else self.embedding_norm(x_BTD)

    def _blocks(
        self,
        x_BTD: Tensor,
        states: tuple[BlockState, ...],
        mask_BT: Tensor | None,
        position_BT: Tensor,
    ) -> Iterator[BlockOutput]:
        """Outputs of the blocks one by one, so that a caller holds only what it needs."""
        v_first_BTD = None
        for layer, block in enumerate(self.blocks):
            state = states[layer] if states else None
            output = self._call(block, x_BTD, v_first_BTD, state, mask_BT, position_BT)
            x_BTD, v_first_BTD = output.x_BTD, output.mixer.v_first_BTD
            yield output

    def _call(self, module: nn.Module, *inputs: Any) -> Any:
        """Call a block or mixer, recomputing it in the backward pass if so set."""
        if self.gradient_checkpointing and torch.is_grad_enabled():
            return self._gradient_checkpointing_func(module.__call__, *inputs)
        return module(*inputs)


_CAPTURE: dict[str, Callable[[BlockOutput], Tensor]] = {
    "hidden": lambda output: output.x_BTD,
    "mixer_in": lambda output: output.mixer_in_BTD,
    "mixer_out": lambda output: output.mixer.out_BTD,
    "queries": lambda output: output.mixer.receptance_BTHN,
    "keys": lambda output: output.mixer.key_BTHN,
    "values": lambda output: output.mixer.value_BTHN,
}


def check_needs(needs: frozenset[str]) -> None:
    """Raise ValueError where a need is not one of trace.NEEDS."""
    if not needs <= NEEDS:
        raise ValueError(f"needs {sorted(needs - NEEDS)}: choose among {sorted(NEEDS)}")


def window_mask(attention_mask: Tensor | None, length: int) -> Tensor | None:
    """Mask (B, length) of the newest positions as bool, or None where nothing is padding.

    Raises ValueError where padding stands right of a token: it would enter the state.
    """
    if attention_mask is None:
        return None
    mask_BT = attention_mask[:, -length:].bool()
    if bool(mask_BT.all()):
        return None
    if bool((mask_BT[:, :-1] & ~mask_BT[:, 1:]).any()):
        raise ValueError(
            "attention_mask has padding right of a token, which a recurrence would remember: "
            "pad on the left (tokenizer.padding_side = 'left')"
        )
    return mask_BT


def positions(seen_B: Tensor | None, mask_BT: Tensor | None, x_BTD: Tensor) -> Tensor:
    """Position (B,T) of every token, counted from the first real one of its sequence."""
    batch, length = x_BTD.shape[:2]
    if mask_BT is None:
        step_BT = torch.arange(length, device=x_BTD.device).expand(batch, length)
    else:
        step_BT = (mask_BT.long().cumsum(1) - 1).clamp_min(0)
    return step_BT if seen_B is None else step_BT + seen_B.unsqueeze(1)


def next_token_loss(logits_BTV: Tensor, labels_BT: Tensor) -> Tensor:
    """Mean cross-entropy in nats of predicting labels[:, t+1] at position t."""
    return F.cross_entropy(
        logits_BTV[:, :-1].flatten(0, 1).float(),
        labels_BT[:, 1:].flatten(),
        ignore_index=IGNORED_LABEL,
    )
