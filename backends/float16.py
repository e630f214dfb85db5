"""Operators that have a float16 kernel in the runtimes that take a whole graph to one device."""

OPS = frozenset(
    {
        *("Conv", "ConvTranspose", "Gemm", "MatMul", "Add", "Sub", "Mul", "Div", "Sqrt", "Erf"),
        *("Relu", "LeakyRelu", "PRelu", "Clip", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh"),
        *("Softmax", "LayerNormalization", "BatchNormalization", "InstanceNormalization"),
        *("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "ReduceMean", "Resize"),
        *("Concat", "Pad", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Slice"),
        *("Split", "Gather", "Expand", "DepthToSpace", "SpaceToDepth"),
    }
)
