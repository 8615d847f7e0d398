"""The stages of a run that follow the data: pre-training, features, evaluation.

Each takes what the stages before it made and returns one value; :mod:`medssl.pipeline` says in which order.
"""

from medssl.stages.blame import naming_the_plugin
from medssl.stages.evaluation import Findings, evaluate
from medssl.stages.features import extract_features
from medssl.stages.listener import Listener
from medssl.stages.machine import Machine
from medssl.stages.pretraining import pretrain, save
from medssl.stages.reuse import adopt, find_pretrained
from medssl.stages.seen import Judged, hold_against

__all__ = [
    "Findings",
    "Judged",
    "Listener",
    "Machine",
    "adopt",
    "evaluate",
    "extract_features",
    "find_pretrained",
    "hold_against",
    "naming_the_plugin",
    "pretrain",
    "save",
]
