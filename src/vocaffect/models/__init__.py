"""Models on the one signal path: one file per architecture, found by name."""

from vocaffect.models.lstm import Lstm
from vocaffect.models.network import Network, NetworkOutput, NetworkState
from vocaffect.models.registry import Model, build_model, model_names, num_parameters, register_model

__all__ = [
    "Lstm",
    "Model",
    "Network",
    "NetworkOutput",
    "NetworkState",
    "build_model",
    "model_names",
    "num_parameters",
    "register_model",
]
