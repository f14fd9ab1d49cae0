"""all-MiniLM-L6-v2 as an OpenVINO graph, built straight from the published safetensors file.

BERT as in Devlin et al. 2018 (arXiv:1810.04805) with mean pooling over the tokens and unit length as in
Reimers and Gurevych 2019 (arXiv:1908.10084). No converter and no second copy of the weights on disk.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from app.providers.embedding.weights import Tensor

DIMENSIONS = 384
HEADS = 12
LAYERS = 6
EPSILON = 1e-12


def build(tensor: Callable[[str], Tensor]) -> Any:
    """An `openvino.Model`: ids and mask, both int32 (n, length), to float32 (n, 384) unit rows.

    It refers to the tensors' memory, so whoever owns it must outlive the model and all compiled from it.
    """
    return _Graph(tensor).model()


class _Graph:
    def __init__(self, tensor: Callable[[str], Tensor]) -> None:
        import openvino
        from openvino import opset13

        self.openvino, self.op, self.tensor = openvino, opset13, tensor

    def model(self) -> Any:
        op = self.op
        ids = op.parameter([-1, -1], np.int32, name="ids")
        mask = op.parameter([-1, -1], np.int32, name="mask")
        kept = op.convert(mask, np.float32)
        bias = op.multiply(op.subtract(kept, self._number(1)), self._number(1e4))
        bias = op.unsqueeze(bias, self._index([1, 2]))
        hidden = self._embeddings(ids)
        for layer in range(LAYERS):
            hidden = self._layer(hidden, bias, f"encoder.layer.{layer}.")
        return self.openvino.Model([self._pooled(hidden, kept)], [ids, mask], "all-MiniLM-L6-v2")

    def _embeddings(self, ids: Any) -> Any:
        op, names = self.op, "embeddings."
        words = op.gather(self._constant(names + "word_embeddings.weight"), ids, self._index(0))
        # All our inputs are of the first segment, so its vector is part of every position's.
        places = self.tensor(names + "position_embeddings.weight")
        places = places + self.tensor(names + "token_type_embeddings.weight")[0]
        length = op.gather(op.shape_of(ids, "i32"), self._index([1]), self._index(0))
        first = op.slice(op.constant(places), self._index([0]), length, self._index([1]), self._index([0]))
        return self._normed(op.add(words, first), names + "LayerNorm")

    def _layer(self, hidden: Any, bias: Any, name: str) -> Any:
        op, attention = self.op, name + "attention."
        query, key, value = (self._heads(hidden, f"{attention}self.{part}") for part in ("query", "key", "value"))
        context = op.scaled_dot_product_attention(query, key, value, bias)
        context = op.transpose(context, self._index([0, 2, 1, 3]))
        context = op.reshape(context, self._index([0, 0, DIMENSIONS]), special_zero=True)
        context = self._dense(context, attention + "output.dense")
        hidden = self._normed(op.add(context, hidden), attention + "output.LayerNorm")
        wide = op.gelu(self._dense(hidden, name + "intermediate.dense"), "erf")
        narrow = self._dense(wide, name + "output.dense")
        return self._normed(op.add(narrow, hidden), name + "output.LayerNorm")

    def _heads(self, hidden: Any, name: str) -> Any:
        """(n, heads, length, 32)"""
        shape = self._index([0, 0, HEADS, DIMENSIONS // HEADS])
        split = self.op.reshape(self._dense(hidden, name), shape, special_zero=True)
        return self.op.transpose(split, self._index([0, 2, 1, 3]))

    def _pooled(self, hidden: Any, kept: Any) -> Any:
        op = self.op
        weights = op.unsqueeze(kept, self._index([2]))
        total = op.reduce_sum(op.multiply(hidden, weights), self._index([1]))
        # A sum points where the mean points: the length is set to one anyway.
        return op.normalize_l2(total, self._index([1]), 1e-12, "max")

    def _dense(self, x: Any, name: str) -> Any:
        product = self.op.matmul(x, self._constant(name + ".weight"), False, True)
        return self.op.add(product, self._constant(name + ".bias"))

    def _normed(self, x: Any, name: str) -> Any:
        flat = self.op.mvn(x, self._index([-1]), True, EPSILON, "inside_sqrt")
        scaled = self.op.multiply(flat, self._constant(name + ".weight"))
        return self.op.add(scaled, self._constant(name + ".bias"))

    def _constant(self, name: str) -> Any:
        return self.op.constant(self.tensor(name), shared_memory=True)

    def _index(self, value: int | list[int]) -> Any:
        return self.op.constant(np.array(value, np.int32))

    def _number(self, value: float) -> Any:
        return self.op.constant(np.array(value, np.float32))
