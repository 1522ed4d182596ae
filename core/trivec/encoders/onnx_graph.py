"""The forward pass as an ONNX graph, whose tensors lie in a file beside it.

Linear layers work on the tokens of all texts, laid end to end without padding. Attention takes them
as one padded block; if no text of a batch is shorter than another, it needs no mask, and its memory
does not grow with the square of the length.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import BinaryIO

import numpy as np
import onnx
from onnx import TensorProto, helper

from trivec.encoders.architecture import Architecture
from trivec.encoders.onnx_files import OPSET
from trivec.rows import Float

IR_VERSION = 8  # the one of opset 17
ALIGNMENT = 4096  # bytes; the runtime maps tensors from the file
# The operators of ONNX Runtime that add the bias and apply the activation in one step.
ACTIVATIONS: Mapping[str, str] = {
    "gelu": "BiasGelu",
    "gelu_new": "FastGelu",
    "gelu_pytorch_tanh": "FastGelu",
    "relu": "Relu",
}
_RUNTIME = "com.microsoft"

Read = Callable[[str], Float]
Layer = tuple[Float, Float]


class _Graph:
    """Nodes and tensors; the values of float tensors go to a file at once."""

    def __init__(self, data: BinaryIO, data_name: str) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: list[onnx.TensorProto] = []
        self._data = data
        self._data_name = data_name
        self._names = 0

    def name(self) -> str:
        self._names += 1
        return f"v{self._names}"

    def add(self, operator: str, *inputs: str, domain: str = "", **attributes: object) -> str:
        """Add a node with one output; return the output's name."""
        output = self.name()
        self.nodes.append(_node(operator, inputs, output, domain, attributes))
        return output

    def constant(self, *values: int) -> str:
        """Add integers, int64 (n,)."""
        name = self.name()
        self.tensors.append(helper.make_tensor(name, TensorProto.INT64, [len(values)], values))
        return name

    def scalar(self, value: int) -> str:
        name = self.name()
        self.tensors.append(helper.make_tensor(name, TensorProto.INT64, [], [value]))
        return name

    def weight(self, values: Float) -> str:
        """Write a float32 tensor to the file."""
        name = self.name()
        values = np.ascontiguousarray(values, "<f4")
        self._data.write(b"\0" * (-self._data.tell() % ALIGNMENT))
        tensor = TensorProto(
            name=name,
            data_type=TensorProto.FLOAT,
            dims=values.shape,
            data_location=TensorProto.EXTERNAL,
        )
        entries = {
            "location": self._data_name,
            "offset": str(self._data.tell()),
            "length": str(values.nbytes),
        }
        for key, value in entries.items():
            tensor.external_data.add(key=key, value=value)
        self._data.write(values.data)
        self.tensors.append(tensor)
        return name


