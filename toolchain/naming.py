"""Names of what a plan adds to a graph, so that a kernel's time finds its way back to a tensor."""

_MARK = "__"
FORMS = frozenset({"q", "dq", "pad", "raw", "fp32", "fp16", "bf16", "q8", "q4", "scale", "zero"})


def derived(tensor: str, form: str) -> str:
    """The name of a form of a tensor: its QuantizeLinear output (`q`), a cast (`fp16`), ..."""
    return f"{tensor}{_MARK}{form}"


def base(name: str) -> str:
    """The tensor that a derived name was made from; any other name is returned as it is."""
    head, mark, form = name.rpartition(_MARK)
    return base(head) if mark and form in FORMS else name
