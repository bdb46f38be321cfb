"""What a student is set to: the fields of its configuration, which mixers and MLPs read."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedConfig
from transformers.activations import ACT2FN

from asnn_goose.names import check_name
from asnn_goose.shape.limits import Words
from asnn_goose.shape.settings import all_settings, fault, published_ranks, settings_of


class StudentSettings(PreTrainedConfig):
    """Shape and parts of a student; every part of an RWKV mixer can be switched on its own.

    Shape: vocab_size, hidden_size (D), num_hidden_layers (L), num_attention_heads (H),
    head_size (N), intermediate_size of the MLP.

    Mixer (methods: Peng et al. 2025, arXiv 2503.14456):
      mixer            row of `asnn_goose.model.mixers.MIXERS`
      token_shift      mix every input with the token before it
      value_shift      mix every channel of v with the token before it (ours): with `bonus` a head
                       can look one token back without its state
      decay_rank, rate_rank, value_rank, gate_rank   low-rank sizes; 0 takes the published rule
      inner_steps      copies of every token whose spikes spell a number (spiking attention)
      shift_rank       of RWKV-6, whose token shifts follow the data, likewise
      gate             "sigmoid" (published), "one_plus" (ARWKV: starts at exactly 1) or "none";
                       RWKV-5 and 6 have "silu" (published) and "one_plus" as 1 + silu
      v_first          mix the first block's values into later ones: "mix", "detached" (no
                       gradient into the first block, ARWKV) or "none"
      removal_key      separate direction k * k_k for what the state forgets
      key_replacement  scale the written key with the learning rate through k_a
      bonus            the current token's own term through r_k (u in RWKV-4 to 6)
      group_norm       normalise every head's output
      rope             rotate r and k by position (RADLADS), with `rope_theta`
      qk_norm          RMS-normalise r and k per head before that, as Qwen3 does with q and k

    Rest: mlp ("gated" as in Llama, "plain" as in GPT-2, "channel_mix" as in RWKV-7,
    "gated_channel_mix" as in RWKV-4 to 6, "spiking" as in SpikeBERT), hidden_act, norm ("rms",
    "layer" or "none"), norm_eps, embedding_norm (an extra norm on the embedding, as in RWKV),
    biases, tie_word_embeddings; dropout, of the whole stream behind every block, in training;
    n_positions, the learned positions that are added to the embedding (as in GPT-2) and thereby the
    longest context, 0 for none; real_vocab_size, the rows of the vocabulary that a tokenizer can
    produce where the rest is padding, 0 for all.

    Precision: a table from matrices to the fields of `asnn_goose.model.parts.precision.Precision`.
    Keys are a matrix (receptance, key, value, mixer_gate, output; gate, up, down; mlp_key,
    mlp_receptance, mlp_value; in spiking attention queries, keys, values) or "*" for every one of
    them, each with a layer in front where only that one is meant: "12.down", "12.*". The most
    specific wins, field by field. What
    the halves of a block add to the stream may spike as mixer_out and mlp_out, and words as
    `embedding`.

    Raises ValueError that names the setting, the value found and what would be right.
    """

    vocab_size: int = 49152
    hidden_size: int = 576
    num_hidden_layers: int = 30
    num_attention_heads: int = 9
    head_size: int = 64
    intermediate_size: int = 1536

    mixer: str = "rwkv7"
    token_shift: bool = True
    value_shift: bool = False
    decay_rank: int = 0
    rate_rank: int = 0
    value_rank: int = 0
    gate_rank: int = 0
    shift_rank: int = 0
    inner_steps: int = 0
    gate: str = "sigmoid"
    v_first: str = "mix"
    removal_key: bool = True
    key_replacement: bool = True
    bonus: bool = True
    group_norm: bool = True
    rope: bool = False
    rope_theta: float = 10000.0
    qk_norm: bool = False
    qkv_bias: bool = False
    output_bias: bool = False

    mlp: str = "channel_mix"
    hidden_act: str = "silu"
    mlp_bias: bool = False
    norm: str = "layer"
    norm_eps: float = 1e-5
    embedding_norm: bool = True
    tie_word_embeddings: bool = False
    dropout: float = 0.0
    n_positions: int = 0
    real_vocab_size: int = 0
    precision: dict[str, Any] | None = None

    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None
    pad_token_id: int | None = None
    use_cache: bool = True

    def __post_init__(self, **kwargs: Any) -> None:
        for name, rank in published_ranks(self.mixer, width=self.hidden_size).items():
            setattr(self, name, getattr(self, name) or rank)
        self.precision = {} if self.precision is None else self.precision
        super().__post_init__(**kwargs)  # type: ignore[no-untyped-call]
        self._check()

    @property
    def mixer_size(self) -> int:
        """Width inside the mixer: heads times head size."""
        return self.num_attention_heads * self.head_size

    def _check(self) -> None:
        settings = {name: getattr(self, name) for name in all_settings()}
        for name, known in settings_of(settings).items():
            if isinstance(known.student, Words):
                check_name(known.student.words, settings[name], setting=name)
        check_name(ACT2FN, self.hidden_act, setting="hidden_act")
        if (found := fault(settings)) is not None:
            raise ValueError(str(found))