def build(
    architecture: Architecture,
    read: Read,
    *,
    sparse: Layer | None,
    colbert: Layer | None,
    data: BinaryIO,
    data_name: str,
) -> onnx.ModelProto:
    """Return a model with the inputs input_ids and attention_mask, int64 (texts, length).

    Padding must follow each text. The outputs have a row for each token, without padding, text by
    text: `states` (tokens, hidden), the last hidden states; `weights` (tokens,), lexical weights of
    all tokens, special ones too; `tokens` (tokens, dimension), unit token vectors.

    Args:
        architecture: The backbone's dimensions.
        read: Returns a tensor by its name in an `XLMRobertaModel`.
        sparse: Weight (1, hidden) and bias (1,) of the lexical weights, or None.
        colbert: Weight (dimension, hidden) and bias of the token vectors, or None.
        data: Where the tensors are written.
        data_name: The name of that file beside the model.
    """
    graph = _Graph(data, data_name)
    layout = _Layout(graph)
    states = _embed(graph, layout, architecture, read)
    for number in range(architecture.layers):
        states = _layer(graph, layout, architecture, read, f"encoder.layer.{number}", states)
    outputs = {"states": (graph.add("Identity", states), [architecture.hidden])}
    if sparse is not None:
        weights = graph.add("Relu", _linear(graph, states, *sparse))
        outputs["weights"] = graph.add("Squeeze", weights, graph.constant(1)), []
    if colbert is not None:
        vectors = _linear(graph, states, *colbert)
        # As torch.nn.functional.normalize.
        least = graph.weight(np.array([1e-12], np.float32))
        lengths = graph.add("Max", graph.add("ReduceL2", vectors, axes=[1], keepdims=1), least)
        outputs["tokens"] = graph.add("Div", vectors, lengths), [len(colbert[1])]
    for name, (value, _) in outputs.items():
        graph.nodes.append(helper.make_node("Identity", [value], [name]))
    made = helper.make_graph(
        graph.nodes,
        "trivec",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["texts", "length"])
            for name in ("input_ids", "attention_mask")
        ],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["tokens", *width])
            for name, (_, width) in outputs.items()
        ],
        initializer=graph.tensors,
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(_RUNTIME, 1)]
    return helper.make_model(
        made, opset_imports=opsets, ir_version=IR_VERSION, producer_name="trivec"
    )


class _Layout:
    """Where the tokens of the packed rows are in the padded block (texts, length)."""

    def __init__(self, graph: _Graph) -> None:
        self.shape = graph.add("Shape", "attention_mask")
        self.flat = graph.constant(-1)
        mask = graph.add("Cast", "attention_mask", to=TensorProto.BOOL)
        places = graph.add("NonZero", graph.add("Reshape", mask, self.flat))
        self.places = graph.add("Squeeze", places, graph.constant(0))  # (tokens,)
        self.place_rows = graph.add("Unsqueeze", self.places, graph.constant(1))
        self.cells = graph.add("ReduceProd", self.shape, axes=[0], keepdims=1)
        self.is_full = graph.add("Equal", graph.add("Shape", self.places), self.cells)
        self.is_full = graph.add("Squeeze", self.is_full)
        self.mask = graph.add("Cast", "attention_mask", to=TensorProto.INT32)

    def packed(self, graph: _Graph, padded: str) -> str:
        """Return the rows of the tokens of an integer matrix (texts, length)."""
        return graph.add("Gather", graph.add("Reshape", padded, self.flat), self.places)


def _embed(graph: _Graph, layout: _Layout, architecture: Architecture, read: Read) -> str:
    if architecture.padding is None:
        counted = "attention_mask"
        last = graph.scalar(-1)
        positions = graph.add("Add", graph.add("CumSum", counted, graph.scalar(1)), last)
    else:  # padding tokens in a text are not counted, as in transformers
        padding = graph.scalar(architecture.padding)
        same = graph.add("Equal", "input_ids", padding)
        counted = graph.add("Cast", graph.add("Not", same), to=TensorProto.INT64)
        total = graph.add("CumSum", counted, graph.scalar(1))
        positions = graph.add("Add", graph.add("Mul", total, counted), padding)
    words = graph.weight(read("embeddings.word_embeddings.weight"))
    # A text that stands alone has the token type 0.
    types = read("embeddings.token_type_embeddings.weight")[0]
    places = graph.weight(read("embeddings.position_embeddings.weight") + types)
    states = graph.add(
        "Add",
        graph.add("Gather", words, layout.packed(graph, "input_ids")),
        graph.add("Gather", places, layout.packed(graph, positions)),
    )
    return graph.add(
        "LayerNormalization",
        states,
        *_norm(graph, read, "embeddings.LayerNorm"),
        axis=-1,
        epsilon=architecture.epsilon,
    )


def _norm(graph: _Graph, read: Read, name: str) -> tuple[str, str]:
    return graph.weight(read(f"{name}.weight")), graph.weight(read(f"{name}.bias"))


