"""What a student is set to: the fields of its configuration, which mixers and MLPs read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from transformers import PreTrainedConfig
from transformers.activations import ACT2FN

from asnn_goose.names import check_name
from asnn_goose.shape.limits import Words
from asnn_goose.shape.settings import all_settings, completed, fault, settings_of

FIELDS = {name: known.student.kind for name, known in all_settings().items()}
FIELDS["use_cache"] = "bool"  # Transformers' own, which decides nothing that is computed
"""Every setting, and its type."""

if TYPE_CHECKING:

    class _Described(PreTrainedConfig):
        def __getattr__(self, name: str) -> Any: ...

else:
    # Transformers makes a data class of every configuration, so a description becomes fields here.
    _Described = type(
        "_Described",
        (PreTrainedConfig,),
        {name: known.default for name, known in all_settings().items()}
        | {"use_cache": True, "__annotations__": FIELDS, "__module__": __name__},
    )


class StudentSettings(_Described):
    """Shape and parts of a student: the settings, defaults and limits that `shape/` describes.

    What a mixer or an MLP has of its own is said in its file there.

    Shape: vocab_size, hidden_size (D), num_hidden_layers (L), num_attention_heads (H),
    head_size (N), intermediate_size of the MLP.

    Block: norm_place, whether mixer and MLP have their norm "before" them, "after" them (OLMo 2) or
    "both" (Gemma); parallel, whether both read the same residual stream (GPT-NeoX).

    Rest: mixer, a row of `asnn_goose.model.mixers.MIXERS`; mlp ("gated" as in Llama, "plain" as in
    GPT-2, "channel_mix" as in RWKV-7, "gated_channel_mix" as in RWKV-4 to 6, "spiking" as in
    SpikeBERT), hidden_act, norm ("none" too), norm_eps, embedding_norm (an extra norm on the
    embedding, as in RWKV), biases, tie_word_embeddings; dropout, of the whole stream behind every
    block, in training; feedback, whether the last stream comes back into the first (SpikingBERT);
    inner_steps, copies of every token whose spikes spell a number; logit_cap,
    the c of logits c tanh(z / c) (Gemma), 0 for z; n_positions, the learned positions that are
    added to the embedding (as in GPT-2) and thereby the longest context, 0 for none;
    real_vocab_size, the rows of the vocabulary that a tokenizer can produce where the rest is
    padding, 0 for all.

    Precision: a table from matrices to the fields of `asnn_goose.model.parts.precision.Precision`.
    Keys are a matrix (receptance, key, value, mixer_gate, output; gate, up, down; mlp_key,
    mlp_receptance, mlp_value; in spiking attention queries, keys, values) or "*" for every one of
    them, each with a layer in front where only that one is meant: "12.down", "12.*". The most
    specific wins, field by field. What the halves of a block add to the stream may spike as
    mixer_out and mlp_out, and words as `embedding`.

    Raises ValueError that names the setting, the value found and what would be right.
    """

    def __post_init__(self, **kwargs: Any) -> None:
        for name, value in completed(self._settings()).items():
            setattr(self, name, value)
        # A table from here on: everybody else may look up places without asking whether there is
        # one.
        self.precision: Any = {} if self.precision is None else self.precision
        super().__post_init__(**kwargs)  # type: ignore[no-untyped-call]
        self._check()

    @property
    def mixer_size(self) -> int:
        """Width inside the mixer: heads times head size."""
        return int(self.num_attention_heads * self.head_size)

    def _settings(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in all_settings()}

    def _check(self) -> None:
        settings = self._settings()
        for name, known in settings_of(settings).items():
            if isinstance(known.student, Words):
                check_name(known.student.words, settings[name], setting=name)
        check_name(ACT2FN, self.hidden_act, setting="hidden_act")
        if (found := fault(settings)) is not None:
            raise ValueError(str(found))
