"""Which devices share the parameters of the estimator."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Family:
    """Devices of one architecture under one runtime.

    Attributes:
        name: What the family is called.
        devices: Profiles that are fitted together.
        borrowers: Profiles of devices without published figures, which take over the parameters.
    """

    name: str
    devices: tuple[str, ...]
    borrowers: tuple[str, ...] = ()


FAMILIES = (
    Family("A100", ("a100_sxm_40gb", "a100_sxm_80gb", "a100_pcie_80gb")),
    Family("Jetson Orin", ("jetson_agx_orin", "jetson_orin_nx", "jetson_orin_nano")),
    Family("Ascend", ("ascend_310p", "ascend_310"), ("ascend_910b",)),
)