def _layer(
    graph: _Graph,
    layout: _Layout,
    architecture: Architecture,
    read: Read,
    name: str,
    states: str,
) -> str:
    def product(inputs: str, layer: str) -> tuple[str, str]:
        """Return the product with a layer's weight, and the bias that is to be added."""
        weight = graph.weight(read(f"{name}.{layer}.weight").T)
        return graph.add("MatMul", inputs, weight), graph.weight(read(f"{name}.{layer}.bias"))

    def normalised(inputs: str, layer: str, skipped: str) -> str:
        value, bias = product(inputs, f"{layer}.dense")
        norm = _norm(graph, read, f"{name}.{layer}.LayerNorm")
        return graph.add(
            "SkipLayerNormalization",
            *(value, skipped, *norm, bias),
            domain=_RUNTIME,
            epsilon=architecture.epsilon,
        )

    parts = ("query", "key", "value")
    inputs = [
        graph.add("MatMul", states, graph.weight(read(f"{name}.attention.self.{part}.weight").T))
        for part in parts
    ]
    biases = [read(f"{name}.attention.self.{part}.bias") for part in parts]
    attended = _attention(graph, layout, architecture, inputs, graph.weight(np.concatenate(biases)))
    states = normalised(attended, "attention.output", states)
    wide, bias = product(states, "intermediate.dense")
    operator = ACTIVATIONS[architecture.activation]
    if operator == "Relu":
        wide = graph.add("Relu", graph.add("Add", wide, bias))
    else:
        wide = graph.add(operator, wide, bias, domain=_RUNTIME)
    return normalised(wide, "output", states)


def _attention(
    graph: _Graph, layout: _Layout, architecture: Architecture, inputs: list[str], bias: str
) -> str:
    """Return the attended states of the packed tokens, (tokens, hidden)."""
    hidden = architecture.hidden
    width = graph.constant(hidden)
    block = graph.add("Concat", layout.shape, width, axis=0)
    rows = graph.constant(-1, hidden)

    def branch(padded: bool) -> onnx.GraphProto:
        inner = _Inner(graph)
        given = inputs
        mask: list[str] = []
        if padded:
            shape = inner.add("Concat", layout.cells, width, axis=0)
            zeros = inner.add("ConstantOfShape", shape)
            given = [inner.add("ScatterND", zeros, layout.place_rows, part) for part in inputs]
            mask = [layout.mask]
        blocks = [inner.add("Reshape", part, block) for part in given]
        attended = inner.add(
            "MultiHeadAttention",
            *(*blocks, bias, *mask),
            domain=_RUNTIME,
            num_heads=architecture.heads,
        )
        result = inner.add("Reshape", attended, rows)
        if padded:
            result = inner.add("Gather", result, layout.places)
        output = helper.make_tensor_value_info(result, TensorProto.FLOAT, None)
        return helper.make_graph(inner.nodes, graph.name(), [], [output])

    return graph.add("If", layout.is_full, then_branch=branch(False), else_branch=branch(True))


class _Inner:
    """The nodes of a branch, which may use all values of the graph around it."""

    def __init__(self, outer: _Graph) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self._outer = outer

    def add(self, operator: str, *inputs: str, domain: str = "", **attributes: object) -> str:
        """Add a node with one output; return the output's name."""
        output = self._outer.name()
        self.nodes.append(_node(operator, inputs, output, domain, attributes))
        return output


def _node(
    operator: str,
    inputs: Sequence[str],
    output: str,
    domain: str,
    attributes: Mapping[str, object],
) -> onnx.NodeProto:
    node = helper.make_node(operator, inputs, [output], domain=domain)
    node.attribute.extend(helper.make_attribute(name, v) for name, v in attributes.items())
    return node


def _linear(graph: _Graph, states: str, weight: Float, bias: Float) -> str:
    return graph.add("Gemm", states, graph.weight(weight), graph.weight(bias), transB=1)
