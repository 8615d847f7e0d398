"""The public names of medssl: the package reads this file, and so do type checkers."""

from medssl.export.embedding import TrainedEncoder as TrainedEncoder
from medssl.export.embedding import embed as embed
from medssl.export.embedding import load_encoder as load_encoder
from medssl.export.evaluating import evaluate as evaluate
from medssl.export.model import TrainedModel as TrainedModel
from medssl.export.model import load_model as load_model
from medssl.results.directory import RunResult as RunResult
from medssl.results.directory import load_run as load_run
from medssl.runs.pipeline import Place as Place
from medssl.runs.pipeline import run as run
from medssl.study.schedule.running import Study as Study
from medssl.study.schedule.running import bench as bench

__version__: str
