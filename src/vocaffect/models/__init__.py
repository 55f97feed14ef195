"""Models on the one signal path: one file per architecture, found by name."""

from vocaffect.models.causal_encoder import CausalEncoderModel
from vocaffect.models.crnn import Crnn
from vocaffect.models.encoder import EncoderModel
from vocaffect.models.fc import Fc
from vocaffect.models.gru import Gru
from vocaffect.models.lstm import Lstm
from vocaffect.models.network import Network, NetworkOutput, NetworkState
from vocaffect.models.registry import Model, build_model, model_names, num_parameters, register_model
from vocaffect.models.resnet import Resnet
from vocaffect.models.taught_tcn import TaughtTcn
from vocaffect.models.tcn import Tcn

__all__ = [
    "CausalEncoderModel",
    "Crnn",
    "EncoderModel",
    "Fc",
    "Gru",
    "Lstm",
    "Model",
    "Network",
    "NetworkOutput",
    "NetworkState",
    "Resnet",
    "TaughtTcn",
    "Tcn",
    "build_model",
    "model_names",
    "num_parameters",
    "register_model",
]
